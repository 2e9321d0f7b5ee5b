"""Families: tables that cascading foreign keys tie together move as one.

A cascade that the source did not log is carried out on the child rows as they are at the event's
position, so parent and child must stand at the same frontier: they are copied, paused, stopped and
resumed together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bridge.change.batch import BadRow, Cascade, Image
from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.types.table import ForeignKey, SourceTable


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
    `on_delete`, `on_update`: deletes, or changes of the referenced columns, carry over. `moves`:
    children take over a changed value (ON UPDATE CASCADE), rather than NULL. `deep_delete`,
    `deep_update`: what such a cascade does to the children carries over to children of their own.
    """

    columns: tuple[str, ...]
    descendants: frozenset[TableName]
    on_delete: bool
    on_update: bool
    moves: bool
    deep_delete: bool
    deep_update: bool

    def harms_copy(self, *, deleted: bool) -> bool:
        """Whether replaying such a cascade over rows that were copied later could go wrong.

        Rows heal through their later images, but a row that only an unlogged cascade touched has
        none. One level of ON DELETE or of ON UPDATE SET NULL converges
        (tests/models/test_cascade_copy.py).
        """
        return self.deep_delete if deleted else self.moves or self.deep_update


def parent_roles(tables: Iterable[SourceTable]) -> Mapping[TableName, ParentRole]:
    """The followed tables whose deletes or key changes cascade to followed tables."""
    links: dict[TableName, list[_Link]] = {}
    for table in tables:
        for key in table.foreign_keys:
            if key.cascades:
                links.setdefault(key.parent, []).append(_Link(table.name, key))
    children = {parent: {link.child for link in mine} for parent, mine in links.items()}
    return {
        parent: ParentRole(
            columns=tuple(sorted({name for link in mine for name in link.key.parent_columns})),
            descendants=_reachable(parent, children),
            on_delete=any(link.key.acts_on_delete for link in mine),
            on_update=any(link.key.acts_on_update for link in mine),
            moves=any(link.key.on_update == "CASCADE" for link in mine),
            deep_delete=any(link.goes_on_from_delete(links) for link in mine),
            deep_update=any(
                link.key.acts_on_update and link.goes_on_from_change(links) for link in mine
            ),
        )
        for parent, mine in links.items()
    }


def cascades(
    role: ParentRole, plan: TablePlan, pairs: Iterable[tuple[Image | None, Image | None]]
) -> list[Cascade]:
    """What changes of a parent's rows (before, after) do to its children; raises TableStopped."""
    places = [
        next(i for i, c in enumerate(plan.columns) if c.source.name == column)
        for column in role.columns
    ]
    found = []
    for before, after in pairs:
        old = _referenced(before, places, plan)
        new = None if after is None else _referenced(after, places, plan)
        if old != new:
            found.append(Cascade(plan.source, role.columns, old, new))
    return found


def _referenced(image: Image | None, places: list[int], plan: TablePlan) -> bytes:
    """The fields at `places`; of a row that cannot be represented only the key's are known."""
    if isinstance(image, BadRow):
        known = image.key.split(b"\t") if max(places) < plan.key else []
    else:
        known = image.split(b"\t") if image is not None else []
    if not known:
        raise TableStopped(
            f"{plan.source}: a row that cannot be represented has child rows to be changed with it",
            "give the column a policy in the mapping, then resync the table",
            "bad-parent",
        )
    return b"\t".join(known[place] for place in places)


@dataclass(frozen=True, slots=True)
class _Link:
    """A foreign key with actions, by its child."""

    child: TableName
    key: ForeignKey

    def goes_on_from_delete(self, links: Mapping[TableName, list[_Link]]) -> bool:
        """Whether a parent's delete reaches the child's children."""
        if self.key.on_delete == "CASCADE":
            return any(link.key.acts_on_delete for link in links.get(self.child, ()))
        return self.key.on_delete == "SET NULL" and self.goes_on_from_change(links)

    def goes_on_from_change(self, links: Mapping[TableName, list[_Link]]) -> bool:
        """Whether the child's children follow the columns by which it refers to its parent."""
        return any(
            link.key.acts_on_update and set(link.key.parent_columns) & set(self.key.columns)
            for link in links.get(self.child, ())
        )


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
