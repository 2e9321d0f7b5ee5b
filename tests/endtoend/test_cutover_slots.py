"""The slot of the way back in danger, and lost: what is said of it, and what still can be done."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from compose.local import servers
from compose.local.errors import Unavailable
from tests.endtoend.compare import assert_same
from tests.endtoend.dual import as_role, drop_application
from tests.endtoend.fixtures import NewProject
from tests.endtoend.moves import (
    OTHERS,
    move,
    near,
    plan_of,
    prepare,
    start,
    wait_told,
    waive_writers,
)
from tests.endtoend.project import Daemon, Project
from tests.endtoend.test_cutover import TABLES, as_application
from tests.endtoend.test_cutover_operators import standing
from tests.fix_servers import UNAVAILABLE, SourceDatabase, TargetDatabase

SEGMENTS = 3
OPTIONS = ("-c", f"max_slot_wal_keep_size={16 * SEGMENTS}MB", "-c", "checkpoint_timeout=1h")
"""Checkpoints, which make a slot lost, come when the test says so."""


@pytest.fixture
def small_target(tmp_path: Path) -> Iterator[TargetDatabase]:
    """A database on a server of its own, which keeps little WAL."""
    try:
        server = servers.start("postgresql", tmp_path / "postgresql", options=OPTIONS)
    except Unavailable as reason:
        pytest.skip(f"{UNAVAILABLE}: postgresql ({reason})")
    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE small TEMPLATE template0 ENCODING 'UTF8'")
    yield TargetDatabase(server, "small")
    server.stop(kill=True)


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_slots(
    source_db: SourceDatabase, small_target: TargetDatabase, new_project: NewProject
) -> None:
    project = new_project(source_db, small_target)
    prepare(project, OTHERS)
    daemon = start(project)
    armed(project)
    daemon = in_danger_while_armed(project, daemon)
    daemon = lost_while_armed(project, daemon)
    move(project, "switch")
    near(project)
    daemon = in_danger(project, daemon)
    daemon = lost(project, daemon)
    end(project)
    daemon.stop()
    drop_application(project)


# -- how ---------------------------------------------------------------------------------------


def armed(project: Project) -> None:
    """As an operator leaves it who dies between making ready and fencing."""
    words = ("switch", "--plan", waive_writers(project))
    operator = project.background("cutover", *words, DBBRIDGE_KILL_AT="armed.entered")
    assert operator.wait(60) == -signal.SIGKILL, operator.log
    assert project.ask("SELECT state FROM dbbridge.cutovers") == [("armed",)]


def slot_state(project: Project) -> str:
    ((state,),) = project.ask("SELECT wal_status FROM pg_replication_slots")
    return str(state)


def write_wal(project: Project, *, checkpoint: bool) -> None:
    """More than the slot may keep; the checkpoint takes it away."""
    with project.target.connect() as conn:
        for _ in range(SEGMENTS + 2):
            conn.execute("SELECT pg_logical_emit_message(false, '', 'x'), pg_switch_wal()")
        if checkpoint:
            conn.execute("CHECKPOINT")


def snapshot(project: Project) -> None:
    """Logs which transactions run, up to which slots are brought forward.

    The server does so every 15 s; it does when a slot is made, too.
    """
    with project.target.connect() as conn:
        conn.execute("SELECT pg_create_logical_replication_slot('other', 'pgoutput', true)")
        conn.execute("SELECT pg_drop_replication_slot('other')")  # not when the session has ended


def reserved(project: Project) -> bool:
    snapshot(project)
    return slot_state(project) == "reserved"


def gates(project: Project, *words: str) -> dict[str, Any]:
    """Those that refuse."""
    found = plan_of(project, *words)
    return {gate["gate"]: gate for gate in found["gates"] if gate["gate"] in found["refused_by"]}


def add(project: Project) -> None:
    """The application writes on the target."""
    with as_role(project) as new:
        new.execute(
            f'INSERT INTO "{project.source.name}".purchase (customer, amount)'
            " VALUES (1, 9.5)".encode()
        )


# -- before a switch ---------------------------------------------------------------------------


def in_danger_while_armed(project: Project, daemon: Daemon) -> Daemon:
    daemon.stop()
    write_wal(project, checkpoint=False)
    found = standing(project)
    assert found["way_back"]["slot_state"] == "unreserved", found
    assert found["way_back"]["alarm"].startswith("DANGER"), found
    assert found["next_steps"][0] == "dbbridge sync", found
    assert "brings it forward" in gates(project)["reverse"]["command"]
    daemon = project.sync()
    project.wait_until(lambda: reserved(project), daemon=daemon)
    return daemon


def lost_while_armed(project: Project, daemon: Daemon) -> Daemon:
    daemon.stop()
    write_wal(project, checkpoint=True)
    assert slot_state(project) == "lost"
    daemon = project.sync()
    project.wait_streaming(daemon)
    wait_told(project, daemon)
    found = standing(project)
    assert "the next switch makes another one" in found["way_back"]["alarm"], found
    assert found["next_steps"][0] == "dbbridge cutover cancel --group customer", found
    closed = gates(project)
    assert [*closed] == ["reverse"], closed
    assert closed["reverse"]["command"] == "dbbridge cutover cancel --group customer"
    refused = move(project, "switch", code=1)
    assert "refused by reverse: LOST: the slot" in refused.err, refused
    assert "hint: dbbridge cutover cancel --group customer" in refused.err, refused
    assert project.ask("SELECT count(*) FROM dbbridge.cutover_steps WHERE after = 'fencing'") == [
        (0,)
    ]
    with as_application(project) as old, old.cursor() as cursor:
        cursor.execute("INSERT INTO purchase (customer, amount) VALUES (1, 9.5)")
    assert "ways-back-wait" not in daemon.log, daemon.log
    project.run("cutover", "cancel", "--group", "customer")
    return daemon


# -- after it ----------------------------------------------------------------------------------


def in_danger(project: Project, daemon: Daemon) -> Daemon:
    """It heals as soon as the stream back has read what it is for."""
    daemon.stop()
    add(project)
    write_wal(project, checkpoint=False)
    found = standing(project)
    assert found["way_back"]["slot_state"] == "unreserved", found
    assert found["way_back"]["lag_seconds"] is None and found["rollback_available"] is True
    assert found["next_steps"][:2] == [
        "dbbridge sync",
        "ALTER SYSTEM SET max_slot_wal_keep_size = …; SELECT pg_reload_conf()",
    ]
    text = project.run("cutover", "status").out
    assert "the way back is open, not connected" in text and "  DANGER: the slot" in text
    (group,) = project.status()["groups"]
    assert (group["slot_state"], group["rollback_available"]) == ("unreserved", True)
    assert group["alarm"].startswith("DANGER")
    daemon = project.sync()
    project.wait_until(lambda: reserved(project), daemon=daemon)
    near(project)
    assert gates(project, "--reverse") == {}
    return daemon


def lost(project: Project, daemon: Daemon) -> Daemon:
    daemon.stop()
    add(project)
    write_wal(project, checkpoint=True)
    add(project)
    assert standing(project)["rollback_available"] is False
    daemon = project.sync()
    stopped = "SELECT status -> 'stopped' FROM dbbridge.way_back"
    project.wait_until(lambda: project.ask(stopped) == [(True,)], daemon=daemon)
    said_lost(project)
    assert "reverse-stopped" in daemon.log and "has lost its WAL" in daemon.log
    wait_told(project, daemon)
    no_reverse(project)
    add(project)
    return daemon


def no_reverse(project: Project) -> None:
    """It is refused with all reasons, also while a stream that is begun anew has met none yet."""
    closed = gates(project, "--reverse")
    assert [*closed] == ["stream-errors", "lag", "reverse"], closed
    assert "there is no way back" in closed["reverse"]["missing"]
    refused = move(project, "reverse", code=1)
    assert "refused by stream-errors, lag, reverse" in refused.err, refused
    assert "has lost its WAL" in refused.err, refused


def said_lost(project: Project) -> None:
    found = standing(project)
    assert found["way_back"]["slot_state"] == "lost" and found["rollback_available"] is False
    assert found["way_back"]["alarm"].startswith("LOST"), found
    assert found["next_steps"][-1] == "dbbridge cutover complete --group customer"
    assert "dbbridge cutover plan --reverse --group customer" not in found["next_steps"]
    text = project.run("cutover", "status").out
    assert "the way back is closed, not connected" in text and "has lost its WAL" in text
    assert "  LOST: the slot" in project.run("status").out


def end(project: Project) -> None:
    """Staying is possible; what is not in the source can be named."""
    with pytest.raises(AssertionError):
        assert_same(project.source, project.target, tables=TABLES)
    words = ("--group", "customer", "--keep-data")
    refused = project.run("cutover", "complete", *words, code=2)
    number = refused.err.partition("--plan ")[2][:12]
    project.run("cutover", "complete", *words, "--plan", number)
    assert project.ask("SELECT state FROM dbbridge.cutovers") == [("completed",)]
    assert project.ask("SELECT slot_name FROM pg_replication_slots") == []
    add(project)
