"""A row that the source cannot hold, written after the gates were looked at."""

from __future__ import annotations

import signal

from tests.endtoend.compare import assert_same
from tests.endtoend.dual import as_role, drop_application
from tests.endtoend.moves import OTHERS, move, near, plan_of, prepare, start
from tests.endtoend.project import Project
from tests.endtoend.test_cutover_operators import stopped

STATE = "SELECT state FROM dbbridge.cutovers"
AT = "reverse-fencing.begun"


def test_a_row_that_came_behind_the_gates_keeps_authority_where_it_is(project: Project) -> None:
    prepare(project, OTHERS)
    daemon = start(project)
    move(project, "switch")
    near(project)
    number = plan_of(project, "--reverse")["plan"]
    operator = project.background(
        "cutover", "reverse", "--plan", number, "--timeout", "60", DBBRIDGE_STOP_AT=AT
    )
    project.wait_until(lambda: stopped(operator), daemon=operator)
    table = f'"{project.source.name}".purchase'
    with as_role(project) as new:
        query = (
            f"INSERT INTO {table} (customer, amount, note) VALUES (1, 1, repeat('x', 70000))"
            " RETURNING id"
        )
        ((key,),) = new.execute(query.encode()).fetchall()
        operator.send(signal.SIGCONT)
        assert operator.wait(60) not in (0, None), operator.log
        assert f"1 rows of the target cannot be held by the source: {project.source.name}." in (
            operator.log
        )
        assert f"purchase {key} (note: too-long)" in operator.log
        assert project.ask(STATE) == [("target-primary",)]
        new.execute(f"UPDATE {table} SET note = 'short' WHERE id = {key}".encode())
    project.wait_until(lambda: plan_of(project, "--reverse")["refused_by"] == [], 60)
    move(project, "reverse")
    daemon.stop()
    assert_same(project.source, project.target, tables=["customer", "purchase"])
    drop_application(project)
