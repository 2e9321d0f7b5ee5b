"""Plans made by hand, for tests that need no source."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.types.base import ColumnPlan, SourceColumn
from bridge.types.table import ForeignKey, SourceTable


def plan(
    name: str,
    columns: Sequence[tuple[str, str]],
    key: int = 1,
    foreign_keys: Sequence[ForeignKey] = (),
) -> TablePlan:
    """A plan of ``s.NAME`` → ``public.NAME``; columns are (name, PostgreSQL type), key first."""
    sources = tuple(
        SourceColumn(column, place, "int", "int") for place, (column, _) in enumerate(columns, 1)
    )
    source = SourceTable(
        name=TableName("s", name),
        flavor="mariadb",
        engine="InnoDB",
        columns=sources,
        primary_key=tuple(column for column, _ in columns[:key]),
        foreign_keys=tuple(foreign_keys),
    )
    plans = tuple(
        ColumnPlan(one, one.name, kind, target_nullable=place >= key)
        for place, (one, (_, kind)) in enumerate(zip(sources, columns, strict=True))
    )
    return TablePlan(source, TableName("public", name), plans, key, "v1")


def create(made: TablePlan) -> str:
    """The target table's DDL."""
    columns = ", ".join(f'"{c.target_name}" {c.target_type}' for c in made.columns)
    names = ", ".join(f'"{c.target_name}"' for c in made.key_columns)
    key = f", PRIMARY KEY ({names})" if made.key else ""
    return f"CREATE TABLE {made.target.postgres} ({columns}{key})"
