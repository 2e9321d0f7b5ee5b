"""The lease: each target transaction moves the position only where the epoch is still its own.

Daemons stop anywhere and wake up again. The row lock on the pipeline's row is modelled: an UPDATE
waits for the transaction that wrote the row before, and then sees what that one committed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from tests.models.check import Model, Story, assert_goes_wrong, assert_right
from tests.models.target import Wrong

RULE = "lease"
END = 8


@dataclass
class Pipeline:
    """The target: the pipeline's row, its lock, and the source transactions applied, in order."""

    epoch: int = 0
    position: int = 0
    applied: list[int] = field(default_factory=list)
    locked_by: int | None = None


@dataclass(frozen=True)
class LeaseRules:
    """What a transaction and a takeover do, and in which order."""

    epoch_checked: str = "in the transaction"  # or "before it", "never"
    takeover_reads: str = "after its epoch"  # or "before its epoch"
    position_read: str = "at takeover"  # or "kept from memory"


BROKEN = {
    "epoch checked in a transaction before": LeaseRules(epoch_checked="before it"),
    "epoch never checked": LeaseRules(epoch_checked="never"),
    "takeover reads the position before it sets its epoch": LeaseRules(
        takeover_reads="before its epoch"
    ),
    "position kept from memory": LeaseRules(position_read="kept from memory"),
}


@dataclass
class Daemon:
    """One daemon as a sequence of steps; between two of them it may sleep for any time."""

    number: int
    pipeline: Pipeline
    rules: LeaseRules
    rng: Random
    epoch: int = -1
    position: int = 0
    batch: list[int] = field(default_factory=list)
    next_step: Callable[[], str] = field(init=False)

    def __post_init__(self) -> None:
        self.next_step = self._take_over

    def step(self) -> str:
        """Do one thing; tell what."""
        return self.next_step()

    def die(self) -> str:
        """The connection is gone: roll back, and be started again."""
        self._unlock()
        self.next_step = self._take_over
        return "died"

    def _take_over(self) -> str:
        if self.rules.takeover_reads == "before its epoch" and self.next_step == self._take_over:
            self._read_position()
            self.next_step = self._set_epoch
            return f"read position {self.position}"
        return self._set_epoch()

    def _set_epoch(self) -> str:
        """UPDATE … SET epoch = epoch + 1 RETURNING epoch, position: waits for the row's lock."""
        if self.pipeline.locked_by is not None:
            return "waits to take over"
        self.pipeline.epoch += 1
        self.epoch = self.pipeline.epoch
        if self.rules.takeover_reads == "after its epoch":
            self._read_position()
        self.next_step = self._begin
        return f"took epoch {self.epoch} at {self.position}"

    def _read_position(self) -> None:
        if self.rules.position_read == "at takeover" or self.epoch < 0:
            self.position = self.pipeline.position

    def _begin(self) -> str:
        """Read the log and write the rows, unseen by others until the commit."""
        if self.rules.epoch_checked == "before it" and self.pipeline.epoch != self.epoch:
            return self._stand_down()
        if self.position >= END:
            return "idle"
        until = min(END, self.position + self.rng.randint(1, 3))
        self.batch = list(range(self.position + 1, until + 1))
        self.next_step = self._move_position
        return f"wrote rows of {self.batch}"

    def _move_position(self) -> str:
        """UPDATE … SET position WHERE epoch = mine: waits for the lock, then looks again."""
        if self.pipeline.locked_by is not None:
            return "waits for the row"
        if self.rules.epoch_checked == "in the transaction" and self.pipeline.epoch != self.epoch:
            return self._stand_down()
        self.pipeline.locked_by = self.number
        self.next_step = self._commit
        return "moved the position"

    def _commit(self) -> str:
        self.pipeline.applied += self.batch
        self.pipeline.position = self.position = self.batch[-1]
        self._unlock()
        self.next_step = self._begin
        return f"committed {self.batch}"

    def _stand_down(self) -> str:
        self.next_step = self._take_over
        return "lost the lease, rolled back"

    def _unlock(self) -> None:
        if self.pipeline.locked_by == self.number:
            self.pipeline.locked_by = None


def model(rules: LeaseRules) -> Model:
    """Two or three daemons that step, sleep and die at random."""

    def run(rng: Random, story: Story) -> None:
        pipeline = Pipeline()
        daemons = [Daemon(number, pipeline, rules, rng) for number in range(rng.choice((2, 2, 3)))]
        awake = rng.choice(daemons)
        for _ in range(60):
            if rng.random() < 0.3:
                awake = rng.choice(daemons)
            did = awake.die() if rng.random() < 0.03 else awake.step()
            story.tell("daemon", awake.number, did)
            if pipeline.applied != list(range(1, len(pipeline.applied) + 1)):
                raise Wrong(f"applied in this order: {pipeline.applied}")
            if pipeline.position != len(pipeline.applied):
                raise Wrong(f"position {pipeline.position}, applied {pipeline.applied}")

    return run


def test_each_transaction_is_applied_once() -> None:
    """Whoever sleeps, wakes, dies or takes over, and whenever."""
    assert_right(RULE, model(LeaseRules()), 10_000)


@pytest.mark.parametrize("variant", BROKEN)
def test_broken(variant: str) -> None:
    """A stale daemon commits, or begins where another has been."""
    assert_goes_wrong(RULE, variant, model(BROKEN[variant]), 1_000)
