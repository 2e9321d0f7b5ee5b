"""The source's log is purged, and another server takes its place."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.local import servers
from compose.local.servers import Server
from tests.endtoend.fixtures import NewProject
from tests.endtoend.moves import STREAMING, wait_said
from tests.endtoend.project import Project
from tests.endtoend.test_source_server import fill, purge, run
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.runbooks.book import Book


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """Two servers that the test may do anything to."""
    one, two = (servers.start("mariadb", tmp_path / name) for name in ("one", "two"))
    yield one, two
    one.stop()
    two.stop()


def test_sources(
    pair: tuple[Server, Server], target_db: TargetDatabase, new_project: NewProject
) -> None:
    database = SourceDatabase(pair[0], f"t_{secrets.token_hex(5)}")
    fill(database)
    project = new_project(database, target_db)
    project.begin()
    daemon = project.sync()
    project.wait_streaming(daemon)
    daemon.stop()
    _purged(project)
    _failover(project, SourceDatabase(pair[1], database.name))


def _purged(project: Project) -> None:
    book = Book(project, "purged-binlog")
    run(project.source, "UPDATE one SET v = 7")
    purge(project.source)
    daemon = project.sync()
    lost = {"one": "stopped: purged", "two": "stopped: purged"}
    project.wait_until(lambda: project.stages() == lost, daemon=daemon)
    project.wait_said_streaming(daemon)
    book.block()
    book.block()
    project.wait_streaming_again(daemon)
    wait_said(project, daemon, STREAMING)
    book.block()
    book.block()
    book.end()
    daemon.stop()


def _failover(project: Project, other: SourceDatabase) -> None:
    book = Book(project, "source-failover")
    fill(other)
    run(other, *["UPDATE one SET v = v + 1"] * 30)  # its log is longer than the old one's
    who = f"'{project.accounts.name}'@'%'"
    run(
        other,
        f"CREATE USER {who} IDENTIFIED BY '{project.accounts.password}'",
        f"GRANT SELECT, LOCK TABLES ON `{other.name}`.* TO {who}",
        f"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {who}",
    )
    settings = project.folder / "bridge.yaml"
    old, new = project.source.server.port, other.server.port
    settings.write_text(settings.read_text().replace(f":{old}/", f":{new}/"))
    project.source = other
    book.block()
    book.block()
    book.end()
