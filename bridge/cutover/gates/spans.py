"""Foreign keys that tie a group of tables to others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pymysql

from bridge.cutover.fences.rights import rows
from bridge.cutover.gates.facts import Span
from bridge.names import TableName
from bridge.types.table import SourceTable


def key_spans(
    source: pymysql.Connection[Any],
    tables: Sequence[SourceTable],
    groups: Mapping[TableName, str],
    group: str,
) -> tuple[Span, ...]:
    """Foreign keys from the group's tables to other groups', and from those to them."""
    edges = {(t.name, key.parent) for t in tables for key in t.foreign_keys}
    edges |= set(_children(source, [table.name for table in tables]))
    return tuple(spanning(sorted(edges), groups, group))


def spanning(
    edges: Iterable[tuple[TableName, TableName]], groups: Mapping[TableName, str], group: str
) -> Iterator[Span]:
    """Edges (child, parent) that leave the group; tables of no group count as outside."""
    for child, parent in edges:
        mine = [groups.get(child, "none"), groups.get(parent, "none")]
        if group in mine and mine[0] != mine[1]:
            yield Span("foreign-key", (str(child), str(parent)), tuple(mine))


def _children(
    source: pymysql.Connection[Any], parents: Sequence[TableName]
) -> Iterator[tuple[TableName, TableName]]:
    for schema in sorted({parent.schema for parent in parents}):
        found = rows(
            source,
            "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME"
            " FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = %s",
            (schema,),
        )
        for child_schema, child, parent_schema, parent in found:
            name = TableName(str(parent_schema), str(parent))
            if name in parents:
                yield TableName(str(child_schema), str(child)), name
