"""What the log holds and reads do not see, or what was undone after it was logged."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pymysql
import pytest
from pymysql.cursors import Cursor

from tests.endtoend.compare import assert_same
from tests.endtoend.project import Project

XID = f"'jk{secrets.token_hex(4)}'"


@pytest.fixture
def cursor(project: Project) -> Iterator[Cursor]:
    """An administrator's session in the source, the table filled."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int PRIMARY KEY)")
        cursor.execute("CREATE TABLE bag (id int)")
        cursor.execute("INSERT INTO t VALUES (1), (2)")
        cursor.execute("INSERT INTO bag VALUES (1), (1)")
        yield cursor
        with suppress(pymysql.Error):
            cursor.execute(f"XA ROLLBACK {XID}")


def prepare(cursor: Cursor, table: str = "t") -> None:
    cursor.execute(f"XA START {XID}")
    cursor.execute(f"INSERT INTO {table} VALUES (9)")
    cursor.execute(f"XA END {XID}")
    cursor.execute(f"XA PREPARE {XID}")


def may_ask(project: Project) -> None:
    """MariaDB shows prepared transactions to everybody."""
    if project.source.server.kind == "mysql":
        who = f"'{project.accounts.name}'@'%'"
        project.accounts.grant([f"GRANT XA_RECOVER_ADMIN ON *.* TO {who}"], [])


def ids(project: Project, table: str = "t") -> list[int]:
    rows: list[Any] = project.ask(f"SELECT id FROM {project.source.name}.{table} ORDER BY id")
    return [row[0] for row in rows]


@pytest.mark.parametrize("table", ["t", "bag"])
def test_a_copy_waits_for_what_is_prepared(project: Project, cursor: Cursor, table: str) -> None:
    project.begin()
    project.consent_to_lock("bag")
    may_ask(project)
    prepare(cursor, table)
    daemon = project.sync()
    project.wait_until(lambda: "XA RECOVER" in project.run("status", code=None).out, daemon=daemon)
    assert project.stages() == {"bag": "new", "t": "new"}
    cursor.execute(f"XA COMMIT {XID}")
    project.wait_streaming(daemon)
    assert 9 in ids(project, table)
    daemon.stop()
    project.catch_up()
    assert assert_same(project.source, project.target) == 5


def test_a_commit_of_what_the_copy_could_not_know(project: Project, cursor: Cursor) -> None:
    if project.source.server.kind == "mariadb":
        pytest.skip("every account may ask there")
    cursor.execute("DROP TABLE bag")
    project.begin()
    prepare(cursor)
    with project.target.connect() as holder, holder.transaction():
        holder.execute(f"LOCK TABLE {project.source.name}.t IN SHARE MODE".encode())
        daemon = project.sync()
        project.wait_until(lambda: project.stages().get("t") == "copying", daemon=daemon)
        cursor.execute(f"XA COMMIT {XID}")
    project.wait_until(lambda: project.stages() == {"t": "stopped: xa"}, daemon=daemon)
    assert "XA_RECOVER_ADMIN" in project.table("t")["next"]
    project.run("tables", "resync", "t")
    project.wait_streaming_again(daemon)
    assert ids(project) == [1, 2, 9]
    daemon.stop()


def test_rows_that_a_savepoint_undid(project: Project, cursor: Cursor) -> None:
    """MariaDB logs them where a table without transactions was changed as well."""
    if project.source.server.kind == "mysql":
        pytest.skip("it refuses such transactions, or cuts them from the log")
    cursor.execute("CREATE TABLE plain (id int PRIMARY KEY) ENGINE=MyISAM")
    project.begin()
    daemon = project.sync()
    project.wait_streaming(daemon)
    for statement in (
        "BEGIN",
        "INSERT INTO t VALUES (3)",
        "SAVEPOINT s",
        "INSERT INTO plain VALUES (1)",
        "INSERT INTO t VALUES (7)",
        "ROLLBACK TO s",
        "COMMIT",
    ):
        cursor.execute(statement)
    stopped = {"bag": "streaming", "plain": "streaming", "t": "stopped: rolled-back"}
    project.wait_until(lambda: project.stages() == stopped, daemon=daemon)
    assert ids(project) == [1, 2]
    project.run("tables", "resync", "t")
    project.wait_streaming_again(daemon)
    daemon.stop()
    project.catch_up()
    assert assert_same(project.source, project.target) == 6
