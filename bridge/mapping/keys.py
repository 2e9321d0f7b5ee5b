"""By what a table's rows are known: its primary key, or a unique index that can stand in for it."""

from __future__ import annotations

from bridge.types.base import SourceColumn
from bridge.types.table import SourceIndex, SourceTable

_NARROW = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})


def possible_keys(table: SourceTable) -> tuple[tuple[str, ...], ...]:
    """The column lists that may be the table's key, the best first.

    The primary key where there is one. Else every unique index over whole columns that are NOT
    NULL: fewer columns first, integers before others.
    """
    if table.primary_key:
        return (table.primary_key,)
    found = [columns_of(index) for index in table.indexes if _identifies(index, table)]
    return tuple(sorted(found, key=lambda names: _rank(names, table)))


def columns_of(index: SourceIndex) -> tuple[str, ...]:
    """The index's columns; '' for a part that is an expression."""
    return tuple(part.column for part in index.parts)


def stands_in(table: SourceTable, key: tuple[str, ...], index: SourceIndex) -> bool:
    """Whether the index is the one that serves as key, which the target's primary key replaces."""
    return not table.primary_key and _identifies(index, table) and columns_of(index) == key


def _identifies(index: SourceIndex, table: SourceTable) -> bool:
    return index.unique and all(
        part.column and part.prefix is None and not table.column(part.column).nullable
        for part in index.parts
    )


def _rank(names: tuple[str, ...], table: SourceTable) -> tuple[int, int, tuple[str, ...]]:
    wide = sum(not _narrow(table.column(name)) for name in names)
    return len(names), wide, names


def _narrow(column: SourceColumn) -> bool:
    return column.data_type in _NARROW
