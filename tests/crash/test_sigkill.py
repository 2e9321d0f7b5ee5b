"""The daemon dies at named points and at random moments while the source is written to.

Each time it starts again; in the end nothing is lost, doubled or altered.
"""

from __future__ import annotations

import os
import time

import pytest

from bridge.replicate.points import POINTS
from tests.crash.kills import PATIENCE, PHASES, RATE, Victim, begin, cut_connections, start
from tests.endtoend.project import Project
from tests.endtoend.traffic import Traffic

pytestmark = pytest.mark.crash

ON_THE_WAY = (
    ("copy.begun", 1),
    ("copy.planned-chunk", 3),
    ("copy.chunk-read", 2),
    ("copy.chunk-committed", 4),
    ("copy.table-done", 2),
    ("stream.read", 3),
    ("stream.apply", 1),
    ("stream.committed", 1),
    ("index.built", 3),
    ("join.before", 1),
    ("join.after", 1),
)
"""Every point of a first copy, in an order in which each is still ahead when its turn comes."""
STREAMING = (("stream.read", 20), ("stream.apply", 5), ("stream.committed", 7))
RANDOM_KILLS = 4
SOAK_KILLS = 100
"""The least that a soak makes on each source."""
SOAK_ROUND = 12
"""Kills between two comparisons."""
FAILED_ONCE: tuple[int, ...] = ()
"""Seeds that have found defects."""


@pytest.mark.parametrize("number", [None, *FAILED_ONCE])
def test_killed_at_every_point(project: Project, seed: int, number: int | None) -> None:
    victim = begin(project, seed if number is None else number)
    with victim.traffic:
        for point, count in ON_THE_WAY:
            victim.at_point(point, count)
        for point, count in STREAMING:
            victim.at_point(point, count)
        for _ in range(RANDOM_KILLS):
            victim.after(victim.chance.uniform(0.4, 1.6))
        victim.during_resync("slot", "copy.chunk-read")
        victim.at_point("swap.before", 1)
        victim.judge()


@pytest.mark.soak
def test_soak(project: Project, seed: int) -> None:
    """Rounds of kills, cut connections and copies anew, for half of the duration on each source.

    It goes on until `SOAK_KILLS` were made, at every point and in every phase.
    """
    end = time.monotonic() + float(os.environ["DBBRIDGE_SOAK_DURATION"]) / 2
    victim = begin(project, seed, bulk=120_000)
    number = 0
    while time.monotonic() < end or not _enough(victim):
        number += 1
        victim.traffic = Traffic(project.source, seed * 1000 + number, rate=RATE, large=True)
        with victim.traffic:
            for _ in range(SOAK_ROUND):
                victim.somewhere()
            _cut(victim)
            victim.judge()
        _copy_again(victim)


def _enough(victim: Victim) -> bool:
    kinds = (*POINTS, *(f"any moment, {phase}" for phase in PHASES[1:]))
    return victim.kills.total() >= SOAK_KILLS and all(victim.kills[kind] for kind in kinds)


def _cut(victim: Victim) -> None:
    """The daemon's sessions end under it; it waits and goes on."""
    project = victim.project
    daemon = start(project)
    for _ in range(3):
        cut_connections(project, victim.chance)
        time.sleep(victim.chance.uniform(0.1, 1.0))
    project.wait_streaming(daemon, PATIENCE)
    daemon.stop()


def _copy_again(victim: Victim) -> None:
    """Two tables, or all of them, go through the next round's copy."""
    project, chance = victim.project, victim.chance
    names = list(project.stages())
    daemon = start(project)
    project.wait_streaming(daemon, PATIENCE)
    project.run("tables", "resync", *(names if chance.random() < 0.3 else chance.sample(names, 2)))
    victim.kill(daemon)
