"""A source and a target that may be killed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from compose.local import servers
from compose.local.servers import Server
from tests.fix_servers import SourceDatabase, TargetDatabase


@dataclass
class Pair:
    """A source and a target of this test's own."""

    source: Server
    target: Server

    def kill(self, which: str) -> None:
        """SIGKILL for one of them."""
        server: Server = getattr(self, which)
        server.stop(kill=True)

    def revive(self, which: str) -> None:
        """On the same data and port."""
        server: Server = getattr(self, which)
        setattr(self, which, server.restart())

    def databases(self) -> tuple[SourceDatabase, TargetDatabase]:
        """A new one on each."""
        name = f"t_{secrets.token_hex(5)}"
        with closing(SourceDatabase(self.source, "mysql").connect()) as conn:
            conn.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        with psycopg.connect(self.target.url("postgres"), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}".encode())
        return SourceDatabase(self.source, name), TargetDatabase(self.target, name)


@pytest.fixture(params=["mariadb", "mysql"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """Servers that may be killed, with each kind of source in turn."""
    both = Pair(
        servers.start(request.param, tmp_path / "source"),
        servers.start("postgresql", tmp_path / "target"),
    )
    yield both
    both.source.stop(kill=True)
    both.target.stop(kill=True)
