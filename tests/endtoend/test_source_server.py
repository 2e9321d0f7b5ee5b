"""The source's server is set wrongly, loses its log, is replaced, or knows no GTIDs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pytest

from compose.local import servers
from compose.local.servers import Server
from tests.crash.kills import begin
from tests.endtoend.accounts import Accounts
from tests.endtoend.compare import assert_same
from tests.endtoend.fixtures import NewProject
from tests.endtoend.project import Project
from tests.endtoend.said import refused
from tests.endtoend.tables import TABLES
from tests.fix_servers import SourceDatabase, TargetDatabase

ROWS = 4
"""In each of the two tables."""
LONG_ENOUGH = 60.0
"""Seconds until a file that a dump thread holds can be purged."""


@dataclass
class Pair:
    """Two servers of one kind that tests may do anything to."""

    one: Server
    two: Server

    def database(self) -> SourceDatabase:
        """A fresh database on the first one."""
        database = SourceDatabase(self.one, f"t_{secrets.token_hex(5)}")
        fill(database)
        return database


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    base = tmp_path_factory.mktemp("pair")
    made = Pair(*(servers.start(request.param, base / name) for name in ("one", "two")))
    yield made
    made.one.stop()
    made.two.stop()


@pytest.fixture
def project(pair: Pair, target_db: TargetDatabase, new_project: NewProject) -> Project:
    """A project on the first server, its tables made and filled."""
    return new_project(pair.database(), target_db)


def fill(database: SourceDatabase) -> None:
    admin = replace(database, name="mysql")
    rows = ",".join(f"({number}, 0)" for number in range(1, ROWS + 1))
    run(admin, f"CREATE DATABASE {database.name}")
    for table in ("one", "two"):
        name = f"{database.name}.{table}"
        run(admin, f"CREATE TABLE {name} (id int PRIMARY KEY, v int NOT NULL)")
        run(admin, f"INSERT INTO {name} VALUES {rows}")


def run(database: SourceDatabase, *statements: str) -> list[Any]:
    """Each over a session of its own, so that new global settings hold; rows of the last one."""
    found: list[Any] = []
    for statement in statements:
        with closing(database.connect()) as conn, conn.cursor() as cursor:
            cursor.execute(statement)
            found = list(cursor.fetchall())
    return found


def purge(database: SourceDatabase) -> None:
    """Of the log only a fresh file is left."""
    deadline = time.monotonic() + LONG_ENOUGH
    while time.monotonic() < deadline:
        run(database, "FLUSH BINARY LOGS")
        last = run(database, "SHOW BINARY LOGS")[-1][0]
        run(database, f"PURGE BINARY LOGS TO '{last}'")
        if [row[0] for row in run(database, "SHOW BINARY LOGS")] == [last]:
            return
    pytest.fail("the log is not purged")


def arrived(project: Project, table: str, value: int) -> bool:
    """Whether the value is in all rows of the table in the target."""
    relation = f'"{project.source.name}"."{table}"'
    return project.ask(f"SELECT DISTINCT v FROM {relation}") == [(value,)]


def names(project: Project) -> list[str]:
    return [f"{project.source.name}.one", f"{project.source.name}.two"]


def streamed_on(project: Project, *words: str) -> None:
    """A daemon takes up what is written now, and both sides are the same."""
    run(project.source, "UPDATE one SET v = v + 1", "DELETE FROM two WHERE id = 1")
    wanted = run(project.source, "SELECT MAX(v) FROM one")[0][0]
    daemon = project.sync(*words)
    project.wait_until(lambda: arrived(project, "one", wanted), daemon=daemon)
    daemon.stop()
    project.catch_up()
    assert assert_same(project.source, project.target) == len(run(project.source, TOTAL))


TOTAL = "SELECT 1 FROM one UNION ALL SELECT 1 FROM two"


def test_settings_that_do_not_do(pair: Pair, project: Project) -> None:
    project.init()
    only_what_check_prints(project)
    project.apply_schema()
    try:
        run(
            project.source,
            "SET GLOBAL binlog_format = 'MIXED'",
            "SET GLOBAL binlog_row_image = 'MINIMAL'",
        )
        found = project.run("check", "--format", "json", code=1).json["findings"]
        assert {f["code"] for f in found if f["severity"] == "error"} == {"S003", "S004"}
        said = refused(project.sync(), 4)
        assert "binlog_format is MIXED" in said.error
        assert "binlog_row_image is MINIMAL" in said.error
        assert "dbbridge check" in said.hint
        run(project.source, "SET GLOBAL binlog_row_image = 'FULL'")
        assert refused(project.sync(), 4).hint.startswith("SET GLOBAL binlog_format = ROW")
    finally:
        run(project.source, "SET GLOBAL binlog_format = 'ROW'")
        run(project.source, "SET GLOBAL binlog_row_image = 'FULL'")
    assert project.stages() == {}, "it began nevertheless"
    streamed_on(project)
    pair.one.stop()
    pair.one = servers.resume(pair.one.datadir.parent, options=["--skip-log-bin"])
    try:
        found = project.run("check", "--format", "json", code=1).json["findings"]
        assert {f["code"] for f in found if f["severity"] == "error"} == {"S002"}
        assert "log_bin" in refused(project.sync(), 4).hint
    finally:
        pair.one.stop()
        pair.one = servers.resume(pair.one.datadir.parent)
    streamed_on(project)


def only_what_check_prints(project: Project) -> None:
    """The accounts lose all rights and get those that `check` names."""
    mine = project.accounts
    mine.grant(
        [f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM '{mine.name}'@'%'"],
        [f'REVOKE ALL ON DATABASE "{mine.target.name}" FROM "{mine.name}"'],
    )
    lines = project.run("check", "--format", "json", code=1).json
    assert len(lines["source"]) == 3
    mine.grant(lines["source"], lines["target"])
    lines = project.run("check", "--format", "json").json
    assert (lines["source"], lines["target"]) == ([], [])


def test_a_purged_log(project: Project) -> None:
    project.begin()
    daemon = project.sync()
    project.wait_streaming(daemon)
    daemon.stop()
    run(project.source, "UPDATE one SET v = 7")
    purge(project.source)
    daemon = project.sync()
    lost = {name.partition(".")[2]: "stopped: purged" for name in names(project)}
    project.wait_until(lambda: project.stages() == lost, daemon=daemon)
    for state in project.status()["tables"]:
        assert "purged" in state["error"]
        assert state["next"] == f"dbbridge tables resync {state['table']}"
    daemon.stop()
    assert all(f"dbbridge tables resync {name}" in daemon.log for name in names(project))
    project.run("verify", code=3)
    assert arrived(project, "one", 0), "something was applied across the gap"
    said = refused(project.sync("--until", "caught-up"), 3)
    assert said.hint == f"dbbridge tables resync {names(project)[0]}"
    project.run("tables", "resync", "one", "two")
    streamed_on(project)


GENERATIONS = """\
SELECT generation, error_code FROM dbbridge.tables WHERE source_table = %s ORDER BY generation"""


def test_a_server_in_the_place_of_another(pair: Pair, project: Project) -> None:
    project.begin()
    streamed_on(project)
    before = project.ask("SELECT position FROM dbbridge.pipeline")
    other = SourceDatabase(pair.two, project.source.name)
    fill(other)
    run(other, *["UPDATE one SET v = v + 1"] * 30)  # its log is longer than the old one's
    mine = Accounts(other, project.target, project.accounts.name, project.accounts.password)
    who = f"'{mine.name}'@'%'"
    run(
        other,
        f"CREATE USER {who} IDENTIFIED BY '{mine.password}'",
        f"GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {who}",
    )
    settings = project.folder / "bridge.yaml"
    of_one = settings.read_text()
    settings.write_text(of_one.replace(f":{pair.one.port}/", f":{pair.two.port}/"))
    said = refused(project.sync(), 4)
    assert "not the server that was followed" in said.error
    assert "dbbridge tables resync" in said.hint
    # One table is not all of them.
    noted = project.run("tables", "resync", "one").out.splitlines()
    assert noted[-1] == "next: dbbridge sync"
    refused(project.sync(), 4)
    assert project.ask("SELECT position FROM dbbridge.pipeline") == before
    assert assert_same(project.source, project.target)
    project.run("tables", "resync", "two")
    project.source = other
    # While the old copies wait to be replaced, a daemon that comes anew knows the server.
    assert project.sync(kill_at="copy.begun:1").wait(60.0) != 0
    for table in ("one", "two"):
        generations = project.ask(GENERATIONS, table)
        assert generations == [(1, "source-replaced"), (2, None)]
    streamed_on(project)


KILLS = (("copy.chunk-committed", 2), ("stream.apply", 5), ("stream.committed", 7))
WITHOUT_GTIDS = (
    "SET GLOBAL gtid_mode = 'ON_PERMISSIVE'",
    "SET GLOBAL gtid_mode = 'OFF_PERMISSIVE'",
    "SET GLOBAL gtid_mode = 'OFF'",
)


@pytest.mark.crash
@pytest.mark.parametrize("pair", ["mysql"], indirect=True)
def test_without_gtids(
    pair: Pair, target_db: TargetDatabase, new_project: NewProject, seed: int
) -> None:
    """Positions are files and offsets; a daemon that is killed goes on at them."""
    database = SourceDatabase(pair.one, f"t_{secrets.token_hex(5)}")
    run(replace(database, name="mysql"), f"CREATE DATABASE {database.name}", *WITHOUT_GTIDS)
    victim = begin(new_project(database, target_db), seed, bulk=8_000)
    project = victim.project
    found = project.run("check", "--format", "json").json["findings"]
    assert "S009" in {one["code"] for one in found}
    # The stream of each copy begins with a file in which the table was made.
    assert "FLUSH BINARY LOGS" in refused(project.sync("--until", "caught-up"), 3).hint
    run(database, "FLUSH BINARY LOGS")
    project.run("tables", "resync", *TABLES)
    with victim.traffic:
        for point, count in KILLS:
            victim.at_point(point, count)
        victim.judge()
    assert project.status()["position"].startswith("binlog.")
