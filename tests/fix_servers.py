"""Real servers and fresh databases for tests.

A server starts when the first test asks for it and serves the whole session. LEGACY_URL
(MariaDB), MYSQL_URL, MAIN_URL (PostgreSQL), REDIS_URL, KAFKA_BOOTSTRAP and CONNECT_URL name
running ones to use instead, unless DBBRIDGE_SERVERS=private. A server that cannot be had fails
the test; only where a platform has none of its kind are tests skipped, and the summary counts
them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from psycopg import sql
from pymysql.connections import Connection

from compose.local import guard, places, programs, servers
from compose.local.errors import Unavailable
from compose.local.servers import Server

VARIABLES = {
    "mariadb": "LEGACY_URL",
    "mysql": "MYSQL_URL",
    "postgresql": "MAIN_URL",
    "redis": "REDIS_URL",
    "kafka": "KAFKA_BOOTSTRAP",
    "connect": "CONNECT_URL",
}
UNAVAILABLE = "no such server on this platform"
TERMINATE_MILLISECONDS = 60_000


@dataclass(frozen=True)
class SourceDatabase:
    """A fresh database on a MySQL or MariaDB server."""

    server: Server
    name: str

    @property
    def url(self) -> str:
        """The address for the administrator."""
        return self.server.url(self.name)

    def connect(self, **options: Any) -> Connection[Any]:
        """A connection of the administrator, with autocommit unless the options say else."""
        return _connect_mysql(self.server, database=self.name, **options)


@dataclass(frozen=True)
class TargetDatabase:
    """A fresh database on a PostgreSQL server."""

    server: Server
    name: str

    @property
    def url(self) -> str:
        """The address for the administrator."""
        return self.server.url(self.name)

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """A connection of the superuser, with autocommit unless the options say else."""
        return psycopg.connect(self.url, **{"autocommit": True, **options})


def _connect_mysql(server: Server, **options: Any) -> Connection[Any]:
    return pymysql.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        **{"autocommit": True, "charset": "utf8mb4", **options},
    )


@pytest.fixture(scope="session")
def server_of() -> Iterator[Callable[..., Server]]:
    """The session's server of a kind, started at the first call with the options given there."""
    running: dict[str, Server] = {}
    base = Path(tempfile.mkdtemp(prefix="tests-", dir=places.folder("data")))
    base.chmod(0o755)
    guard.remember_folder(base)

    def get(kind: str, options: Callable[[], Sequence[str]] = tuple) -> Server:
        if kind not in running:
            running[kind] = _obtain(kind, base / kind, options)
        return running[kind]

    try:
        yield get
    finally:
        for server in reversed(running.values()):
            if server.pid:
                server.stop()
        shutil.rmtree(base)


def _obtain(kind: str, directory: Path, options: Callable[[], Sequence[str]]) -> Server:
    url = os.environ.get(VARIABLES[kind])
    if url and not programs.private_only():
        return servers.given(kind, url)
    try:
        return servers.start(kind, directory, options=options())
    except Unavailable as reason:
        pytest.skip(f"{UNAVAILABLE}: {kind} ({reason})")


@pytest.fixture(scope="session")
def mariadb(server_of: Callable[[str], Server]) -> Server:
    """A MariaDB server."""
    return server_of("mariadb")


@pytest.fixture(scope="session")
def mysql(server_of: Callable[[str], Server]) -> Server:
    """A MySQL server."""
    return server_of("mysql")


@pytest.fixture(scope="session")
def postgres(server_of: Callable[[str], Server]) -> Server:
    """A PostgreSQL server."""
    return server_of("postgresql")


@pytest.fixture(scope="session")
def redis(server_of: Callable[[str], Server]) -> Server:
    """A Redis server."""
    return server_of("redis")


@pytest.fixture(scope="session", params=["mariadb", "mysql"])
def source(request: pytest.FixtureRequest, server_of: Callable[[str], Server]) -> Server:
    """Each kind of source in turn."""
    return server_of(request.param)


@pytest.fixture
def source_db(source: Server) -> Iterator[SourceDatabase]:
    """A fresh database on each kind of source in turn."""
    database = SourceDatabase(source, f"t_{secrets.token_hex(5)}")
    with closing(_connect_mysql(source)) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {database.name} CHARACTER SET utf8mb4")
    yield database
    with closing(_connect_mysql(source)) as admin, admin.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {database.name}")


@pytest.fixture
def target_db(postgres: Server) -> Iterator[TargetDatabase]:
    """A fresh database on PostgreSQL; replication slots left on it go with it."""
    database = TargetDatabase(postgres, f"t_{secrets.token_hex(5)}")
    name = sql.Identifier(database.name)
    create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(name)
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(create)
        yield database
        admin.execute(
            "SELECT pg_terminate_backend(active_pid, %s) FROM pg_replication_slots"
            " WHERE database = %s AND active_pid IS NOT NULL",
            [TERMINATE_MILLISECONDS, database.name],
        )
        admin.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
            " WHERE database = %s",
            [database.name],
        )
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly how much was not tested for want of a server."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and UNAVAILABLE in report.longrepr[2]
    ]
    if skipped:
        terminalreporter.section("NOT TESTED", red=True, bold=True)
        reasons = sorted({str(report.longrepr[2]) for report in skipped})
        terminalreporter.write_line(f"{len(skipped)} tests skipped: {'; '.join(reasons)}")
