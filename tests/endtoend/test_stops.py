"""What a session does that cannot be followed stops its table, clearly, and no other one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from pymysql.cursors import Cursor

from tests.endtoend.compare import assert_same
from tests.endtoend.project import Daemon, Project

TABLES = """\
CREATE TABLE asked (id int PRIMARY KEY, v int NOT NULL);
CREATE TABLE thin (id int PRIMARY KEY, v int NOT NULL, w varchar(20), doc text);
CREATE TABLE altered (id int PRIMARY KEY, v int NOT NULL, KEY altered_v (v));
CREATE TABLE other (id int PRIMARY KEY, v int NOT NULL);
CREATE TABLE boss (code varchar(10) PRIMARY KEY);
CREATE TABLE minion (id int PRIMARY KEY, boss varchar(10) NOT NULL,
  FOREIGN KEY (boss) REFERENCES boss (code) ON DELETE CASCADE)"""


@pytest.fixture
def cursor(project: Project) -> Iterator[Cursor]:
    """An administrator's session in the source, the tables filled."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for statement in TABLES.split(";\n"):
            cursor.execute(statement)
        for name in ("asked", "altered", "other"):
            cursor.execute(f"INSERT INTO {name} VALUES (1, 10), (2, 20)")
        cursor.execute("INSERT INTO thin VALUES (1, 10, 'a', 'long'), (2, 20, 'b', NULL)")
        cursor.execute("INSERT INTO boss VALUES ('A'), ('é'), ('7')")
        cursor.execute("INSERT INTO minion VALUES (1, 'A'), (2, 'a'), (3, 'É'), (4, '7')")
        yield cursor


def rows(project: Project, table: str) -> list[Any]:
    return project.ask(f'SELECT * FROM "{project.source.name}"."{table}" ORDER BY id')


def others_go_on(project: Project, cursor: Cursor, daemon: Daemon) -> None:
    """A later change of another table arrives."""
    cursor.execute("UPDATE other SET v = v + 1")
    cursor.execute("SELECT * FROM other ORDER BY id")
    there = list(cursor.fetchall())
    project.wait_until(lambda: rows(project, "other") == there, daemon=daemon)


def test_tables_stop_one_by_one_and_are_copied_again(project: Project, cursor: Cursor) -> None:
    project.begin()
    daemon = project.sync()
    project.wait_streaming(daemon)
    before = {name: rows(project, name) for name in ("asked", "thin", "altered")}

    cursor.execute("SET SESSION binlog_format = 'STATEMENT'")
    cursor.execute("UPDATE asked SET v = v + 1 WHERE id = 1")
    cursor.execute("SET SESSION binlog_format = 'ROW'")
    others_go_on(project, cursor, daemon)
    cursor.execute("SET SESSION binlog_row_image = 'MINIMAL'")
    cursor.execute("UPDATE thin SET v = 11 WHERE id = 1")
    cursor.execute("SET SESSION binlog_row_image = 'FULL'")
    others_go_on(project, cursor, daemon)
    cursor.execute("ALTER TABLE altered ADD COLUMN extra varchar(10) NOT NULL DEFAULT 'new'")
    cursor.execute("UPDATE altered SET v = v + 1")
    others_go_on(project, cursor, daemon)

    cursor.execute("DELETE FROM boss WHERE code = '7'")
    others_go_on(project, cursor, daemon)
    assert [row[0] for row in rows(project, "minion")] == [1, 2, 3]
    cursor.execute("DELETE FROM boss WHERE code = 'é'")
    others_go_on(project, cursor, daemon)
    family = {s["table"].partition(".")[2]: s for s in project.status()["tables"]}
    if project.source.server.kind == "mariadb":  # MySQL logs what its cascades do, since 9.6
        assert family["minion"]["code"] == "caseless-cascade"
        assert family["boss"]["state"] == "stopped"
        assert [row[0] for row in rows(project, "minion")] == [1, 2, 3]
        project.run("tables", "resync", "boss", "minion")
        project.wait_until(
            lambda: {project.stages()[name] for name in ("boss", "minion")} == {"streaming"},
            daemon=daemon,
        )
        assert [row[0] for row in rows(project, "minion")] == [1, 2]

    codes = {"asked": "statement-format", "thin": "partial-image", "altered": "ddl"}
    for state in project.status()["tables"]:
        name = state["table"].partition(".")[2]
        if name not in codes:
            assert state["state"] == "streaming"
            continue
        assert (state["state"], state["code"]) == ("stopped", codes[name])
        assert state["table"] in state["error"]
        assert f"dbbridge tables resync {state['table']}" in state["next"]
        assert ("binlog_format=ROW" in state["next"]) == (name == "asked")
        assert state["frontier"]
        assert rows(project, name) == before[name]

    assert "added column extra" in project.run("init").out
    found = project.run("check", "--format", "json").json["findings"]
    (older,) = [one for one in found if one["code"] in ("T030", "T033")]
    assert (older["code"], older["column"]) == ("T033", "extra")
    assert older["hint"] == f"dbbridge tables resync {project.source.name}.altered"
    assert project.run("schema", "apply", "--format", "json").json["steps"] == []
    project.run("tables", "resync", *before)
    project.wait_streaming_again(daemon)
    cursor.execute("UPDATE altered SET v = v + 1, extra = 'x' WHERE id = 1")
    others_go_on(project, cursor, daemon)
    daemon.stop()
    plan = project.run("schema", "plan", "--format", "json").json
    assert plan["steps"] == [], "the copy was made in another form than the mapping's"
    assert assert_same(project.source, project.target) == 11
