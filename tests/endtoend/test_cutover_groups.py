"""Two groups of one pipeline: what goes wrong with one of them hinders nothing of the other."""

from __future__ import annotations

import re
import signal
import time
from contextlib import closing
from typing import Any

import pymysql
import pytest

from tests.endtoend.dual import as_role, drop_application
from tests.endtoend.moves import OTHERS, plan_of, prepare, start
from tests.endtoend.project import Daemon, Project
from tests.endtoend.test_cutover import as_application

SECONDS = 30.0
SOON = 30.0
"""Whoever brings groups to rest one after the other waits for the first one's reader: a minute."""
GROUPS = ("customer", "zebra")
"""In the order in which the daemon comes to them."""


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_groups_apart(project: Project) -> None:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE zebra (id int PRIMARY KEY, name varchar(40))")
    prepare(project, OTHERS)
    daemon = start(project, certify=False)
    project.run("verify", "--certify")
    census = "SELECT 1 FROM dbbridge.census"
    project.wait_until(lambda: bool(project.ask(census)), daemon=daemon)
    for group in GROUPS:
        go(project, "switch", group)
    daemon = without_the_files_of_one(project, daemon)
    go(project, "reverse", "zebra")
    nobody_ends_one(project)
    daemon.stop()
    drop_application(project)


def words_for(project: Project, direction: str, group: str) -> tuple[str, ...]:
    """The verb with the plan's hash; whoever else writes to the server is known."""
    of_group = ("--group", group)
    back = ("--reverse",) if direction == "reverse" else ()
    found = plan_of(project, *back, *of_group)
    if "writers" in found["refused_by"]:
        project.run("cutover", "waive", "writers", "--reason", "known", *of_group)
    return "cutover", direction, *of_group, "--plan", found["plan"], "--timeout", str(SECONDS)


def go(project: Project, direction: str, group: str) -> None:
    """A switch or reverse, once its gates are open."""
    done = project.run(*words_for(project, direction, group), code=None)
    deadline = time.monotonic() + 60
    while done.code != 0 and "refused by" in done.err and time.monotonic() < deadline:
        done = project.run(*words_for(project, direction, group), code=None)
    assert done.code == 0, done


def state(project: Project, group: str) -> Any:
    ((found,),) = project.ask("SELECT state FROM dbbridge.cutovers WHERE grp = %s", group)
    return found


def without_the_files_of_one(project: Project, daemon: Daemon) -> Daemon:
    """The other one's stream back runs, and its proofs are kept up."""
    daemon.stop()
    paths = [project.mapping(table) for table in ("customer", "purchase")]
    texts = [path.read_text() for path in paths]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(re.sub("^group: .*$", "group: renamed", text, flags=re.MULTILINE))
    daemon = project.sync()
    with as_role(project) as new:
        new.execute(f"INSERT INTO \"{project.source.name}\".zebra VALUES (1, 'there')".encode())
    project.wait_until(lambda: zebras(project) == (("there",),), daemon=daemon)
    project.wait_until(lambda: "no mapping file names the group" in daemon.log, daemon=daemon)
    kept_up = "SELECT updated_at > %s FROM dbbridge.proofs WHERE source_table = 'zebra'"
    ((now,),) = project.ask("SELECT clock_timestamp()")
    # Twice a minute, if it is not busy.
    project.wait_until(lambda: project.ask(kept_up, now) == [(True,)], 120, daemon=daemon)
    daemon.stop()
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    daemon = project.sync()
    project.wait_said_streaming(daemon)
    return daemon


def zebras(project: Project) -> Any:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT name FROM zebra ORDER BY id")
        return cursor.fetchall()


def nobody_ends_one(project: Project) -> None:
    """The end of one waits for a reader of the source; the other one is opened again at once.

    One of its two tables has another name by then.
    """
    refused = project.run("cutover", "complete", "--group", "customer", code=2)
    number = refused.err.partition("--plan ")[2][:12]
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT count(*) FROM purchase")
        words = ("complete", "--group", "customer", "--plan", number)
        operator = project.background("cutover", *words, DBBRIDGE_KILL_AT="completing.disarmed")
        assert operator.wait(60) == -signal.SIGKILL, operator.log
        project.wait_until(lambda: renaming(project))
        while not killed(project, "draining.marked"):  # else somebody wrote to the same server
            pass
        assert writes_again(project) < SOON
        project.wait_until(lambda: state(project, "zebra") == "armed")
        assert state(project, "customer") == "completing"
        conn.rollback()
    project.wait_until(lambda: state(project, "customer") == "completed")


def killed(project: Project, point: str) -> bool:
    """Whether the other one's operator came so far; gates may be closed."""
    verb, *rest = words_for(project, "switch", "zebra")
    operator = project.background(verb, *rest, DBBRIDGE_KILL_AT=point)
    code = operator.wait(60)
    assert code == -signal.SIGKILL or "refused by writers:" in operator.log, operator.log
    return code == -signal.SIGKILL


def renaming(project: Project) -> bool:
    """Whether the daemon waits for the reader."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM information_schema.PROCESSLIST"
            " WHERE INFO LIKE '%%RENAME TABLE%%' AND ID <> CONNECTION_ID() AND DB = %s",
            (project.source.name,),
        )
        return bool(cursor.fetchall())


def writes_again(project: Project) -> float:
    """Seconds until the application's own writes of the one succeed."""
    began = time.monotonic()
    while True:
        try:
            with as_application(project) as old, old.cursor() as cursor:
                cursor.execute("INSERT INTO zebra VALUES (%s, 'here')", (2,))
                return time.monotonic() - began
        except pymysql.err.MySQLError as error:
            if time.monotonic() > began + 60:
                pytest.fail(f"still fenced: {error}")
            time.sleep(0.05)
