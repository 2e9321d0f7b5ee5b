"""Keys as texts that are the same on both servers, and conditions that find them on either.

A key found on one side is looked up on the other by constants of the column's own type, so that
indexes serve; what the server then returns is compared by its text, since MySQL finds 'abc' where
'ABC' was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bridge.mapping.plan import TablePlan
from bridge.names import bindable
from bridge.types.base import ColumnPlan
from bridge.verify.digest import target_name
from bridge.verify.keycolumn import KeyColumn
from bridge.verify.recheck import Key


@dataclass(frozen=True)
class Keys:
    """The key of one table on both sides."""

    plan: TablePlan
    over: tuple[ColumnPlan, ...] | None = None
    """The columns; None: those of the table's key."""

    @cached_property
    def columns(self) -> tuple[KeyColumn, ...]:
        """Its columns."""
        return tuple(map(KeyColumn, self.plan.key_columns if self.over is None else self.over))

    @property
    def ordered(self) -> bool:
        """Whether both sides can be read in ranges of this key."""
        return bool(self.plan.key) and all(column.ordered for column in self.columns)

    # -- MySQL -------------------------------------------------------------------------------

    @cached_property
    def source(self) -> tuple[str, ...]:
        """MySQL expressions of the key's texts."""
        return tuple(column.source for column in self.columns)

    def source_condition(self, keys: Sequence[Key]) -> str:
        """MySQL condition that holds for the rows of these keys, and perhaps for some others.

        Written without row constructors, which MySQL 5.6 does not use an index for. '' if none of
        the keys can exist in the source.
        """
        names = [column.compared for column in self.columns]
        rows = [
            [column.literal(text) for column, text in zip(self.columns, key, strict=True)]
            for key in keys
        ]
        possible = [row for row in rows if all(row)]
        if not possible:
            return ""
        if len(names) == 1:
            return f"{names[0]} IN ({','.join(row[0] for row in possible)})"
        conditions = [
            " AND ".join(f"{name}={text}" for name, text in zip(names, row, strict=True))
            for row in possible
        ]
        return f"(({') OR ('.join(conditions)}))"

    def source_order(self) -> tuple[str, ...]:
        """What MySQL orders and compares by."""
        return tuple(column.sorted_by for column in self.columns)

    def source_range(self, lower: Key | None, upper: Key | None) -> list[str]:
        """MySQL conditions: keys after `lower` up to and with `upper`; None: no bound.

        Columns in which both bounds agree become equalities, so that the range is as narrow for
        the optimizer as it is.
        """
        names = self.source_order()
        low, high = self._bound(lower), self._bound(upper)
        same = 0
        if low and high:
            while same < len(names) - 1 and low[same] == high[same]:
                same += 1
        found = [f"{names[place]}={low[place]}" for place in range(same)]
        if low:
            found.append(_beyond(names[same:], low[same:], ">", ">"))
        if high:
            found.append(_beyond(names[same:], high[same:], "<", "<="))
        return found

    def _bound(self, key: Key | None) -> tuple[str, ...]:
        pairs = zip(self.columns, key or (), strict=key is not None)
        return tuple(column.order_literal(text) for column, text in pairs)

    # -- PostgreSQL --------------------------------------------------------------------------

    def target(self, alias: str = "") -> tuple[str, ...]:
        """PostgreSQL expressions of the key's texts."""
        return tuple(column.target(alias) for column in self.columns)

    def target_condition(self, alias: str = "") -> str:
        """PostgreSQL condition for the rows of the keys bound as `target_arrays`."""
        casts = [f"%s::text[]::{column.cast}[]" for column in self.columns]
        names = [bindable(column.searched(alias)) for column in self.columns]
        if len(names) == 1:
            return f"{names[0]} = ANY({casts[0]})"
        return f"({','.join(names)}) IN (SELECT * FROM unnest({','.join(casts)}))"

    def target_arrays(self, keys: Sequence[Key]) -> list[list[str]]:
        """The bindings of `target_condition`; keys that the target cannot hold are left out."""
        if len(self.columns) == 1:
            given = self.columns[0].given
            return [[value for (text,) in keys if (value := given(text)) is not None]]
        rows = [row for key in keys if None not in (row := self._given(key))]
        return [[row[place] or "" for row in rows] for place in range(len(self.columns))]

    def target_order(self) -> list[str]:
        """What PostgreSQL orders by: the columns."""
        return [target_name(column.plan) for column in self.columns]

    def target_range(self, lower: Key | None, upper: Key | None) -> tuple[list[str], list[str]]:
        """PostgreSQL conditions for the same range in the target's order, and their bindings."""
        names = bindable(",".join(self.target_order()))
        casts = ",".join(f"%s::{column.cast}" for column in self.columns)
        conditions, values = list[str](), list[str]()
        for bound, sign in ((lower, ">"), (upper, "<=")):
            if bound is not None:
                conditions.append(f"({names}) {sign} ({casts})")
                values += self.target_values(bound)
        return conditions, values

    def target_values(self, key: Key) -> list[str]:
        """The key as bindings of the target's types."""
        return [value or "" for value in self._given(key)]

    def ascending(self) -> str:
        """PostgreSQL expression: the first of two bound keys comes before the other."""
        collated = [' COLLATE "C"' if column.is_text else "" for column in self.columns]
        pairs = zip(self.columns, collated, strict=True)
        casts = ",".join(f"%s::{column.cast}{collation}" for column, collation in pairs)
        return f"({casts}) < ({casts})"

    def _given(self, key: Key) -> list[str | None]:
        return [column.given(text) for column, text in zip(self.columns, key, strict=True)]


def _beyond(names: Sequence[str], values: Sequence[str], sign: str, last: str) -> str:
    """``(a >= 1 AND (a > 1 OR (a = 1 AND b > 2)))``, the last column compared with `last`.

    Optimizers find no range without the first part, nor in a row comparison.
    """
    name, value = names[0], values[0]
    if len(names) == 1:
        return f"{name}{last}{value}"
    deeper = f"{name}={value} AND {_beyond(names[1:], values[1:], sign, last)}"
    return f"({name}{sign}={value} AND ({name}{sign}{value} OR ({deeper})))"
