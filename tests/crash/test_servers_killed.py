"""The source and the target die under a running daemon: it waits, says so, and goes on."""

from __future__ import annotations

import signal
from contextlib import closing
from dataclasses import replace
from time import monotonic, sleep

import pytest

from tests.crash.kills import PATIENCE, RATE, Victim, begin, epoch, process_state
from tests.crash.pair import Pair
from tests.endtoend.fixtures import NewProject
from tests.endtoend.project import Daemon
from tests.endtoend.traffic import Traffic

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

STANDS_AT = "copy.chunk-read:2"
"""A chunk of the large table is in, and another one has been begun."""
AGAIN_SECONDS = 2 * PATIENCE
"""In which all streams again: the longer a server was away, the rarer it is looked for."""


@pytest.fixture
def victim(pair: Pair, new_project: NewProject, seed: int) -> Victim:
    """A project between them, whose copy takes some seconds."""
    project = new_project(*pair.databases())
    victim = begin(project, seed, bulk=200_000)
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        # It is known to be the largest, which is copied first.
        cursor.execute("ANALYZE NO_WRITE_TO_BINLOG TABLE bulk")
    traffic = Traffic(project.source, seed, rate=RATE, survives=True)
    return replace(victim, traffic=traffic)


def interrupt(pair: Pair, victim: Victim, daemon: Daemon, which: str) -> None:
    """One server goes, the daemon says that it waits; the server comes back, and so does it.

    A daemon that stands still goes on once the server is gone.
    """
    before = epoch(victim.project)
    said = daemon.log.count("waiting")
    pair.kill(which)
    daemon.send(signal.SIGCONT)
    deadline = monotonic() + PATIENCE
    while daemon.log.count("waiting") == said:
        assert daemon.running, daemon.log
        assert monotonic() < deadline, daemon.log
        sleep(0.05)
    pair.revive(which)
    victim.project.wait_until(lambda: epoch(victim.project) > before, PATIENCE, daemon=daemon)


def syncing(victim: Victim) -> Daemon:
    """A daemon that stands still in the middle of the copy that it makes first."""
    return victim.project.background("sync", "--readers", "1", DBBRIDGE_STOP_AT=STANDS_AT)


def await_copy(victim: Victim, daemon: Daemon) -> None:
    """Waits until it is there."""
    stands = lambda: process_state(daemon.process.pid) == "T"  # noqa: E731
    victim.project.wait_until(stands, PATIENCE, daemon=daemon)
    assert copying(victim), daemon.log


def await_progress(victim: Victim, daemon: Daemon) -> None:
    """Waits until the main stream has moved."""
    project, query = victim.project, "SELECT position FROM dbbridge.pipeline"
    before = project.ask(query)
    project.wait_until(lambda: project.ask(query) != before, AGAIN_SECONDS, daemon=daemon)


def copying(victim: Victim) -> bool:
    """Whether chunks of the large table are in, and others are not."""
    (found,) = victim.project.ask(
        "SELECT count(*) FILTER (WHERE done), count(*) FILTER (WHERE NOT done)"
        " FROM dbbridge.chunks JOIN dbbridge.tables USING"
        " (pipeline, source_schema, source_table, generation)"
        " WHERE source_table = 'bulk' AND stage = 'copying'"
    )
    return bool(found[0] > 0 and found[1] > 0)


def test_the_daemon_outlives_its_servers(pair: Pair, victim: Victim) -> None:
    project = victim.project
    with victim.traffic:
        daemon = syncing(victim)
        await_copy(victim, daemon)
        interrupt(pair, victim, daemon, "source")
        project.wait_streaming(daemon, AGAIN_SECONDS)

        for which in ("target", "source"):
            interrupt(pair, victim, daemon, which)
            await_progress(victim, daemon)
        daemon.stop(PATIENCE)

        daemon = syncing(victim)
        project.run("tables", "resync", "bulk")
        await_copy(victim, daemon)
        interrupt(pair, victim, daemon, "target")
        project.wait_streaming(daemon, AGAIN_SECONDS)
        daemon.stop(PATIENCE)
        victim.judge()
