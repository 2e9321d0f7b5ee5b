"""Dual writes: the stream claims each operation before its rows, and repairs all that came early.

What a history has: operations of the layer, and writers that pass it by; the write that follows
each operation into the target, late, twice, dead halfway or never, alone or with others in one
transaction, with rows of the source or of a replica, between all steps of the stream and of the
others; crashes, pruning, changes of mode, copies, and the switch. At the end the target is the
source, or, after the switch, what it was then and what was written to it since.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.models.check import assert_right
from tests.models.dualwrite import operators
from tests.models.dualwrite.model import COMPANY, dual_writes
from tests.models.dualwrite.rules import BUILT, Rules
from tests.models.dualwrite.source import Workload

UNIQUE = Workload(bad=0.05, lost=0, operations=0.7, unchanged=0.3, handovers=0.5)
PLAIN = Workload(bad=0, lost=0)


def test_the_target_becomes_the_source() -> None:
    """A little of everything."""
    assert_right("dual writes", dual_writes(BUILT, Workload()), 90_000)


def test_unique_values_find_their_rows() -> None:
    """Rows that are ahead of the stream hold what others have to hold first."""
    company = (("crash", operators.crash, 0.3), ("pruning", operators.prune, 0.7))
    assert_right("dual writes, unique values", dual_writes(BUILT, UNIQUE, company), 70_000)


def test_operators_may_come_between() -> None:
    """Long histories with crashes, lost commits, changes of mode, copies, stops and switches."""
    company = tuple((name, comes, min(1, 2 * chance)) for name, comes, chance in COMPANY)
    workload = Workload(commits=8, lost=0.1)
    assert_right("dual writes, interruptions", dual_writes(BUILT, workload, company), 40_000)


def test_nothing_is_lost_if_only_the_target_refuses() -> None:
    """Two values are the same to the target's unique index: each row is there, or in quarantine."""
    rules = Rules(coarse=True, exact=False)
    assert_right("dual writes, coarser unique index", dual_writes(rules, UNIQUE), 10_000)


ALONE = {
    "changed columns": Rules(full_images=False),
    "version >": Rules(versions=">"),
    "version >=": Rules(versions=">="),
    "coarser unique index": Rules(coarse=True),
}


@pytest.mark.parametrize("name", ALONE)
def test_the_stream_alone_is_right(name: str) -> None:
    """What these forms do wrong with dual writes is not the stream's fault."""
    alone = replace(ALONE[name], authority="nobody", exact=False)
    assert_right(f"no dual writes, {name}", dual_writes(alone, PLAIN), 1_000)
