"""Copying tables that unlogged cascades connect: one snapshot at an exact position.

Copy by frontier applies the log to rows that are newer than it, and heals whatever that does to
them by later images. A row that a cascade touched has no later image. So

* a referenced id that changes (ON UPDATE CASCADE) loses children that the copy saw after
  the change;
* with two levels a cascade's way leads over rows that the copy saw too early or too late.

One level of ON DELETE alone does converge: a child that points at the deleted parent at a later
moment was written, hence logged, in between.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import pytest

from tests.models.check import Model, Story, assert_goes_wrong, assert_right, require_state
from tests.models.chunks import lower_bound, upper_bound
from tests.models.histories import Workload, random_family, random_history
from tests.models.schema import ID, Action, Schema, Table
from tests.models.source import History, Mode
from tests.models.stream import Stream
from tests.models.target import Target

RULE = "copy of tables that unlogged cascades connect"
ONE_LEVEL = ("siblings", "two parents")
DEEP = ("keyed line", "shared key", "tree")
DELETES = (Action.RESTRICT,)
UNRELATED = "z"
UPDATES = (Action.CASCADE, Action.SET_NULL)


@dataclass(frozen=True)
class FamilyCopy:
    """Which families, and at which moments their rows are read."""

    shapes: tuple[str, ...]
    on_update: tuple[Action, ...]
    reads: str = (
        "any moments"  # or "quiet snapshot", "inexact snapshot", "parents first", "checked"
    )


BROKEN = {
    "chunks, ON UPDATE CASCADE, one level": FamilyCopy(ONE_LEVEL, (Action.CASCADE,)),
    "chunks, ON DELETE, more levels": FamilyCopy(DEEP, DELETES),
    "chunks, parents before children": FamilyCopy(
        ("keyed line", "shared key"), DELETES, "parents first"
    ),
    "one snapshot, at an inexact position": FamilyCopy(
        (*ONE_LEVEL, *DEEP), UPDATES, "inexact snapshot"
    ),
}


def model(rules: FamilyCopy) -> Model:
    """A copy of the family, then its one stream."""

    def run(rng: Random, story: Story) -> None:
        family = random_family(rng, rules.shapes, rules.on_update)
        schema = replace(family, tables=(*family.tables, Table(UNRELATED)))
        workload = Workload(
            transactions=12,
            statements=2,
            key_changes=0.3,
            parents=5,
            bad=0.1,
            truncates=0.02,
        )
        story.history = history = random_history(rng, schema, workload)
        names = [table.name for table in family.tables]
        target, end = _copy(history, rng, story, rules.reads)

        def check(now: Target, at: int) -> None:
            if at >= end:
                require_state(now, history, at, names)

        stream = Stream(history, rng, story)
        check(target, stream.frontier(target))
        target = stream.run(target, end, check)
        for table in family.tables:
            if table.unique:
                target.build_index(table.name)
        check(stream.run(target, history.end, check), history.end)

    return run


def _copy(history: History, rng: Random, story: Story, reads: str) -> tuple[Target, int]:
    """The filled target and the position from which it must be right."""
    if reads == "quiet snapshot":
        return _quiet_snapshot(history, rng)
    begun = rng.randint(0, 4)
    start = lower_bound(rng, begun)
    moments = _moments(history.schema, rng, reads, begun, rng.randint(begun, history.end))
    story.tell("from P0", start, "read at", moments)
    target = Target.empty(history.schema, start)
    for table, by_half in moments.items():
        for half, moment in enumerate(by_half):
            rows = history.states[moment][table].values()
            target.copy_in(table, [row for row in rows if (row[ID] or 0) % 2 == half])
    end = upper_bound(rng, max(map(max, moments.values())), history.end)
    if reads == "checked" and _misleading(history, start, end):
        return _quiet_snapshot(history, rng)
    return target, end


def _misleading(history: History, start: int, end: int) -> bool:
    """Whether a cascade in (start, end] changed an id that children hold, or went two levels."""
    schema = history.schema
    for change in (change for _, changes in history.between(start, end) for change in changes):
        if change.before is None or change.mode is not Mode.ENGINE:
            continue
        deleted = change.after is None
        deep = any(schema.referencing[fk.child] for fk in schema.referencing[change.table])
        moved = change.after is not None and change.after[ID] != change.before[ID]
        if (deleted and deep) or (moved and schema.referencing[change.table]):
            return True
    return False


def _quiet_snapshot(history: History, rng: Random) -> tuple[Target, int]:
    """A snapshot between whose bounds the log holds nothing, or one taken when all is quiet."""
    for _ in range(10):
        moment = rng.randint(0, 8)
        low, high = lower_bound(rng, moment), upper_bound(rng, moment, history.end)
        if all(change.table == UNRELATED for _, cs in history.between(low, high) for change in cs):
            break
    else:
        moment = low = history.end
    return Target.holding(history.schema, history.states[moment], low), low


def _moments(
    schema: Schema, rng: Random, reads: str, begun: int, ended: int
) -> dict[str, tuple[int, int]]:
    """For each table the moments at which its two chunks are read."""
    names = list(schema.by_name)
    if reads == "inexact snapshot":
        moment = rng.randint(begun, min(ended, begun + 4))
        return dict.fromkeys(names, (moment, moment))
    drawn = [rng.randint(begun, ended) for _ in range(2 * len(names))]
    if reads == "parents first":
        drawn.sort()
    return {name: (drawn[2 * n], drawn[2 * n + 1]) for n, name in enumerate(names)}


def test_snapshot_at_an_exact_position() -> None:
    """All of the family in one snapshot between whose bounds nothing of it happened."""
    updates = (*UPDATES, *DELETES)
    assert_right(
        f"{RULE}, exact", model(FamilyCopy((*ONE_LEVEL, *DEEP), updates, "quiet snapshot")), 2_500
    )


def test_one_level_of_on_delete_by_frontier() -> None:
    """Chunks of any moments, one frontier for parents and children."""
    assert_right(f"{RULE}, one level of ON DELETE", model(FamilyCopy(ONE_LEVEL, DELETES)), 3_000)


def test_one_level_of_on_update_set_null_by_frontier() -> None:
    """No child comes to point at another id unlogged, so later images heal all."""
    copy = FamilyCopy(("siblings",), (Action.SET_NULL,))
    assert_right(f"{RULE}, one level of ON UPDATE SET NULL", model(copy), 2_000)


def test_by_frontier_unless_a_cascade_misleads() -> None:
    """Chunks of any moments do if the log up to Pe holds no cascade of the two harmful kinds."""
    copy = FamilyCopy((*ONE_LEVEL, *DEEP), (*UPDATES, *DELETES), "checked")
    assert_right(f"{RULE}, by frontier, repeated after a harmful cascade", model(copy), 3_000)


@pytest.mark.parametrize("variant", BROKEN)
def test_broken(variant: str) -> None:
    """A child is lost, or stays although its parent's parent went."""
    assert_goes_wrong(RULE, variant, model(BROKEN[variant]), 3_000)
