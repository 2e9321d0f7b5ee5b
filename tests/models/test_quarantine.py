"""Quarantine: a row that cannot be represented leaves the target, and returns when it can.

At each commit the target is the source without its bad rows, and quarantine holds exactly these.
"""

from __future__ import annotations

from random import Random

import pytest

from tests.models.check import Model, Story, assert_goes_wrong, assert_right, require_state
from tests.models.histories import TWO_UNIQUE, Workload, random_history
from tests.models.segments import Rules
from tests.models.stream import Stream
from tests.models.target import Target

RULE = "quarantine"
BROKEN = {
    "stale row stays": "stale row stays",
    "later changes follow into quarantine": "follow",
    "a delete does not supersede": "deletes forgotten",
    "key change leaves the old key's entry": "old key forgotten",
}


def model(how: str) -> Model:
    """Batches, key changes, truncations, unique indexes and crashes, with every fourth row bad."""

    def run(rng: Random, story: Story) -> None:
        workload = Workload(transactions=12, bad=0.25)
        story.history = history = random_history(rng, TWO_UNIQUE, workload)
        rules = Rules(segment_rows=rng.choice((1, 3, 1_000)), quarantine=how)
        target = Target.holding(TWO_UNIQUE, history.states[0], 0)
        stream = Stream(history, rng, story, rules)
        stream.run(target, history.end, lambda now, at: require_state(now, history, at))

    return run


def test_quarantine_is_exactly_the_bad_rows() -> None:
    """At every commit."""
    assert_right(RULE, model("supersede"), 3_000)


@pytest.mark.parametrize("variant", BROKEN)
def test_broken(variant: str) -> None:
    """Stale rows, healed rows kept out, or entries of rows that are gone."""
    assert_goes_wrong(RULE, variant, model(BROKEN[variant]), 1_000)
