"""The alternative to copy by frontier: chunks inserted beside the live stream, with tombstones.

It converges too, yet needs every kind of tombstone and one writer per table; copy by frontier
needs neither, which is why that was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest

from tests.models.applier import apply_batch
from tests.models.check import Model, Story, assert_goes_wrong, assert_right, require_state
from tests.models.chunks import Bounds, lower_bound, plan_bounds
from tests.models.histories import ONE_TABLE, Workload, random_history
from tests.models.schema import ID, Row
from tests.models.source import Change, History
from tests.models.target import Target

RULE = "chunks beside the stream, tombstones"
TABLE = "a"
ALL_KEYS = "all keys"


@dataclass(frozen=True)
class Tombstones:
    """Which tombstones the stream leaves, and whether chunks and stream exclude each other."""

    deletes: bool = True
    old_keys: bool = True
    truncations: bool = True
    unfound: bool = True
    one_writer: bool = True


BROKEN = {
    "no tombstones for deletes": Tombstones(deletes=False),
    "none for old keys of key changes": Tombstones(old_keys=False),
    "none for TRUNCATE": Tombstones(truncations=False),
    "none for deletes that found no row": Tombstones(unfound=False),
    "chunk and stream do not exclude each other": Tombstones(one_writer=False),
}


@dataclass
class Beside:
    """A stream and a copier that take turns at random."""

    history: History
    rng: Random
    story: Story
    rules: Tombstones
    target: Target
    chunks: list[Bounds]
    begun: int

    def run(self) -> Target:
        """Go on until all chunks are in and the log is at its end."""
        while self.chunks or self._frontier < self.history.end:
            if self.chunks and (self._frontier == self.history.end or self.rng.random() < 0.4):
                self._insert_chunk(self.chunks.pop())
            elif self._frontier < self.history.end:
                self._stream_batch()
        return self.target

    @property
    def _frontier(self) -> int:
        return self.target.frontiers[TABLE]

    def _insert_chunk(self, bounds: Bounds) -> None:
        """Read at a moment, let the stream go on, take the table, insert what is missing."""
        moment = self.rng.randint(self.begun, self.history.end)
        rows = [row for row in self.history.states[moment][TABLE].values() if bounds.hold(row)]
        self._stream_some()
        tombstones = set(self.target.tombstones)
        if not self.rules.one_writer:
            self._stream_some()
        self.story.tell(
            "chunk of moment", moment, rows, "at", self._frontier, "tombstones", tombstones
        )
        for row in rows:
            buried = ALL_KEYS in tombstones or row[ID] in tombstones
            if not buried and row[ID] not in self.target.tables[TABLE]:
                self.target.insert(TABLE, row)

    def _stream_some(self) -> None:
        for _ in range(self.rng.randint(0, 2)):
            if self._frontier < self.history.end:
                self._stream_batch()

    def _stream_batch(self) -> None:
        start = self._frontier
        end = min(self.history.end, start + self.rng.randint(1, 3))
        batch = self.history.between(start, end)
        present = set(self.target.tables[TABLE])
        apply_batch(self.target, batch)
        self.target.tombstones.update(self._tombstones([c for _, cs in batch for c in cs], present))
        self.target.frontiers[TABLE] = end
        self.story.tell("stream to", end, self.target.tables[TABLE])

    def _tombstones(self, changes: list[Change], present: set[object]) -> set[object]:
        if self.rules.truncations and any(change.truncates for change in changes):
            return {ALL_KEYS}
        gone: set[object] = {
            change.before[ID]
            for change in changes
            if change.before is not None and self._leaves(change.before, change.after)
        }
        # A row inserted and deleted within the batch was never there to be found.
        return gone if self.rules.unfound else gone & present

    def _leaves(self, before: Row, after: Row | None) -> bool:
        if after is None:
            return self.rules.deletes
        return self.rules.old_keys and after[ID] != before[ID]


def model(rules: Tombstones) -> Model:
    """At the end the target is the source."""

    def run(rng: Random, story: Story) -> None:
        story.history = history = random_history(rng, ONE_TABLE, Workload(transactions=12))
        planned = rng.randint(0, 2)
        begun = rng.randint(planned, 4)
        chunks = plan_bounds(rng, history.states[planned][TABLE])
        target = Target.empty(ONE_TABLE, lower_bound(rng, begun))
        Beside(history, rng, story, rules, target, chunks, begun).run()
        require_state(target, history, history.end)

    return run


def test_converges() -> None:
    """With all tombstones and one writer."""
    assert_right(RULE, model(Tombstones()), 3_000)


@pytest.mark.parametrize("variant", BROKEN)
def test_broken(variant: str) -> None:
    """A row that was deleted lives again."""
    assert_goes_wrong(RULE, variant, model(BROKEN[variant]), 1_000)
