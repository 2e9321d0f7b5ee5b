"""Tables that cascades tie together are copied from one position, whoever of them comes later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from pymysql.cursors import Cursor

from tests.endtoend.compare import assert_same
from tests.endtoend.project import Project

CHILD = "CREATE TABLE child (id int PRIMARY KEY, parent int, FOREIGN KEY (parent)"
CHILD += " REFERENCES parent (id) ON DELETE CASCADE)"
COPIES = "SELECT source_table, generation, stage FROM dbbridge.tables ORDER BY 1, 2"


@pytest.fixture
def cursor(project: Project) -> Iterator[Cursor]:
    """An administrator's session in the source; the parent has rows."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE parent (id int PRIMARY KEY)")
        cursor.execute("INSERT INTO parent VALUES (1), (2), (3)")
        yield cursor


def add_child(cursor: Cursor) -> None:
    cursor.execute(CHILD)
    cursor.execute("INSERT INTO child VALUES (1, 1), (2, 2), (3, 3)")


def ids(project: Project, table: str) -> list[int]:
    rows: list[Any] = project.ask(f"SELECT id FROM {project.source.name}.{table} ORDER BY id")
    return [row[0] for row in rows]


def held_back(project: Project) -> bool:
    return project.stages().get("child") == "stopped: family-apart"


def test_a_child_that_comes_later(project: Project, cursor: Cursor) -> None:
    """Where the source does not log cascades it is not copied alone; its parent goes on."""
    project.begin()
    daemon = project.sync()
    project.wait_streaming(daemon)
    daemon.stop()
    add_child(cursor)
    project.begin()
    if project.source.server.kind == "mysql":  # logs them, since 9.6
        daemon = project.sync()
        project.wait_until(lambda: len(project.stages()) == 2, daemon=daemon)
        project.wait_streaming(daemon)
        return
    daemon = project.sync()
    project.wait_until(lambda: held_back(project), daemon=daemon)
    cursor.execute("DELETE FROM parent WHERE id = 3")
    project.wait_until(lambda: ids(project, "parent") == [1, 2], daemon=daemon)
    assert project.stages()["parent"] == "streaming"
    name = f"{project.source.name}.child"
    assert project.table("child")["next"].endswith(f"dbbridge tables resync {name}")
    project.run("tables", "resume", "child")
    project.wait_until(lambda: held_back(project), daemon=daemon)
    assert ids(project, "child") == []
    project.run("tables", "resync", "child")
    project.wait_streaming_again(daemon)
    cursor.execute("DELETE FROM parent WHERE id = 2")
    project.wait_until(lambda: ids(project, "child") == [1], daemon=daemon)
    daemon.stop()
    project.catch_up()
    assert assert_same(project.source, project.target) == 2


def test_a_new_copy_is_for_all_or_none(project: Project, cursor: Cursor) -> None:
    """A member whose mapping file is gone keeps the others as they are."""
    add_child(cursor)
    project.begin()
    daemon = project.sync()
    project.wait_streaming(daemon)
    before = project.ask(COPIES)
    project.mapping("parent").unlink()
    said = project.run("tables", "resync", "child", code=None)
    assert "no mapping file carries" in f"{said.out}{said.err}"
    assert project.ask(COPIES) == before
    cursor.execute("DELETE FROM parent WHERE id = 2")
    project.wait_until(lambda: ids(project, "child") == [1, 3], daemon=daemon)
    daemon.stop()
