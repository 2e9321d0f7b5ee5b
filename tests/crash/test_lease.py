"""One daemon a pipeline: a second one is refused, a frozen one is replaced and writes no more."""

from __future__ import annotations

import platform
import signal
from contextlib import closing

import pytest

from bridge.cli.signals import FINISH_SECONDS, LEAVE_SECONDS
from bridge.store.lease import STALE_SECONDS
from tests.crash.kills import PATIENCE, begin, start
from tests.endtoend.project import Daemon, Project

pytestmark = pytest.mark.crash

GRACE_SECONDS = 10.0
"""In which SIGTERM must be obeyed: whoever stops a container waits for no longer."""
TERM_SECONDS = FINISH_SECONDS + LEAVE_SECONDS + 10.0
"""The same on a machine that stands still for seconds itself."""


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_one_daemon_runs_and_a_frozen_one_is_replaced(project: Project, seed: int) -> None:
    victim = begin(project, seed, bulk=1000)
    with victim.traffic:
        old = project.sync()
        project.wait_streaming(old, PATIENCE)
        refuse_another(project, old)

        with project.target.connect(autocommit=False) as conn:  # as if it froze in a transaction
            conn.execute("UPDATE dbbridge.pipeline SET epoch = epoch")
            refuse_another(project, old)

        old.send(signal.SIGSTOP)
        refuse_another(project, old)
        project.ask(
            "UPDATE dbbridge.daemon SET renewed_at = renewed_at - make_interval(secs => %s)"
            " RETURNING pid",
            STALE_SECONDS,
        )
        new = start(project)
        before = position(project)
        project.wait_until(lambda: position(project) != before, PATIENCE, daemon=new)

        old.send(signal.SIGCONT)
        assert old.wait(PATIENCE) == 1, old.log
        error, hint = old.log.splitlines()[-2:]
        assert error.startswith("error: ") and hint.startswith("hint: "), old.log
        assert new.running
        new.stop(TERM_SECONDS)
        victim.judge()


def test_there_is_time_enough_to_obey() -> None:
    assert FINISH_SECONDS + LEAVE_SECONDS < GRACE_SECONDS


# What is waited for lies in the target, or is waited for in the same way on both sources; each
# of the two tests has one of them.


@pytest.mark.parametrize("source", ["mysql"], indirect=True)
def test_sigterm_is_obeyed_whatever_is_under_way(project: Project, seed: int) -> None:
    victim = begin(project, seed, bulk=100_000)
    with victim.traffic:
        for chunks in (1, 3):
            daemon = start(project, "--readers", "1")
            await_chunks(project, daemon, chunks)
            daemon.stop(TERM_SECONDS)
        start(project).stop(TERM_SECONDS)
        daemon = project.sync()
        project.wait_streaming(daemon, PATIENCE)
        with closing(project.source.connect()) as conn, conn.cursor() as cursor:
            cursor.execute("UPDATE bulk SET v = v + 1")
        project.wait_until(lambda: in_transaction(project, 0.3), PATIENCE, daemon=daemon)
        daemon.stop(TERM_SECONDS)
        victim.judge()


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_sigterm_is_obeyed_while_locks_are_waited_for(project: Project, seed: int) -> None:
    victim = begin(project, seed, bulk=1000)
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("LOCK TABLES bulk WRITE")
        daemon = start(project)
        project.wait_until(lambda: waits_on_source(project), PATIENCE, daemon=daemon)
        daemon.stop(TERM_SECONDS)

    daemon = start(project)
    with project.target.connect(autocommit=False) as conn_:
        relation = f'"{project.source.name}".emptied'
        conn_.execute(f"LOCK TABLE {relation} IN ACCESS EXCLUSIVE MODE".encode())
        with closing(project.source.connect()) as conn, conn.cursor() as cursor:
            # The daemon may be done with its copy by now.
            cursor.execute("INSERT INTO emptied VALUES (1, 1)")
        project.wait_until(lambda: waits_on_target(project), PATIENCE, daemon=daemon)
        daemon.stop(TERM_SECONDS)
    with victim.traffic:
        victim.judge()


def refuse_another(project: Project, holder: Daemon) -> None:
    """A second daemon ends at once, names the first, and leaves it alone."""
    refused = project.run("sync", code=1, timeout=STALE_SECONDS)
    assert f"process {holder.process.pid} on {platform.node()}" in refused.err
    assert "hint: " in refused.err
    assert holder.running


def position(project: Project) -> str:
    """The main stream's."""
    return str(project.ask("SELECT position FROM dbbridge.pipeline")[0][0])


def await_chunks(project: Project, daemon: Daemon, number: int) -> None:
    """Waits until so many chunks are copied, by whichever daemon."""
    project.wait_until(lambda: chunks_done(project) >= number, PATIENCE, daemon=daemon)


def chunks_done(project: Project) -> int:
    """Chunks of all tables that are in the target."""
    if not project.stages():
        return 0
    return int(project.ask("SELECT count(*) FROM dbbridge.chunks WHERE done")[0][0])


def in_transaction(project: Project, seconds: float) -> bool:
    """Whether the bridge has written in one transaction for so long."""
    found = project.ask(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = %s AND backend_xid IS NOT NULL"
        " AND now() - xact_start > make_interval(secs => %s))",
        project.accounts.name,
        seconds,
    )
    return bool(found[0][0])


def waits_on_source(project: Project) -> bool:
    """Whether a session of the bridge waits for a table lock there."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM information_schema.processlist"
            " WHERE user = %s AND state LIKE 'Waiting for table metadata lock'",
            (project.accounts.name,),
        )
        found = cursor.fetchone()
    return bool(found and found[0])


def waits_on_target(project: Project) -> bool:
    """Whether a session of the bridge waits for a lock there."""
    found = project.ask(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = %s"
        " AND wait_event_type = 'Lock' AND wait_event = 'relation')",
        project.accounts.name,
    )
    return bool(found[0][0])
