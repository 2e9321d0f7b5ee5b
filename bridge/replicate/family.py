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

    `columns` are the referenced columns, `descendants` all tables that a cascade can reach.
    `on_update`: changes of the referenced columns carry over, too. `deep`: children have children
    of their own. `moves`: children take over a changed value (ON UPDATE CASCADE), rather than NULL.
    """

    columns: tuple[str, ...]
    descendants: frozenset[TableName]
    on_update: bool
    moves: bool
    deep: bool

    def harms_copy(self, *, deleted: bool) -> bool:
        """Whether replaying such a cascade over rows that were copied later could go wrong.

        Rows heal through their later images, but a row that only an unlogged cascade touched has
        none. One level of ON DELETE or of ON UPDATE SET NULL converges
        (tests/models/test_cascade_copy.py).
        """
        return self.deep if deleted else self.moves or self.deep


def parent_roles(tables: Iterable[SourceTable]) -> Mapping[TableName, ParentRole]:
    """The followed tables whose deletes or key changes cascade to followed tables."""
    links = [(t.name, key) for t in tables for key in t.foreign_keys if key.cascades]
    children: dict[TableName, set[TableName]] = {}
    for child, key in links:
        children.setdefault(key.parent, set()).add(child)
    roles = {}
    for parent, mine in children.items():
        keys = [key for _, key in links if key.parent == parent]
        roles[parent] = ParentRole(
            columns=tuple(sorted({name for key in keys for name in key.parent_columns})),
            descendants=_reachable(parent, children),
            on_update=any(key.on_update in ("CASCADE", "SET NULL") for key in keys),
            moves=any(key.on_update == "CASCADE" for key in keys),
            deep=any(child in children for child in mine),
        )
    return roles


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
