"""Operators: what they see, who waits for whom, and how what they began is called off."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.endtoend.dual import drop_application
from tests.endtoend.moves import OTHERS, move, plan_of, prepare, start, waive_writers
from tests.endtoend.project import Daemon, Project
from tests.endtoend.test_cutover import as_application

INSERT = "INSERT INTO purchase (customer, amount) VALUES (1, 9.5)"
GROUP = "SELECT state FROM dbbridge.cutovers"


@pytest.mark.parametrize("source", ["mysql"], indirect=True)
def test_operators(project: Project) -> None:
    prepare(project, OTHERS + "  survivors: wait\n  lock_seconds: 1\n")
    daemon = start(project)
    before_a_switch(project)
    another_plan(project)
    announced_and_called_off(project)
    two_at_once(project)
    interrupted(project)
    somebody_is_in_the_way(project)
    daemon.stop()
    assert standing(project)["next_steps"][0] == "dbbridge sync"
    drop_application(project)


def standing(project: Project, *words: str) -> Any:
    """The only group, as `cutover status` has it."""
    (group,) = project.run("cutover", "status", *words, "--format", "json").json["groups"]
    return group


def writes(project: Project) -> None:
    """The application's own writes succeed."""
    with as_application(project) as old, old.cursor() as cursor:
        cursor.execute(INSERT)


def before_a_switch(project: Project) -> None:
    found = standing(project)
    assert (found["state"], found["phase"]) == ("source-primary", "verified"), found
    assert found["next_steps"] == ["dbbridge cutover plan --group customer"]
    assert (found["rollback_available"], found["fence"], found["way_back"]) == (None, None, None)
    project.run("cutover", "reads", "5")
    found = standing(project)
    assert (found["phase"], found["reads"], found["epoch"]) == ("reads-target", 5, 1)
    assert found["source"] == found["target"]
    project.run("cutover", "reads", "0")


def another_plan(project: Project) -> None:
    number = plan_of(project)["plan"]
    result = project.run("cutover", "switch", "--plan", "000000000000", code=1)
    assert f"the plan is {number} now, not 000000000000" in result.err
    assert standing(project)["state"] == "source-primary"


def announced_and_called_off(project: Project) -> None:
    moment = (datetime.now().astimezone() + timedelta(hours=1)).isoformat(timespec="seconds")
    number = plan_of(project)["plan"]
    waiting = project.background("cutover", "switch", "--plan", number, "--at", moment)
    asked = "SELECT scheduled_at IS NOT NULL FROM dbbridge.cutovers"
    project.wait_until(lambda: (True,) in project.ask(asked), daemon=waiting)
    found = standing(project)
    assert found["announced"]["plan"] == number
    assert not found["announced"]["overdue"]
    assert "dbbridge cutover cancel --group customer" in found["next_steps"]
    text = project.run("cutover", "status").out
    assert "announced for" in text and "calls it off" in text
    assert project.run("cutover", "cancel", "--format", "json").json["called_off"]
    assert waiting.wait(60) == 1, waiting.log
    assert "somebody called the switch off" in waiting.log
    found = standing(project)
    assert (found["announced"], found["state"]) == (None, "source-primary")


@contextmanager
def standing_still(project: Project, point: str, state: str) -> Iterator[Daemon]:
    """An operator who stands still at a point of his switch, and goes on afterwards."""
    number = waive_writers(project)
    words = ("switch", "--plan", number, "--timeout", "100")
    operator = project.background("cutover", *words, DBBRIDGE_STOP_AT=point)
    project.wait_until(lambda: project.ask(GROUP) == [(state,)], daemon=operator)
    project.wait_until(lambda: stopped(operator), daemon=operator)
    try:
        yield operator
    finally:
        operator.send(signal.SIGCONT)


def stopped(operator: Daemon) -> bool:
    """Whether the process stands still, as Linux tells it."""
    try:
        text = Path(f"/proc/{operator.process.pid}/stat").read_text()
    except FileNotFoundError:  # it has ended, and its log says why
        return False
    return text.rpartition(")")[2].split()[0] == "T"


def two_at_once(project: Project) -> None:
    with standing_still(project, "fencing.closed", "fencing") as first:
        found = standing(project)
        assert found["operator"]["there"] and f"pid {first.process.pid}" in found["operator"]["who"]
        assert found["phase"] is None and found["next_steps"]
        result = move(project, "switch", code=1)
        assert f"pid {first.process.pid}" in result.err and "is at it" in result.err
        first.send(signal.SIGTERM)
    assert first.wait(60) != 0, first.log
    found = standing(project, "--history")
    assert found["state"] == "armed", first.log
    assert found["last_error"]["state"] == "fencing"
    events = [(step["before"], step["event"]) for step in found["history"]]
    for step in (("armed", "switch"), ("fencing", "failed"), ("aborting", "done")):
        assert step in events
    text = project.run("cutover", "status", "--history").out
    assert "fencing → aborting" in text and "last error" in text
    writes(project)


def interrupted(project: Project) -> None:
    with standing_still(project, "sequencing.installed", "sequencing") as operator:
        operator.send(signal.SIGINT)
    assert operator.wait(60) == 130, operator.log
    assert project.ask(GROUP) == [("armed",)]
    writes(project)


def somebody_is_in_the_way(project: Project) -> None:
    """He is named, nobody is fenced afterwards, and his transaction is not ended."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE purchase SET note = 'mine' WHERE id = 7")
        cursor.execute("SELECT CONNECTION_ID()")
        (number,) = cursor.fetchone() or (0,)
        result = move(project, "switch", "--timeout", "10", code=1)
        assert f"session {number} of root@" in result.err, result
        writes(project)
        conn.commit()
    found = standing(project)
    assert found["state"] == "armed" and str(number) in found["last_error"]["error"]
