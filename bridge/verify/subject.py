"""One table as `verify` reads it: which columns count, and the SQL of either side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from bridge.mapping.plan import TablePlan
from bridge.names import TableName, bindable
from bridge.types.base import ColumnPlan, Family
from bridge.types.target import target_of
from bridge.verify.digest import Digest, family, row_digest
from bridge.verify.keys import Keys

Level = Literal["counts", "checksums", "values"]
"""What is compared: which rows there are; their hashes; and, where these differ, each column."""
_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
VERSION = "concat(tableoid,'.',xmin,'.',ctid)"
"""PostgreSQL expression: tells every version of every row from all others."""


@dataclass(frozen=True)
class Subject:
    """The table, its target relation, and the columns that are compared."""

    plan: TablePlan
    relation: TableName
    columns: tuple[ColumnPlan, ...]
    level: Level = "values"
    twice: bool = False
    """Two hashes are taken of each row, for a certificate."""

    @classmethod
    def of(
        cls, plan: TablePlan, relation: TableName, level: Level, *, twice: bool = False
    ) -> Subject:
        """All carried columns, or with `counts` those of the key."""
        columns = plan.key_columns if level == "counts" and plan.key else plan.columns
        return cls(plan, relation, columns, level, twice and level != "counts")

    def without(self, names: frozenset[str]) -> Subject:
        """The same without the columns of these source names; the key always stays."""
        kept = [
            column
            for place, column in enumerate(self.columns)
            if place < self.plan.key or column.source.name not in names
        ]
        return replace(self, columns=tuple(kept))

    @cached_property
    def keys(self) -> Keys:
        """The key on both sides."""
        return Keys(self.plan)

    @cached_property
    def hash(self) -> Digest:
        """The row hash; with `counts` every row of a keyed table hashes to 1."""
        if self.level == "counts" and self.plan.key:
            return Digest("1", "1::bigint")
        return row_digest(self.columns, twice=self.twice)

    @cached_property
    def glanced(self) -> bool:
        """Whether the rows of a range may be compared by one hash of all of them.

        Both servers have to read them in the same order, and nobody wants a sum of hashes.
        """
        by_rows = self.level != "counts" and not self.twice
        return by_rows and self.plan.key > 0 and all(map(whole_number, self.plan.key_columns))

    @cached_property
    def loose(self) -> tuple[ColumnPlan, ...]:
        """Columns of which two different texts can mean the same value (jsonb)."""
        return tuple(column for column in self.columns if _loose(column))

    @cached_property
    def strict_hash(self) -> Digest:
        """The hash over the columns that are not loose."""
        if not self.loose:
            return self.hash
        return row_digest([column for column in self.columns if column not in self.loose])

    @property
    def collations(self) -> tuple[str, ...]:
        """The target's key columns that hold text."""
        return tuple(c.target_name for c in self.plan.key_columns if target_of(c).is_text)

    def source(
        self,
        outputs: Sequence[str],
        conditions: Sequence[str] = (),
        tail: str = "",
        *,
        hint: str = "",
    ) -> str:
        """A SELECT over the rows of the source that are carried; `hint` names the index to use."""
        where = [*conditions, *([f"({self.plan.where})"] if self.plan.where else [])]
        return _select(outputs, f"{self.plan.source.mysql}{hint}", where, tail)

    def target(self, outputs: Sequence[str], conditions: Sequence[str] = (), tail: str = "") -> str:
        """A SELECT over the target, to be executed with bindings (even an empty list of them).

        `conditions` may hold placeholders; in all else a percent sign stands for itself.
        """
        literal = [bindable(output) for output in outputs]
        return _select(literal, bindable(self.relation.postgres), conditions, bindable(tail))


def whole_number(column: ColumnPlan) -> bool:
    """Whether the column is an integer on both sides."""
    target = target_of(column)
    whole = target.base in ("smallint", "integer", "bigint") or (
        target.base == "numeric" and bool(target.args) and not target.scale
    )
    return column.source.data_type in _INTEGERS and whole


def _select(outputs: Sequence[str], table: str, conditions: Sequence[str], tail: str) -> str:
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {','.join(outputs)} FROM {table}{where}{' ' if tail else ''}{tail}"


def _loose(column: ColumnPlan) -> bool:
    # A family that keeps the Protocol's `same` says that only equal texts are equal values.
    return type(family(column)).same is not Family.same and target_of(column).base == "jsonb"
