"""Tables that cascades connect: they share one frontier.

A cascade finds its rows in the target, not in the log, so the target has to hold all tables on the
cascade's way as they were at the event. One level is an exception, since the parent's rows are not
looked at: there a child may follow its parent's events by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from tests.models.check import Model, Story, assert_goes_wrong, assert_right, require_state
from tests.models.histories import Workload, random_family, random_history
from tests.models.segments import Scope
from tests.models.stream import Stream
from tests.models.target import Target

RULE = "one frontier for tables that cascades connect"
ONE_LEVEL = ("siblings", "two parents")
MORE_LEVELS = ("line", "shared key")
Scopes = Callable[[frozenset[str], frozenset[str]], Scope]


def by_the_parents_stream(mine: frozenset[str], every: frozenset[str]) -> Scope:
    """Whoever applies the parent's event carries the cascade out, wherever the child is."""
    return Scope(mine, mine, every)


def by_the_childs_stream(mine: frozenset[str], every: frozenset[str]) -> Scope:
    """Each stream sees all parents' events and carries cascades into its own tables only."""
    return Scope(mine, every, mine)


def not_across(mine: frozenset[str], every: frozenset[str]) -> Scope:
    """Cascades only among the tables of one stream."""
    return Scope(mine, mine, mine)


@dataclass(frozen=True)
class Apart:
    """Which tables lag behind the others, and how cascades between them are done."""

    shapes: tuple[str, ...]
    scopes: Scopes
    whole_family: bool = False


BROKEN = {
    "frontiers apart, no cascade across": Apart(ONE_LEVEL, not_across),
    "frontiers apart, by the parent's stream": Apart(ONE_LEVEL, by_the_parents_stream),
    "frontiers apart, by the child's stream, two levels": Apart(MORE_LEVELS, by_the_childs_stream),
}


def model(rules: Apart) -> Model:
    """Some tables stop at F while the others go on to M, catch up, and join."""

    def run(rng: Random, story: Story) -> None:
        schema = random_family(rng, rules.shapes)
        story.history = history = random_history(rng, schema, Workload(truncates=0.0))
        every = frozenset(schema.by_name)
        names = sorted(every)
        lagging = (
            every
            if rules.whole_family
            else frozenset(rng.sample(names, rng.randint(1, len(names) - 1)))
        )
        stopped = rng.randint(0, 4)
        joined = rng.randint(stopped, history.end)
        story.tell(sorted(lagging), "stop at", stopped, "join at", joined)

        def go(target: Target, tables: frozenset[str], until: int) -> Target:
            if not tables:
                return target
            scope = rules.scopes(tables, every)
            stream = Stream(history, rng, story, tables=sorted(tables), scope=scope)
            return stream.run(target, until, lambda now, at: None)

        target = go(Target.holding(schema, history.states[0], 0), every, stopped)
        target = go(target, every - lagging, joined)
        target = go(target, lagging, joined)
        require_state(target, history, joined)
        require_state(go(target, every, history.end), history, history.end)

    return run


def test_whole_family_lags() -> None:
    """Paused, resumed and caught up together."""
    shapes = (*ONE_LEVEL, *MORE_LEVELS, "tree")
    assert_right(RULE, model(Apart(shapes, not_across, whole_family=True)), 2_000)


def test_one_level_by_the_childs_own_stream() -> None:
    """A child may lag, or be ahead of, its parent if its own stream reads the parent's events."""
    rule = "one level of cascades, by the child's stream"
    assert_right(rule, model(Apart(ONE_LEVEL, by_the_childs_stream)), 3_000)


@pytest.mark.parametrize("variant", BROKEN)
def test_broken(variant: str) -> None:
    """A cascade meets rows of another position."""
    assert_goes_wrong(RULE, variant, model(BROKEN[variant]), 1_000)
