"""What the final check refuses is shown by a gate before; and what was waived passes it too."""

from __future__ import annotations

import re
import signal
from typing import Any

import pytest

from tests.endtoend.compare import assert_same
from tests.endtoend.dual import drop_application
from tests.endtoend.moves import OTHERS, move, near, plan_of, prepare, start, waive_writers
from tests.endtoend.project import Project
from tests.endtoend.test_cutover import TABLES
from tests.endtoend.test_cutover_after import on_source
from tests.endtoend.test_cutover_operators import stopped

STATE = "SELECT state FROM dbbridge.cutovers"


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_waived_and_foreseen(project: Project) -> None:
    prepare(project, OTHERS)
    daemon = start(project)
    held_back(project, 11)
    waive(project)
    another_row_under_the_fence(project)
    waive(project)
    move(project, "switch")
    near(project)
    foreseen(project)
    move(project, "reverse")
    assert project.ask(STATE) == [("armed",)]
    on_source(project, "UPDATE purchase SET note = '' WHERE id IN (11, 12)")
    project.wait_until(lambda: in_quarantine(project) == 0, daemon=daemon)
    daemon.stop()
    assert_same(project.source, project.target, tables=TABLES)
    drop_application(project)


def in_quarantine(project: Project) -> int:
    ((count,),) = project.ask("SELECT count(*) FROM dbbridge.quarantine")
    return int(count)


def held_back(project: Project, number: int) -> None:
    """A text that PostgreSQL cannot hold."""
    before = in_quarantine(project)
    on_source(project, f"UPDATE purchase SET note = CHAR(0) WHERE id = {number}")
    project.wait_until(lambda: in_quarantine(project) == before + 1)


def waive(project: Project) -> None:
    """Somebody agrees that just these rows stay out of the target."""
    project.wait_until(lambda: "quarantine" in plan_of(project)["refused_by"])
    project.run("cutover", "waive", "quarantine", "--reason", "test orders")
    project.wait_until(lambda: plan_of(project)["refused_by"] in ([], ["writers"]))


def another_row_under_the_fence(project: Project) -> None:
    """The gates were open; what came to quarantine since is refused all the same."""
    words = ("switch", "--plan", waive_writers(project), "--timeout", "100")
    operator = project.background("cutover", *words, DBBRIDGE_STOP_AT="fencing.begun")
    project.wait_until(lambda: stopped(operator), daemon=operator)
    held_back(project, 12)
    operator.send(signal.SIGCONT)
    assert operator.wait(60) == 1, operator.log
    assert "2 rows are in quarantine" in operator.log
    assert project.ask(STATE) == [("armed",)]


def foreseen(project: Project) -> None:
    """A table that is mapped into the group meanwhile is proven by nobody."""
    on_source(project, "CREATE TABLE late (id int PRIMARY KEY, text varchar(40))")
    project.init()
    path = project.mapping("late")
    text = path.read_text()
    path.write_text(re.sub("^group: .*$", "group: customer", text, flags=re.MULTILINE))
    missing = closed(project)["certificate"]["missing"]
    assert f"{project.source.name}.late: the pipeline does not follow it" in missing
    assert "refused by certificate" in move(project, "reverse", code=1).err
    assert project.ask(STATE) == [("target-primary",)]
    path.unlink()
    project.wait_until(lambda: closed(project) == {})


def closed(project: Project) -> dict[str, Any]:
    """Gates of a reverse that refuse."""
    found = plan_of(project, "--reverse")
    return {gate["gate"]: gate for gate in found["gates"] if gate["gate"] in found["refused_by"]}
