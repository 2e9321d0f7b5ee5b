"""Frontiers and handover: a paused table is caught up by a second stream, then joins the main one.

The second stream begins at the table's own frontier F and ends at exactly the main stream's
position M, at which the main stream holds meanwhile. Keyless tables tell gaps and doubles apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest

from tests.models.check import Model, Story, assert_goes_wrong, assert_right, require_state
from tests.models.histories import MIXED, Workload, random_history
from tests.models.source import History
from tests.models.stream import Stream
from tests.models.target import Target, Wrong

RULE = "frontiers and handover"


@dataclass(frozen=True)
class Handover:
    """How a table catches up and joins. The defaults are the rule as built."""

    main_held: bool = True
    joins_early: bool = False
    starts_at: str = "F"  # or "M"
    keeps_writing_until_idle: bool = False


BROKEN = {
    "main not held, joins where it had been": Handover(main_held=False),
    "main not held, writes the table before the second stream ends": Handover(
        main_held=False, joins_early=True
    ),
    "second stream starts at M": Handover(starts_at="M"),
    "second stream runs past M": Handover(keeps_writing_until_idle=True),
}


@dataclass
class Daemon:
    """The main stream with the set of tables in it; all else is in the target, and survives."""

    history: History
    rng: Random
    story: Story
    rules: Handover
    target: Target
    joined: set[str]

    def run(self) -> None:
        """Pause, resume and stream at random, then resume all and go to the end."""
        paused: set[str] = set()
        while self.main < self.history.end:
            choice = self.rng.random()
            if choice < 0.2 and len(self.joined) > 1:
                name = self.rng.choice(sorted(self.joined))
                self.joined.discard(name)
                paused.add(name)
                self.story.tell("pause", name, "at", self.main)
            elif choice < 0.4 and paused:
                self._resume(paused)
            elif choice < 0.5:
                self._restart(paused)
            else:
                self._step(self.joined, self.history.end)
        while paused:
            self._resume(paused)
        require_state(self.target, self.history, self.history.end)

    @property
    def main(self) -> int:
        """The main stream's position."""
        return max(self.target.frontiers[name] for name in self.joined)

    def _restart(self, paused: set[str]) -> None:
        """After a crash the frontiers say who is where: whoever is not at M lags."""
        position = max(self.target.frontiers.values())
        self.joined = {name for name, at in self.target.frontiers.items() if at == position}
        self.joined -= paused
        if not self.joined:
            self.joined = {name for name, at in self.target.frontiers.items() if at == position}
            paused -= self.joined
        self.story.tell("restart, in the main stream:", sorted(self.joined))

    def _resume(self, paused: set[str]) -> None:
        """Catch up all paused tables of one frontier, and let them join."""
        frontier = min(self.target.frontiers[name] for name in paused)
        tables = {name for name in paused if self.target.frontiers[name] == frontier}
        paused -= tables
        goal = self.main
        self.story.tell("resume", sorted(tables), "from", frontier, "to", goal)
        if self.rules.starts_at == "M":
            self._move(tables, goal)
        if self.rules.keeps_writing_until_idle:
            goal = min(self.history.end, goal + self.rng.randint(0, 2))
        while self._frontier(tables) < goal:
            self._step(tables, goal)
            if not self.rules.main_held and self.rng.random() < 0.5:
                self._main_goes_on(tables)
        self._move(tables, self.main)
        self.joined |= tables

    def _main_goes_on(self, tables: set[str]) -> None:
        if self.main == self.history.end:
            return
        if not self.rules.joins_early:
            self._step(self.joined, self.history.end)
            return
        behind = self._frontier(tables)
        self._move(tables, self.main)
        self._step(self.joined | tables, self.history.end)
        self._move(tables, behind)

    def _step(self, tables: set[str], until: int) -> None:
        if tables and self._frontier(tables) < until:
            stream = Stream(self.history, self.rng, self.story, tables=sorted(tables))
            self.target = stream.step(self.target, until, lambda now, at: None)

    def _frontier(self, tables: set[str]) -> int:
        positions = {self.target.frontiers[name] for name in tables}
        if len(positions) != 1:
            raise Wrong(f"{sorted(tables)} in one stream at {positions}")
        return positions.pop()

    def _move(self, tables: set[str], position: int) -> None:
        self.target.frontiers.update(dict.fromkeys(tables, position))


def model(rules: Handover) -> Model:
    """Three tables, one of them keyless, one with a unique index."""

    def run(rng: Random, story: Story) -> None:
        story.history = history = random_history(rng, MIXED, Workload(transactions=14))
        target = Target.holding(MIXED, history.states[0], 0)
        Daemon(history, rng, story, rules, target, set(MIXED.by_name)).run()

    return run


def test_tables_join_without_gap_or_double() -> None:
    """Through pauses, resumptions and restarts."""
    assert_right(RULE, model(Handover()), 2_500)


@pytest.mark.parametrize("variant", BROKEN)
def test_broken(variant: str) -> None:
    """Changes are lost or applied twice."""
    assert_goes_wrong(RULE, variant, model(BROKEN[variant]), 1_000)
