"""Families: tables that cascading foreign keys tie together move as one.

A cascade that the source did not log is carried out on the child rows as they are at the event's
position, so parent and child must stand at the same frontier: they are copied, paused, stopped and
resumed together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bridge.names import TableName
from bridge.types.table import SourceTable


def families(tables: Iterable[SourceTable]) -> dict[TableName, frozenset[TableName]]:
    """Each table's family, itself included: the connected tables by cascading foreign keys."""
    known = {table.name: table for table in tables}
    family = {name: {name} for name in known}
    for table in known.values():
        for key in table.foreign_keys:
            if key.cascades and key.parent in known:
                merged = family[table.name] | family[key.parent]
                for name in merged:
                    family[name] = merged
    return {name: frozenset(members) for name, members in family.items()}


@dataclass(frozen=True, slots=True)
class ParentRole:
    """What a table's changes can do to followed child rows.

    `columns` are the referenced columns; `descendants` all tables that a cascade from here can reach;
    `on_update` says that changes of the referenced columns carry over, too.
    """

    columns: tuple[str, ...]
    descendants: frozenset[TableName]
    on_update: bool


def parent_roles(tables: Iterable[SourceTable]) -> Mapping[TableName, ParentRole]:
    """The followed tables whose deletes or key changes cascade to followed tables."""
    children: dict[TableName, set[TableName]] = {}
    columns: dict[TableName, set[str]] = {}
    updating: set[TableName] = set()
    for table in tables:
        for key in table.foreign_keys:
            if not key.cascades:
                continue
            children.setdefault(key.parent, set()).add(table.name)
            columns.setdefault(key.parent, set()).update(key.parent_columns)
            if key.on_update in ("CASCADE", "SET NULL"):
                updating.add(key.parent)
    return {
        parent: ParentRole(
            tuple(sorted(columns[parent])),
            _reachable(parent, children),
            parent in updating,
        )
        for parent in children
    }


def _reachable(
    parent: TableName, children: Mapping[TableName, set[TableName]]
) -> frozenset[TableName]:
    found: set[TableName] = set()
    open_ = list(children.get(parent, ()))
    while open_:
        name = open_.pop()
        if name not in found:
            found.add(name)
            open_.extend(children.get(name, ()))
    return frozenset(found)
