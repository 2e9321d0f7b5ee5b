"""The compiled mapping of one table: what copy, stream, schema and verify work from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bridge.names import TableName
from bridge.types.base import ColumnPlan
from bridge.types.table import SourceIndex, SourceTable

Filter = Callable[[list[bytes]], bool]
"""Decides over the fields of a COPY line (in plan order) whether the row is carried."""


@dataclass(frozen=True, slots=True, eq=False)
class TablePlan:
    """How one source table becomes one target table.

    `columns` are the carried columns in the order of every COPY line: the `key` first ones are the
    key (0: the table has none and is a multiset). Columns that PostgreSQL computes (STORED
    generated ones) are not among them; see `computed`. `where` is the row filter as MySQL reads it,
    `keep` the same over a COPY line (None: every row). `version` changes whenever rows would be
    decoded otherwise.
    """

    table: SourceTable
    target: TableName
    columns: tuple[ColumnPlan, ...]
    key: int
    version: str
    where: str = ""
    keep: Filter | None = None
    computed: tuple[tuple[ColumnPlan, str], ...] = ()
    """Generated columns that PostgreSQL computes, each with its translated expression."""
    indexes: tuple[SourceIndex, ...] = ()
    """The indexes to be carried."""
    group: str = ""
    brief_lock: bool = False
    """Consent to a short table lock for the copy of a table without a key (mapping's copy.lock)."""

    @property
    def source(self) -> TableName:
        """The table's name in the source."""
        return self.table.name

    @property
    def key_columns(self) -> tuple[ColumnPlan, ...]:
        """The columns of the key; () for a table without one."""
        return self.columns[: self.key]
