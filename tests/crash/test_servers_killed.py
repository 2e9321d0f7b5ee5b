"""The source and the target die under a running daemon: it waits, says so, and goes on."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic, sleep

import pytest

from tests.crash.kills import PATIENCE, RATE, Victim, begin, epoch
from tests.crash.pair import Pair
from tests.endtoend.fixtures import NewProject
from tests.endtoend.project import Daemon
from tests.endtoend.traffic import Traffic

pytestmark = pytest.mark.crash


@pytest.fixture
def victim(pair: Pair, new_project: NewProject, seed: int) -> Victim:
    """A project between them, whose copy takes some seconds."""
    project = new_project(*pair.databases())
    victim = begin(project, seed, bulk=200_000)
    traffic = Traffic(project.source, seed, rate=RATE, survives=True)
    return replace(victim, traffic=traffic)


def interrupt(pair: Pair, victim: Victim, daemon: Daemon, which: str) -> None:
    """One server goes, the daemon says that it waits; the server comes back, and so does it."""
    before = epoch(victim.project)
    said = daemon.log.count("waiting")
    pair.kill(which)
    deadline = monotonic() + PATIENCE
    while daemon.log.count("waiting") == said:
        assert daemon.running, daemon.log
        assert monotonic() < deadline, daemon.log
        sleep(0.05)
    pair.revive(which)
    victim.project.wait_until(lambda: epoch(victim.project) > before, PATIENCE, daemon=daemon)


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
        daemon = project.sync("--readers", "1")
        project.wait_until(lambda: bool(project.stages()), PATIENCE, daemon=daemon)
        project.wait_until(lambda: copying(victim), PATIENCE, daemon=daemon)
        interrupt(pair, victim, daemon, "source")
        project.wait_streaming(daemon, PATIENCE)

        interrupt(pair, victim, daemon, "target")
        project.wait_streaming(daemon, PATIENCE)
        interrupt(pair, victim, daemon, "source")

        project.run("tables", "resync", "bulk")
        project.wait_until(lambda: copying(victim), PATIENCE, daemon=daemon)
        interrupt(pair, victim, daemon, "target")
        project.wait_streaming(daemon, PATIENCE)
        daemon.stop()
        victim.judge()
