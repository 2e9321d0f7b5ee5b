"""Keyless tables: one snapshot at an exact position, streamed only after exactly it.

A source that tells positions inexactly still yields an exact snapshot: if the log holds nothing of
the tables between the snapshot's lower and upper bound, every position between them is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest

from tests.models.check import Model, Story, assert_goes_wrong, assert_right, require_state
from tests.models.chunks import lower_bound, upper_bound
from tests.models.histories import MIXED, Workload, random_history
from tests.models.segments import Rules
from tests.models.source import History
from tests.models.stream import WHOLE, Commits, Stream
from tests.models.target import Target

RULE = "keyless tables"
TABLES = ("b",)


@dataclass(frozen=True)
class Snapshot:
    """How the snapshot's position is found."""

    position: str = "exact"  # or "quiet bounds", "lower bound", "upper bound", "unchecked bounds"
    commits: Commits = WHOLE


BROKEN = {
    "streamed from an earlier P0": Snapshot("lower bound"),
    "streamed from an upper bound": Snapshot("upper bound"),
    "position committed after the rows": Snapshot(commits=Commits(position="after rows")),
    "position committed before the rows": Snapshot(commits=Commits(position="before rows")),
}


def model(rules: Snapshot) -> Model:
    """Multisets, with net counts of each row per segment."""

    def run(rng: Random, story: Story) -> None:
        story.history = history = random_history(
            rng, MIXED, Workload(transactions=12, truncates=0.01)
        )
        moment, position = snapshot(history, rng, rules.position)
        story.tell("snapshot of moment", moment, "taken for position", position)
        target = Target.holding(MIXED, history.states[moment], position)
        applied = Rules(segment_rows=rng.choice((1, 3, 1_000)))
        stream = Stream(history, rng, story, applied, rules.commits, TABLES)
        stream.run(target, history.end, lambda now, at: require_state(now, history, at, TABLES))

    return run


def snapshot(history: History, rng: Random, kind: str) -> tuple[int, int]:
    """The moment of a snapshot, and the position that it is taken for."""
    moment = rng.randint(0, 8)
    low, high = lower_bound(rng, moment), upper_bound(rng, moment, history.end)
    if kind == "exact":
        return moment, moment
    if kind == "quiet bounds":
        if touched(history, low, high, TABLES):
            return (
                snapshot(history, rng, kind) if rng.random() < 0.9 else (history.end, history.end)
            )
        return moment, rng.randint(low, high)
    return moment, low if kind == "lower bound" else high


def touched(history: History, low: int, high: int, tables: tuple[str, ...]) -> bool:
    """Whether the log holds anything of the tables in (low, high]."""
    return any(
        change.table in tables for _, changes in history.between(low, high) for change in changes
    )


@pytest.mark.parametrize("position", ["exact", "quiet bounds"])
def test_multisets_are_exact(position: str) -> None:
    """No row twice, none lost, at any commit."""
    assert_right(f"{RULE}, {position}", model(Snapshot(position)), 2_500)


@pytest.mark.parametrize("variant", BROKEN)
def test_broken(variant: str) -> None:
    """Rows are doubled or lost, or a delete finds none."""
    assert_goes_wrong(RULE, variant, model(BROKEN[variant]), 1_000)
