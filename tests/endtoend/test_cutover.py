"""Authority over a group goes to the target, and comes back with what was written meanwhile."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg
import pymysql
import pytest

from tests.endtoend.compare import assert_same
from tests.endtoend.dual import as_role, drop_application, of_application
from tests.endtoend.moves import OTHERS, move, near, plan_of, prepare, start, waive_writers
from tests.endtoend.project import Project

TABLES = ["customer", "purchase"]


def as_application(project: Project) -> closing[pymysql.Connection[Any]]:
    """A session of the application on the source."""
    return closing(of_application(project, autocommit=True))


def test_there_and_back_twice(project: Project) -> None:
    prepare(project, OTHERS)
    daemon = start(project)
    assert "errors" in project.run("check", "--for", "cutover").out
    schema = project.source.name
    insert = "INSERT INTO purchase (customer, amount) VALUES (1, 9.5)"
    there = f'INSERT INTO "{schema}".purchase (customer, amount) VALUES (1, 9.5) RETURNING id'
    with as_application(project) as old, old.cursor() as cursor, as_role(project) as new:
        for round_ in range(2):
            cursor.execute(insert)
            last = cursor.lastrowid
            waive_writers(project)
            found = plan_of(project)
            assert found["refused_by"] == [], found
            print(move(project, "switch", "--format", "json").json)
            # Nobody ever set a mode: arming gave it its rows, and each move takes two epochs.
            epochs = project.ask("SELECT epoch FROM dbbridge.authority")
            assert epochs == [(3 + 4 * round_,)]
            with pytest.raises(pymysql.err.MySQLError):
                cursor.execute(insert)
            ((number,),) = new.execute(there.encode()).fetchall()
            assert number > last
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                new.execute(there.replace("(1, 9.5)", "(999999, 1)").encode())
            new.execute(
                f'UPDATE "{schema}".customer SET name = %s WHERE id = 2'.encode(), (f"n{round_}",)
            )
            near(project)
            print(move(project, "reverse", "--format", "json").json)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                new.execute(there.encode())
            cursor.execute(insert)
            assert cursor.lastrowid > number
    project.wait_until(
        lambda: project.ask(f'SELECT max(id) FROM "{schema}".purchase')[0][0] == cursor.lastrowid,
        daemon=daemon,
    )
    daemon.stop()
    assert assert_same(project.source, project.target, tables=TABLES) > 600
    drop_application(project)
