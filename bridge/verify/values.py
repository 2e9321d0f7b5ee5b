"""What is read of a table: sums over ranges, hashes and values of rows, and what is equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from bridge.types.base import ColumnPlan
from bridge.verify.digest import SECOND_BITS, family
from bridge.verify.recheck import Key, Value

T = TypeVar("T")

KEYS_A_QUERY = 500
KEYS_OF_AT_ONCE = 5_000
LOOSE_KEYS_A_QUERY = 50
"""Where whole documents are fetched with the rows."""
LONGEST_SECONDS = 3600.0
"""A statement may take an hour; a shorter limit of the server does not hold here."""

Totals = dict[int, tuple[int, int]]
"""By bucket: number of rows, sum of hashes."""


class Glance(NamedTuple):
    """All rows of a range: how many, and one hash over them in the order of their key."""

    rows: int
    hash: str | None
    """None where the server could not build the text that is hashed; equal to nothing."""

    @property
    def short(self) -> int:
        """Its first 60 bits, as of a row's hash."""
        return int(self.hash[:15], 16) if self.hash else 0

    def agrees(self, other: Glance) -> bool:
        """Whether both are of the same rows. A different order makes equal rows look different."""
        return self == other and (self.hash is not None or not self.rows)


class LooseRow:
    """A row with values that may be equal though their texts differ; equal if they are.

    `whole` is the hash over all columns, documents included.
    """

    __slots__ = ("_columns", "_texts", "rest", "whole")

    def __init__(
        self,
        rest: int,
        whole: int,
        texts: tuple[bytes | None, ...],
        columns: tuple[ColumnPlan, ...],
    ) -> None:
        self.rest = rest
        self.whole = whole
        self._texts = texts
        self._columns = columns

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LooseRow) or self.rest != other.rest:
            return False
        pairs = zip(self._columns, self._texts, other._texts, strict=True)
        return all(_same(column, mine, theirs) for column, mine, theirs in pairs)

    def __hash__(self) -> int:
        return hash(self.rest)


def _same(column: ColumnPlan, mine: bytes | None, theirs: bytes | None) -> bool:
    if mine is None or theirs is None:
        return mine is theirs
    return mine == theirs or family(column).same(column, mine, theirs)


def whole_hash(value: Value) -> int:
    """The row hash over all columns."""
    if isinstance(value, LooseRow):
        return value.whole
    assert isinstance(value, int)
    return value


def joined(hashes: Sequence[Any]) -> int:
    """One or two hashes (or sums of them) as one integer."""
    first, *second = map(int, hashes)
    return first + (second[0] << SECOND_BITS) if second else first


def parts(keys: Sequence[T], size: int) -> list[Sequence[T]]:
    """The keys in pieces of at most `size`."""
    return [keys[at : at + size] for at in range(0, len(keys), size)]


def value_of_row(parts: Sequence[Any], loose: tuple[ColumnPlan, ...]) -> Value:
    """Its hashes, and behind them the texts of its `loose` columns, as what is compared."""
    if not loose:
        return joined(parts)
    rest, *whole = parts[: -len(loose)]
    texts = parts[-len(loose) :]
    documents = tuple(text.encode() if isinstance(text, str) else text for text in texts)
    return LooseRow(int(rest), joined(whole), documents, loose)


def key_of_row(row: Sequence[str | bytes]) -> Key:
    """The key's texts, however they were sent."""
    return tuple(text.decode() if isinstance(text, bytes) else text for text in row)
