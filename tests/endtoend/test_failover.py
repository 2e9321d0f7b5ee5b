"""A replica takes the source's place while tables are copied."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from compose.local import servers
from compose.local.servers import Server
from tests.crash.kills import process_state
from tests.endtoend.compare import assert_same
from tests.endtoend.fixtures import NewProject
from tests.endtoend.project import Project
from tests.endtoend.replicating import FOLLOW, FORGET, START, STOP, poll, run
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.waiting import WAIT_SECONDS

TABLES = ("one", "two")
COPIED = "SELECT source_table FROM dbbridge.chunks WHERE done"


@dataclass(frozen=True)
class Pair:
    """A source and its replica, which may become one."""

    source: Server
    replica: Server

    def on_replica(self, statement: str) -> None:
        run(SourceDatabase(self.replica, "mysql"), statement)


@pytest.fixture(params=["mariadb", "mysql"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    kind = request.param
    source, replica = (
        servers.start(kind, tmp_path / name, options=["--log-slave-updates", f"--server-id={n}"])
        for n, name in enumerate(("source", "replica"), 1)
    )
    for server in (source, replica):
        run(SourceDatabase(server, "mysql"), FORGET[kind])
    made = Pair(source, replica)
    made.on_replica(FOLLOW[kind].format(source))
    made.on_replica(START[kind])
    yield made
    replica.stop()
    source.stop()


@pytest.fixture
def project(pair: Pair, target_db: TargetDatabase, new_project: NewProject) -> Project:
    database = SourceDatabase(pair.source, f"t_{secrets.token_hex(5)}")
    run(replace(database, name="mysql"), f"CREATE DATABASE {database.name}")
    for table in TABLES:
        run(
            database,
            f"CREATE TABLE {table} (id int PRIMARY KEY, v int NOT NULL)",
            f"INSERT INTO {table} VALUES (1, 1), (2, 2)",
        )
    return new_project(database, target_db)


def fail_over(project: Project, pair: Pair) -> None:
    settings = project.folder / "bridge.yaml"
    text = settings.read_text()
    settings.write_text(text.replace(f":{pair.source.port}/", f":{pair.replica.port}/"))
    project.source = SourceDatabase(pair.replica, project.source.name)


@pytest.mark.parametrize("lost", [True, False])
def test_while_tables_are_copied(project: Project, pair: Pair, lost: bool) -> None:
    """A copy that saw what is lost begins anew; every other one goes on."""
    project.begin()
    kind, name = pair.source.kind, project.source.name
    replica = SourceDatabase(pair.replica, name)
    run(project.source, "UPDATE one SET v = 3 WHERE id = 1")
    poll(lambda: run(replica, "SELECT v FROM one WHERE id = 1") == [(3,)])
    points = {"STOP": "copy.planned-chunk:1", "KILL": "copy.chunk-committed:1"}
    dies = project.background(
        "sync", "--readers", "1", **{f"DBBRIDGE_{what}_AT": where for what, where in points.items()}
    )
    # Its position is noted, and nothing is read yet.
    project.wait_until(lambda: process_state(dies.process.pid) == "T")
    if lost:
        pair.on_replica(STOP[kind])
    run(project.source, *(f"INSERT INTO {table} VALUES (3, 3)" for table in TABLES))
    dies.send(signal.SIGCONT)
    assert dies.wait(WAIT_SECONDS) != 0
    ((copied,),) = project.ask(COPIED)
    if not lost:
        poll(lambda: run(replica, "SELECT v FROM two WHERE id = 3") == [(3,)])
        pair.on_replica(STOP[kind])
    fail_over(project, pair)
    daemon = project.sync()
    if lost:
        wanted = dict.fromkeys(TABLES, "streaming") | {copied: "stopped: source-replaced"}
        project.wait_until(lambda: project.stages() == wanted, daemon=daemon)
        assert "commits that the source lost" in project.table(copied)["error"]
        assert project.table(copied)["next"] == f"dbbridge tables resync {name}.{copied}"
        project.run("tables", "resync", copied)
        project.wait_streaming_again(daemon)
    project.wait_streaming(daemon)
    run(replica, "UPDATE one SET v = 4", "UPDATE two SET v = 4")
    daemon.stop()
    project.catch_up()
    assert assert_same(project.source, project.target) == (4 if lost else 6)
