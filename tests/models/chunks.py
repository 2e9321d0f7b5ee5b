"""Key ranges of chunks, and the inexact positions that a source tells a reader."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import NamedTuple

from tests.models.schema import ID, Row, Value
from tests.models.source import Rows


class Bounds(NamedTuple):
    """Keys above `after`, up to and including `until`; None is open."""

    after: int | None
    until: int | None

    def hold(self, row: Row) -> bool:
        """Whether the row belongs to the chunk."""
        key = _key(row[ID])
        return (self.after is None or key > self.after) and (
            self.until is None or key <= self.until
        )


def plan_bounds(
    rng: Random, rows: Rows, open_started: bool = True, open_ended: bool = True
) -> list[Bounds]:
    """Two or three chunks over the keys there are when the copy is planned."""
    keys = sorted(_key(row[ID]) for row in rows.values()) or [0]
    cuts = sorted({rng.choice(keys) for _ in range(2)})
    edges = [None if open_started else keys[0] - 1, *cuts, None if open_ended else keys[-1]]
    return [Bounds(after, until) for after, until in pairwise(edges)]


def lower_bound(rng: Random, moment: int) -> int:
    """A position up to which everything is surely visible at the moment."""
    return max(0, moment - rng.choice((0, 0, 1, 2)))


def upper_bound(rng: Random, moment: int, end: int) -> int:
    """A position beyond which nothing is visible at the moment."""
    return min(end, moment + rng.choice((0, 0, 1, 2)))


def _key(value: Value) -> int:
    assert value is not None
    return value
