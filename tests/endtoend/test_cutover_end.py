"""The end of a cutover: what may fail is tried while there is a way back; the last word counts."""

from __future__ import annotations

import signal
from contextlib import closing

import pytest

from tests.endtoend.dual import drop_application
from tests.endtoend.moves import OTHERS, move, near, plan_of, prepare, start, waive_writers
from tests.endtoend.project import Project, Result
from tests.endtoend.test_cutover_after import on_source, on_target
from tests.endtoend.test_cutover_operators import standing

ORPHAN = "INSERT INTO purchase (id, customer, amount) VALUES (90001, 99999, 1)"
STATE = "SELECT state FROM dbbridge.cutovers"


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_the_end(project: Project) -> None:
    prepare(project, OTHERS)
    on_source(project, "SET foreign_key_checks = 0", ORPHAN)
    daemon = start(project)
    too_early(project)
    move(project, "switch")
    near(project)
    a_row_without_its_parent(project)
    the_last_word_counts(project)
    assert daemon.running
    daemon.stop()
    drop_application(project)


def complete(project: Project, *words: str) -> Result:
    """By the hash that it shows."""
    refused = project.run("cutover", "complete", *words, code=2)
    number = refused.err.partition("--plan ")[2][:12]
    return project.run("cutover", "complete", *words, "--plan", number, code=None)


def armed(project: Project) -> bool:
    """As an operator leaves it who dies between making ready and fencing; if gates are open."""
    words = ("switch", "--plan", waive_writers(project))
    operator = project.background("cutover", *words, DBBRIDGE_KILL_AT="armed.entered")
    code = operator.wait(60)
    assert code == -signal.SIGKILL or "refused by writers:" in operator.log, operator.log
    return code == -signal.SIGKILL


def too_early(project: Project) -> None:
    """It is refused, and nothing is kept of it."""
    while not armed(project):  # else somebody wrote to the same server
        pass
    result = complete(project)
    assert result.code == 1, result
    assert "complete is not possible while the group is armed" in result.err, result
    kept = "SELECT evidence ? 'put_away' FROM dbbridge.cutovers"
    assert project.ask(kept) == [(False,)]


def a_row_without_its_parent(project: Project) -> None:
    """It is named, and the way back stays until it is mended."""
    result = complete(project)
    assert result.code == 1, result
    assert "(customer)=(99999) is not present" in result.err, result
    assert project.ask(STATE) == [("target-primary",)]
    assert standing(project)["rollback_available"] is True
    assert plan_of(project, "--reverse")["refused_by"] == []
    on_target(project, "DELETE FROM purchase WHERE id = 90001")


def the_last_word_counts(project: Project) -> None:
    """Tables that were to be renamed, and cannot be, stay as they are."""
    on_source(project, "CREATE TABLE _bridge_old_customer (id int)")
    refused = project.run("cutover", "complete", code=2)
    words = ("complete", "--plan", refused.err.partition("--plan ")[2][:12])
    operator = project.background("cutover", *words, DBBRIDGE_KILL_AT="completing.disarmed")
    assert operator.wait(60) == -signal.SIGKILL, operator.log
    failed = (
        "SELECT count(*) > 0 FROM dbbridge.cutover_steps WHERE event = 'failed' AND before = %s"
    )
    project.wait_until(lambda: project.ask(failed, "completing") == [(True,)])
    project.wait_until(lambda: complete(project, "--keep-data").code == 0)
    assert project.ask(STATE) == [("completed",)]
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("SHOW TABLES LIKE 'purchase'")
        assert cursor.fetchall() == (("purchase",),)
