"""The source and the target die under a running daemon: it waits, says so, and goes on."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep

import psycopg
import pytest

from compose.local import servers
from compose.local.servers import Server
from tests.crash.kills import PATIENCE, RATE, Victim, begin, epoch
from tests.endtoend.fixtures import NewProject
from tests.endtoend.project import Daemon
from tests.endtoend.traffic import Traffic
from tests.fix_servers import SourceDatabase, TargetDatabase

pytestmark = pytest.mark.crash


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


@pytest.fixture
def victim(pair: Pair, new_project: NewProject, seed: int) -> Victim:
    """A project between them, whose copy takes some seconds."""
    name = f"t_{secrets.token_hex(5)}"
    with closing(SourceDatabase(pair.source, "mysql").connect()) as conn:
        conn.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    with psycopg.connect(pair.target.url("postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
    project = new_project(SourceDatabase(pair.source, name), TargetDatabase(pair.target, name))
    victim = begin(project, seed, bulk=200_000)
    traffic = Traffic(project.source, seed, rate=RATE, survives=True)
    return replace(victim, traffic=traffic)


def interrupt(pair: Pair, victim: Victim, daemon: Daemon, which: str) -> None:
    """One server goes, the daemon says that it waits; the server comes back, and so does it."""
    before = epoch(victim.project)
    said = daemon.log.count("waiting")
    pair.kill(which)
    deadline = monotonic() + PATIENCE
    while daemon.log.count("waiting") == said:
        assert daemon.running, daemon.log
        assert monotonic() < deadline, daemon.log
        sleep(0.05)
    pair.revive(which)
    victim.project.wait_until(lambda: epoch(victim.project) > before, PATIENCE, daemon=daemon)


def copying(victim: Victim) -> bool:
    """Whether chunks of the large table are in, and others are not."""
    (found,) = victim.project.ask(
        "SELECT count(*) FILTER (WHERE done), count(*) FILTER (WHERE NOT done)"
        " FROM dbbridge.chunks JOIN dbbridge.tables USING"
        " (pipeline, source_schema, source_table, generation)"
        " WHERE source_table = 'bulk' AND stage = 'copying'"
    )
    return bool(found[0] > 0 and found[1] > 0)


def test_the_daemon_outlives_its_servers(pair: Pair, victim: Victim) -> None:
    project = victim.project
    with victim.traffic:
        daemon = project.sync("--readers", "1")
        project.wait_until(lambda: bool(project.stages()), PATIENCE, daemon=daemon)
        project.wait_until(lambda: copying(victim), PATIENCE, daemon=daemon)
        interrupt(pair, victim, daemon, "source")
        project.wait_streaming(daemon, PATIENCE)

        interrupt(pair, victim, daemon, "target")
        project.wait_streaming(daemon, PATIENCE)
        interrupt(pair, victim, daemon, "source")

        project.run("tables", "resync", "bulk")
        project.wait_until(lambda: copying(victim), PATIENCE, daemon=daemon)
        interrupt(pair, victim, daemon, "target")
        project.wait_streaming(daemon, PATIENCE)
        daemon.stop()
        victim.judge()
