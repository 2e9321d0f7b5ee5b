"""Batches: whole source transactions, coalesced by key, beside a secondary unique index."""

from __future__ import annotations

from random import Random

import pytest

from tests.models.applier import BUILT
from tests.models.check import Model, Story, assert_goes_wrong, assert_right, require_state
from tests.models.histories import TWO_UNIQUE, Workload, random_history
from tests.models.segments import Rules
from tests.models.stream import WHOLE, Commits, Stream
from tests.models.target import Target

RULE = "batches and unique indexes"
BROKEN = {
    "only upserts, no eviction": (Rules(evicts=False), WHOLE),
    "batch ends inside a source transaction": (BUILT, Commits(whole_transactions=False)),
    "position committed before the rows": (BUILT, Commits(position="before rows")),
}


def model(rules: Rules, commits: Commits) -> Model:
    """Every committed state of the target is a state of the source."""

    def run(rng: Random, story: Story) -> None:
        story.history = history = random_history(rng, TWO_UNIQUE, Workload())
        varied = Rules(segment_rows=rng.choice((1, 2, 4, 1_000)), evicts=rules.evicts)
        target = Target.holding(TWO_UNIQUE, history.states[0], 0)
        stream = Stream(history, rng, story, varied, commits)
        stream.run(target, history.end, lambda now, at: require_state(now, history, at))

    return run


def test_every_commit_is_a_source_state() -> None:
    """Whatever the batches, segments and crashes."""
    assert_right(RULE, model(BUILT, WHOLE), 3_000)


@pytest.mark.parametrize("variant", BROKEN)
def test_broken(variant: str) -> None:
    """Each broken form blocks or shows a torn state."""
    assert_goes_wrong(RULE, variant, model(*BROKEN[variant]), 1_000)
