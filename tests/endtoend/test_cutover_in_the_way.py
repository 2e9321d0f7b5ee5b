"""Who holds locks of the target keeps nobody out of the source, or of the target, for long."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest

from tests.endtoend.dual import as_role, drop_application
from tests.endtoend.moves import OTHERS, move, near, plan_of, prepare, start
from tests.endtoend.project import Project
from tests.endtoend.test_cutover_after import on_target
from tests.endtoend.test_cutover_operators import GROUP, standing_still, stopped, writes
from tests.endtoend.test_cutover_slots import armed

MAINTENANCE = 'LOCK TABLE "{0}".customer IN SHARE UPDATE EXCLUSIVE MODE'
"""As VACUUM and CREATE INDEX CONCURRENTLY hold it; writers do not notice."""
REPORT = 'SELECT count(*) FROM "{0}".customer, "{0}".purchase'
DOOR = "SELECT pg_advisory_xact_lock_shared(hashtextextended('dbbridge:authority:{0}:customer', 0))"
"""As a writer through the bridge holds it until his commit."""
SOON = 30.0


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_a_switch_is_undone(project: Project) -> None:
    prepare(project, OTHERS)
    daemon = start(project)
    undone_beside_maintenance(project)
    undone_beside_a_report(project)
    daemon.stop()
    drop_application(project)


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_a_reverse_is_undone(project: Project) -> None:
    prepare(project, OTHERS)
    daemon = start(project)
    armed(project)
    at_the_door(project)
    near(project)
    reverse_undone_beside_maintenance(project)
    daemon.stop()
    drop_application(project)


@contextmanager
def in_the_way(project: Project, statement: str) -> Iterator[psycopg.Connection[tuple[object]]]:
    """A transaction of the application's on the target that holds what it locks."""
    with closing(as_role(project)) as conn:
        conn.autocommit = False
        conn.execute(statement.format(project.source.name).encode())
        yield conn


def holds_still(conn: psycopg.Connection[tuple[object]]) -> None:
    conn.execute("SELECT 1")
    conn.rollback()


def undone_beside_maintenance(project: Project) -> None:
    """Nothing was made yet, so nothing has to be waited for."""
    with standing_still(project, "draining.marked", "draining") as operator:
        conn = project.target.connect(autocommit=False)
        conn.execute(MAINTENANCE.format(project.source.name).encode())
        operator.send(signal.SIGINT)
    began = time.monotonic()
    assert operator.wait(60) == 130, operator.log
    assert time.monotonic() - began < SOON
    writes(project)
    holds_still(conn)
    conn.close()


def undone_beside_a_report(project: Project) -> None:
    """What was made has to go first; the report is ended for it."""
    with standing_still(project, "sequencing.installed", "sequencing") as operator:
        reader = as_role(project)
        reader.autocommit = False
        reader.execute(REPORT.format(project.source.name).encode())
        operator.send(signal.SIGINT)
    assert operator.wait(60) == 130, operator.log
    assert project.ask(GROUP) == [("armed",)]
    writes(project)
    with pytest.raises(psycopg.OperationalError):
        reader.execute("SELECT 1")
    keys = (
        "SELECT conname FROM pg_constraint"
        " WHERE contype = 'f' AND connamespace::regnamespace::text = %s"
    )
    assert project.ask(keys, project.source.name) == []


def at_the_door(project: Project) -> None:
    """A writer who does not go on is ended, before anybody else is kept out for long."""
    with in_the_way(project, DOOR) as conn:
        assert move(project, "switch", "--format", "json").json["pause_seconds"] < SOON
        with pytest.raises(psycopg.OperationalError):
            conn.execute("SELECT 1")


def reverse_undone_beside_maintenance(project: Project) -> None:
    words = ("reverse", "--plan", str(plan_of(project, "--reverse")["plan"]), "--timeout", "100")
    operator = project.background("cutover", *words, DBBRIDGE_STOP_AT="reverse-draining.marked")
    project.wait_until(lambda: stopped(operator), daemon=operator)
    with closing(project.target.connect(autocommit=False)) as conn:
        conn.execute(MAINTENANCE.format(project.source.name).encode())
        operator.send(signal.SIGINT)
        operator.send(signal.SIGCONT)
        began = time.monotonic()
        assert operator.wait(60) == 130, operator.log
        assert time.monotonic() - began < SOON
        on_target(project, "INSERT INTO purchase (customer, amount) VALUES (1, 9.5)")
        holds_still(conn)
    near(project)
