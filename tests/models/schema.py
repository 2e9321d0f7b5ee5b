"""Tables and foreign keys as the models know them.

Every row is (id, unique, value, ref). The id is the key of a keyed table and what foreign keys
point at; a keyless table holds a multiset of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

Value = int | None
Row = tuple[Value, ...]

ID, UNIQUE, VALUE, REF = range(4)


class Action(Enum):
    """What a foreign key does to the children."""

    CASCADE = "cascade"
    SET_NULL = "set null"
    RESTRICT = "restrict"


@dataclass(frozen=True)
class ForeignKey:
    """A child's column that points at the parent's id."""

    child: str
    parent: str
    column: int = REF
    on_delete: Action = Action.CASCADE
    on_update: Action = Action.RESTRICT


@dataclass(frozen=True)
class Table:
    """A table; `unique` says whether its second column has a unique index."""

    name: str
    keyed: bool = True
    unique: bool = False


@dataclass(frozen=True)
class Schema:
    """Tables, parents before children, and their foreign keys."""

    tables: tuple[Table, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Table]:
        """The tables by name."""
        return {table.name: table for table in self.tables}

    @cached_property
    def referencing(self) -> dict[str, tuple[ForeignKey, ...]]:
        """For each table the foreign keys that point at it."""
        return {
            table.name: tuple(fk for fk in self.foreign_keys if fk.parent == table.name)
            for table in self.tables
        }

    @cached_property
    def descendants(self) -> dict[str, frozenset[str]]:
        """For each table all tables that a cascade from it can reach."""
        return {table.name: self._reached(table.name) for table in self.tables}

    def _reached(self, name: str) -> frozenset[str]:
        found: set[str] = set()
        ahead = [name]
        while ahead:
            for fk in self.referencing[ahead.pop()]:
                if fk.child not in found:
                    found.add(fk.child)
                    ahead.append(fk.child)
        return frozenset(found)


def with_column(row: Row, column: int, value: Value) -> Row:
    """The row with one column changed."""
    return (*row[:column], value, *row[column + 1 :])


def is_bad(row: Row) -> bool:
    """Whether the target cannot represent the row."""
    value = row[VALUE]
    return value is not None and value < 0
