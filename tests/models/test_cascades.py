"""Cascades that the source's engine carried out and its log does not mention."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from tests.models.applier import BUILT
from tests.models.check import Model, Story, assert_goes_wrong, assert_right, require_state
from tests.models.histories import Workload, random_family, random_history
from tests.models.segments import Rules
from tests.models.stream import WHOLE, Commits, Stream
from tests.models.target import Target

RULE = "unlogged cascades"
WITH_BAD_ROWS = "unlogged cascades, unique indexes, quarantine and crashes"
BROKEN = {
    "not carried out": Rules(cascades="never"),
    "after coalescing, at the segment's end": Rules(cascades="last", closes_for_descendants=False),
    "event flags ignored": Rules(flags_heeded=False),
    "segment not closed for pending descendants": Rules(closes_for_descendants=False),
}

BROKEN_WITH_BAD_ROWS = {
    "cascades do not reach quarantine": (Rules(cascades_reach_quarantine=False), 0.15, WHOLE),
    "position committed after the rows": (BUILT, 0.15, Commits(position="after rows")),
    "segment not closed for pending descendants": (
        Rules(closes_for_descendants=False),
        0.15,
        WHOLE,
    ),
}


def model(rules: Rules, bad: float, commits: Commits) -> Model:
    """Families of related tables, streamed from a common position."""

    def run(rng: Random, story: Story) -> None:
        schema = random_family(rng)
        story.history = history = random_history(rng, schema, Workload(bad=bad))
        varied = replace(rules, segment_rows=rng.choice((1, 3, 1_000)))
        target = Target.holding(schema, history.states[0], 0)
        stream = Stream(history, rng, story, varied, commits)
        stream.run(target, history.end, lambda now, at: require_state(now, history, at))

    return run


def test_every_commit_is_a_source_state() -> None:
    """Cascades of several levels, SET NULL, ON UPDATE CASCADE, self-reference, shared keys."""
    assert_right(RULE, model(BUILT, 0.0, WHOLE), 3_000)


def test_with_unrepresentable_rows() -> None:
    """Cascades pass through rows that are in quarantine, and change them there."""
    assert_right(WITH_BAD_ROWS, model(BUILT, 0.15, WHOLE), 3_000)


@pytest.mark.parametrize("variant", BROKEN)
def test_broken(variant: str) -> None:
    """Each broken form loses a cascade or carries it out at the wrong moment."""
    assert_goes_wrong(RULE, variant, model(BROKEN[variant], 0.0, WHOLE), 1_000)


@pytest.mark.parametrize("variant", BROKEN_WITH_BAD_ROWS)
def test_broken_with_unrepresentable_rows(variant: str) -> None:
    """Quarantine does not stand aside from cascades, positions do not from rows."""
    assert_goes_wrong(WITH_BAD_ROWS, variant, model(*BROKEN_WITH_BAD_ROWS[variant]), 1_000)
