"""What a walk takes at a time: the rows between two keys, and the buckets that they fall into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bridge.mapping.plan import TablePlan
from bridge.names import quote_mysql, quote_postgres
from bridge.types.base import ColumnPlan
from bridge.types.target import target_of
from bridge.verify.recheck import Key
from bridge.verify.subject import whole_number
from bridge.verify.values import Totals

WHOLE_ROWS, WHOLE_BYTES = 2_000_000, 1 << 29
"""A table of up to so many rows and bytes (as the server estimates) is cut by the values of its
key."""
Ends = tuple[int, int]
"""The least and the greatest value of a key's first column."""


@dataclass(frozen=True, slots=True)
class Range:
    """Keys after `lower` up to and with `upper` (None: open).

    It falls into buckets of `width` values of the first column (0: it is one bucket), but with
    `coarse` it is compared as a whole all the same.
    """

    lower: Key | None
    upper: Key | None
    width: int = 0
    coarse: bool = False


@dataclass(frozen=True, slots=True)
class Summed:
    """A range with both sides' sums.

    With `ordered` False its bounds are not in the target's order, and nothing was read there; with
    `cancelled` the target's sum took too long, or somebody ended it, so that nothing is known.
    """

    range: Range
    source: Totals
    target: Totals
    ordered: bool = True
    cancelled: bool = False


def cut_by_values(plan: TablePlan) -> bool:
    """Whether the table is cut without a look at how many rows a range has.

    It is small, and its key begins with an integer.
    """
    small = plan.table.rows <= WHOLE_ROWS and plan.table.bytes <= WHOLE_BYTES
    return small and leading_integer(plan.key_columns) is not None


def leading_integer(key: tuple[ColumnPlan, ...]) -> ColumnPlan | None:
    """The key's first column if it is an integer on both sides."""
    return key[0] if key and whole_number(key[0]) else None


def values_between(lower: Key | None, upper: Key | None, ends: Ends) -> Ends:
    """The integers that keys between these two begin with."""
    low = int(lower[0]) if lower else ends[0]
    return low, int(upper[0]) if upper else max(ends[1], low)


def added(one: Totals, other: Totals) -> Totals:
    """The totals of all rows of two ranges that have none in common."""
    found = dict(one)
    for bucket, (rows, total) in other.items():
        before = found.get(bucket, (0, 0))
        found[bucket] = before[0] + rows, before[1] + total
    return found


def bucket_of(first: ColumnPlan | None, piece: Range, side: Literal["source", "target"]) -> str:
    """The number of a row's bucket; both servers cut towards zero."""
    if first is None or not piece.width or piece.coarse:
        return "0"
    if side == "source":
        return f"{quote_mysql(first.source.name)} DIV {piece.width}"
    name = quote_postgres(first.target_name)
    numeric = target_of(first).base == "numeric"
    return f"div({name},{piece.width})" if numeric else f"{name}/{piece.width}"
