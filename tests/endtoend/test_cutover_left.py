"""What an operator left behind is undone by the daemon, without anybody's command."""

from __future__ import annotations

import signal
import time

import psycopg
import pymysql
import pytest

from tests.endtoend.dual import as_role, drop_application, fence_name
from tests.endtoend.moves import OTHERS, move, near, plan_of, prepare, start, waive_writers
from tests.endtoend.project import Daemon, Project
from tests.endtoend.test_cutover import as_application
from tests.endtoend.test_cutover_operators import stopped

SECONDS = 30.0
"""What an operator gives his switch: enough on a busy machine, until he is killed."""
SHORT_SECONDS = 10.0
"""The same where its end is waited for."""
SOON = 60.0
"""Whoever took over, and nobody else, would have 100 or 120 seconds."""
INSERT = "INSERT INTO purchase (customer, amount) VALUES (1, 9.5)"


def test_left_behind(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(project, OTHERS)
    without_the_password(project, monkeypatch)
    daemon = start(project)
    killed_while_draining(project)
    stands_still(project)
    killed_on_the_way_back(project)
    assert daemon.running
    daemon.stop()
    drop_application(project)


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_who_undoes_it_stands_still(project: Project) -> None:
    """Who calls it off for another is no better: he has a deadline, too."""
    prepare(project, OTHERS)
    daemon = start(project)
    words = ("switch", "--plan", waive_writers(project), "--timeout", "100")
    first = project.background("cutover", *words, DBBRIDGE_STOP_AT="draining.marked")
    project.wait_until(lambda: stopped(first), daemon=first)
    second = project.background("cutover", "cancel", DBBRIDGE_STOP_AT="aborting.marked")
    waits = "SELECT state, deadline > now() + interval '60 s' FROM dbbridge.cutovers"
    project.wait_until(lambda: project.ask(waits) == [("aborting", True)])
    project.wait_until(lambda: stopped(second), daemon=second)
    with project.target.connect() as conn:
        conn.execute("UPDATE dbbridge.cutovers SET deadline = now()")
    writes_again(project)
    for each in (first, second):
        each.send(signal.SIGCONT)
        assert each.wait(60) not in (0, None), each.log
    daemon.stop()
    drop_application(project)


def without_the_password(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that could undo nothing is found before anybody is kept out."""
    path = project.folder / "bridge.yaml"
    fence = f"{fence_name(project)}:${{"
    assert fence in path.read_text()
    path.write_text(path.read_text().replace(f"{fence}SOURCE_PW", f"{fence}FENCE_PW"))
    daemon = project.sync()
    project.wait_streaming(daemon)
    monkeypatch.setenv("FENCE_PW", project.accounts.password)  # of who switches, not of the daemon
    told = "SELECT status -> 'settling' ->> 'error' FROM dbbridge.daemon"
    project.wait_until(lambda: project.ask(told)[0][0] is not None, daemon=daemon)
    found = plan_of(project)
    assert "daemon" in found["refused_by"], found
    (gate,) = [gate for gate in found["gates"] if gate["gate"] == "daemon"]
    assert "could not undo what an operator leaves" in gate["missing"], gate
    assert "the variable FENCE_PW is not set" in gate["missing"], gate
    assert "export FENCE_PW=" in gate["command"] and "dbbridge sync" in gate["command"], gate
    assert "cutover-not-settleable" in daemon.log
    daemon.stop()


def begun(
    project: Project, direction: str = "switch", seconds: float = SECONDS, **at: str
) -> Daemon:
    """An operator who gets as far as a point."""
    back = direction == "reverse"
    number = plan_of(project, "--reverse")["plan"] if back else waive_writers(project)
    words = (direction, "--plan", number, "--timeout", str(seconds))
    return project.background("cutover", *words, **at)


def killed_while_draining(project: Project) -> None:
    operator = begun(project, DBBRIDGE_KILL_AT="draining.marked")
    assert operator.wait(60) == -signal.SIGKILL, operator.log
    assert writes_again(project) < SECONDS  # his deadline is not waited for
    settled = "SELECT message FROM dbbridge.events WHERE kind = 'cutover-settled'"
    project.wait_until(lambda: project.ask(settled) != [])  # written once all is undone
    told = project.ask(settled)
    assert len(told) == 1 and "left it while draining; it is armed again" in told[0][0], told


def stands_still(project: Project) -> None:
    """He holds both locks, and is ended past his deadline; he may go on then, and harms nobody."""
    operator = begun(project, seconds=SHORT_SECONDS, DBBRIDGE_STOP_AT="fencing.fenced")
    state = "SELECT state FROM dbbridge.cutovers"
    project.wait_until(lambda: stopped(operator), daemon=operator)
    writes_again(project)
    project.wait_until(lambda: project.ask(state) == [("armed",)])
    operator.send(signal.SIGCONT)
    assert operator.wait(60) not in (0, None), operator.log
    assert "Traceback" not in operator.log
    assert project.ask(state) == [("armed",)]
    writes_again(project)


def killed_on_the_way_back(project: Project) -> None:
    move(project, "switch")
    near(project)
    operator = begun(project, "reverse", DBBRIDGE_KILL_AT="reverse-draining.ended")
    assert operator.wait(60) == -signal.SIGKILL, operator.log
    there = f'INSERT INTO "{project.source.name}".purchase (customer, amount) VALUES (1, 9.5)'
    deadline = time.monotonic() + 60
    with as_role(project) as new:
        while True:
            try:
                new.execute(there.encode())
                break
            except psycopg.Error:
                assert time.monotonic() < deadline
                time.sleep(0.05)
    near(project)


def writes_again(project: Project) -> float:
    """Seconds until the application's own writes succeed; they failed at first."""
    began = time.monotonic()
    while True:
        try:
            with as_application(project) as old, old.cursor() as cursor:
                cursor.execute(INSERT)
                return time.monotonic() - began
        except pymysql.err.MySQLError as error:
            if time.monotonic() > began + SOON:
                pytest.fail(f"still fenced: {error}; {project.stages()}")
            time.sleep(0.05)
