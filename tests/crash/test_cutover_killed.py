"""Authority goes there and back under load while everybody dies, and nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from statistics import median

import pytest

from bridge.cutover.points import POINTS, UNDO_POINTS
from bridge.cutover.transitions import TABLE
from tests.crash.cutover_storm import Storm, prepare
from tests.endtoend.dual import drop_application
from tests.endtoend.project import Project

pytestmark = pytest.mark.crash

SHORT = 10
_MOVES = "DBBRIDGE_SOAK_MOVES"
SOAK, PAUSES = int(os.environ.get(_MOVES, "200")), int(os.environ.get(_MOVES, "20"))
_STEPS = [
    state
    for state, place in TABLE.items()
    if not place.resting and "aborting" not in state and state not in ("completing", "disarming")
]
NAMED = (
    *POINTS,
    *UNDO_POINTS,
    *(f"{state}.entered" for state in _STEPS),
    *(f"{state}.done" for state in _STEPS),
    "armed.entered",
    "target-primary.entered",
    "aborting.done",
    "reverse-aborting.done",
    "disarming.done",
)
"""All at which an operator may be killed."""
FROZEN = ("fencing.fenced", "draining.marked", "sequencing.installed", "flipping.told",
          "reverse-fencing.closed", "reverse-draining.ended", "reverse-sequencing.removed",
          "reverse-flipping.marked")  # fmt: skip
RANDOM = ("any_moment", "any_moment", "undisturbed", "stream", "instance", "proxy")


@pytest.fixture
def storm(project: Project, seed: int) -> Iterator[Storm]:
    prepare(project)
    made = Storm(project, seed)
    try:
        yield made
    finally:
        made.close()
        drop_application(project)


class Deck:
    """Which attempt comes next; each point once before any comes again."""

    def __init__(self, storm: Storm) -> None:
        self.storm = storm
        self.named = self._shuffled(NAMED)
        self.frozen = self._shuffled(FROZEN)
        self.others: list[str] = []

    def _shuffled(self, names: tuple[str, ...]) -> list[str]:
        return self.storm.chance.sample(names, len(names))

    def draw(self) -> tuple[str, Callable[[], None]]:
        """A name, and what is to be done."""
        storm, chance = self.storm, self.storm.chance.random()
        point = self._fit(self.named, NAMED) if chance < 0.6 else ""
        if point:
            return point, lambda: storm.at_point(point)
        point = self._fit(self.frozen, FROZEN) if chance < 0.75 else ""
        if point:
            return f"frozen at {point}", lambda: storm.frozen(point)
        self.others = self.others or self._shuffled(RANDOM)
        kind = self.others.pop()
        return kind, getattr(storm, kind)

    def _fit(self, left: list[str], all_: tuple[str, ...]) -> str:
        """The first that is met on the way from where authority is."""
        if not left:
            left += self._shuffled(all_)
        back = self.storm.side == "target"
        fitting = [p for p in left if p.startswith("reverse-") == back or p == "armed.entered"]
        fitting = [p for p in fitting if p != "armed.entered" or back]
        if not fitting:
            return ""
        left.remove(fitting[0])
        return fitting[0]


def rage(storm: Storm, moves: int) -> None:
    """So many attempts."""
    storm.begin()
    deck = Deck(storm)
    for number in range(moves):
        kind, act = deck.draw()
        print(number, end=" ")
        storm.strike(kind, act)
    storm.end()
    acknowledged = sum(map(len, storm.writers.acknowledged.values()))
    print(
        f"{moves} attempts, authority moved {storm.moved} times, {acknowledged} acknowledged,"
        f" through again after {median(storm.through):.2f} s ({max(storm.through):.2f} s at most);"
        f" {storm.watch.looks} looks at the rows; {dict(storm.done)}; refused:"
        f" {dict(storm.writers.refused)}"
    )


@pytest.mark.timeout(900)
def test_killed_anywhere(storm: Storm) -> None:
    rage(storm, SHORT)


@pytest.mark.soak
def test_soak(storm: Storm) -> None:
    rage(storm, SOAK)


@pytest.mark.soak
def test_pause(project: Project, seed: int) -> None:
    """What writers see of moves that nobody disturbs."""
    prepare(project)
    storm = Storm(project, seed, rest=0.0)
    try:
        storm.begin()
        found = []
        for _ in range(PAUSES):
            found.append(storm.measure())
            print(found[-1], flush=True)
        storm.end()
    finally:
        storm.close()
        drop_application(project)
    seen = sorted(gap for each in found for gap in each.seen)
    print(
        f"writers waited {median(seen):.2f} s, the 99th percentile"
        f" {seen[int(0.99 * len(seen))]:.2f} s;"
        f" told {median(p.told for p in found):.2f} s, predicted"
        f" {median(p.predicted for p in found):.2f} s, {median(p.rate for p in found):.0f}/s"
    )
