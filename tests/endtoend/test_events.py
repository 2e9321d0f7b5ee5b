"""`dbbridge events` tells what the daemon and the operators did, once each, in its order."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from tests.endtoend.fixtures import NewProject
from tests.endtoend.project import Project
from tests.fix_servers import SourceDatabase, TargetDatabase


@pytest.fixture
def project(
    source_db: SourceDatabase, target_db: TargetDatabase, new_project: NewProject
) -> Project:
    """With one table."""
    run(source_db, "CREATE TABLE orders (id int PRIMARY KEY, note varchar(20))")
    run(source_db, "INSERT INTO orders VALUES (1, 'one')")
    made = new_project(source_db, target_db)
    made.begin()
    return made


def run(database: SourceDatabase, statement: str) -> None:
    with closing(database.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(statement)


def test_what_happened(project: Project) -> None:
    table = f"{project.source.name}.orders"
    daemon = project.sync()
    project.wait_streaming(daemon)
    follower = project.background("events", "--follow", "--format", "json")
    project.run("set", "verify.paused=true", "--for", "1h")
    run(project.source, "ALTER TABLE orders ADD COLUMN more int")
    # It is told right after the table stands still.
    stopped = "SELECT FROM dbbridge.events WHERE kind = 'stopped'"
    project.wait_until(lambda: bool(project.ask(stopped)), daemon=daemon)
    assert "stopped" in project.stages()["orders"]
    refused = project.run("tables", "resume", "orders", code=1).out
    found = project.run("events", "--format", "json").json["events"]
    told = [(each["kind"], each["subject"]) for each in found]
    assert told.index(("streaming", table)) < told.index(("set", "verify.paused"))
    assert told.index(("set", "verify.paused")) < told.index(("stopped", table))
    assert told[-2:] == [("asked", table), ("refused", table)]
    assert found[-1]["message"].startswith("resume: ")
    assert found[-1]["message"].removeprefix("resume: ") in refused
    assert '"verb": "resume"' in daemon.log or "verb=resume" in daemon.log
    assert sorted(each["at"] for each in found) == [each["at"] for each in found]
    project.wait_until(lambda: len(follower.log.splitlines()) >= len(found), daemon=follower)
    assert [json.loads(line) for line in follower.log.splitlines()] == found
    follower.kill()
    shown = project.run("events", "--since", "1h").out.splitlines()
    assert len(shown) == len(found) + 1
    assert any(f" stopped {table}: " in line for line in shown)
    assert f" refused {table}: resume: " in shown[-2]
    assert shown[-1] == "next: dbbridge status"
    assert project.run("events", "--since", "2099-01-01").out.startswith("nothing happened")
    assert "is no time" in project.run("events", "--since", "soon", code=2).err
