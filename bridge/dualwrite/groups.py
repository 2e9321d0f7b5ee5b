"""Groups of tables that have one authority."""

from __future__ import annotations

from bridge.names import TableName


def group_of(table: TableName, named: str) -> str:
    """The group that the mapping file names; a table without one is a group of its own."""
    return named or table.table
