"""Relations out of foreign keys: which there are on either side, and what both ends are called.

The end at the child is called by its column (``customer_id`` → ``customer``), the end at the parent
by the child's class. Names are chosen once for both sides, even where only the source has the key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from bridge.generate import names
from bridge.generate.shape import Side
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, fit_postgres
from bridge.sink.constraints import constraints
from bridge.types.table import ForeignKey


@dataclass(frozen=True, slots=True)
class Wanted:
    """A table whose relations are looked for: its class, and the attribute of each column."""

    plan: TablePlan
    name: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Relation:
    """One end of a foreign key, as an attribute of `owner`.

    `local` and `remote` are the attributes of child and parent that are joined. `up` tells the
    child's end, which has one parent; the parent's end has `many` children, or one.
    """

    key: ForeignKey
    name: str
    back: str
    owner: str
    other: str
    child: str
    parent: str
    local: tuple[str, ...]
    remote: tuple[str, ...]
    up: bool
    many: bool = False
    nullable: bool = False
    ambiguous: bool = False
    """Another key joins the same tables by some of the same columns."""
    overlaps: tuple[str, ...] = ()
    """Ends of other keys that write the same columns."""


@dataclass(slots=True)
class _Link:
    """A foreign key between two tables with classes, and the names of its ends."""

    key: ForeignKey
    child: Wanted
    parent: Wanted
    up: str = ""
    down: str = ""
    near: list[_Link] = field(default_factory=list)

    @property
    def local(self) -> tuple[str, ...]:
        return tuple(self.child.attributes[name] for name in self.key.columns)

    @property
    def remote(self) -> tuple[str, ...]:
        return tuple(self.parent.attributes[name] for name in self.key.parent_columns)


Ends = Mapping[Side, tuple[Relation, ...]]
Made = frozenset[tuple[TableName, str]]
"""The target's foreign keys: table and name."""


def made_keys(plans: Sequence[TablePlan]) -> Made:
    """The foreign keys that the target gets when it takes over."""
    return frozenset(
        (one.table, one.name) for one in constraints(plans)[0] if one.kind == "foreign key"
    )


def relate(
    wanted: Sequence[Wanted], hidden: Collection[str], made: Made
) -> tuple[dict[TableName, Ends], list[str]]:
    """Each table's ends on either side, and what is to be told. `hidden` are names of classes."""
    links, notes = _links(wanted)
    _name(links, wanted, hidden)
    _find_near(links)
    found: dict[TableName, dict[Side, list[Relation]]] = {
        each.plan.source: {side: [] for side in Side} for each in wanted
    }
    for link in links:
        if not _there(link, Side.target, made):
            notes.append(f"foreign key {link.key.name}: the target will not have it")
        if not (link.child.plan.key and link.parent.plan.key):
            notes.append(f"foreign key {link.key.name}: no relation, a table has no key")
            continue
        for side in Side:
            if _there(link, side, made):
                up, down = _ends(link, side, made)
                found[link.child.plan.source][side].append(up)
                found[link.parent.plan.source][side].append(down)
    return {name: {s: tuple(e) for s, e in ends.items()} for name, ends in found.items()}, notes


def foreign_keys(
    plan: TablePlan, plans: Mapping[TableName, TablePlan], made: Made
) -> dict[Side, tuple[ForeignKey, ...]]:
    """The foreign keys that either side's table has, towards tables and columns that are mapped."""
    keys = tuple(key for key in _distinct(plan) if _mapped(plan, key, plans))
    target = tuple(key for key in keys if (plan.target, fit_postgres(key.name)) in made)
    return {Side.legacy: keys, Side.target: target}


def _there(link: _Link, side: Side, made: Made) -> bool:
    name = (link.child.plan.target, fit_postgres(link.key.name))
    return side is Side.legacy or name in made


def _links(wanted: Sequence[Wanted]) -> tuple[list[_Link], list[str]]:
    tables = {each.plan.source: each for each in wanted}
    plans = {each.plan.source: each.plan for each in wanted}
    links, notes = [], []
    for child in wanted:
        for key in _distinct(child.plan):
            if _mapped(child.plan, key, plans):
                links.append(_Link(key, child, tables[key.parent]))
            else:
                notes.append(
                    f"foreign key {key.name}: what it refers to is not mapped, or has a dot"
                )
    return links, notes


def _distinct(plan: TablePlan) -> list[ForeignKey]:
    """The table's foreign keys by name; of two over the same columns the first."""
    found: dict[tuple[object, ...], ForeignKey] = {}
    for key in sorted(plan.table.foreign_keys, key=lambda key: key.name):
        found.setdefault((key.columns, key.parent, key.parent_columns), key)
    return list(found.values())


def _mapped(plan: TablePlan, key: ForeignKey, plans: Mapping[TableName, TablePlan]) -> bool:
    """Whether both ends are carried, and SQLAlchemy can name the parent: ``table.column``."""
    parent = plans.get(key.parent)
    if parent is None or not set(key.columns) <= _carried(plan).keys():
        return False
    there = _carried(parent)
    if not set(key.parent_columns) <= there.keys():
        return False
    words = [parent.source.table, parent.target.table, *key.parent_columns]
    return not any("." in word for word in (*words, *map(there.__getitem__, key.parent_columns)))


def _carried(plan: TablePlan) -> dict[str, str]:
    """The carried columns, and what they are called in the target."""
    columns = (*plan.columns, *(pair[0] for pair in plan.computed))
    return {column.source.name: column.target_name for column in columns}


def _name(links: Sequence[_Link], wanted: Sequence[Wanted], hidden: Collection[str]) -> None:
    """Children's ends first, so that they have the shorter names."""
    namers = {each.plan.source: names.Namer(each.attributes.values()) for each in wanted}
    pairs = Counter((link.child.name, link.parent.name) for link in links)
    for link in links:
        candidates = (names.attribute_name(names.short(name), hidden) for name in _up(link))
        link.up = namers[link.child.plan.source].choose(*candidates)
    for link in links:
        child = names.snake(link.child.name)
        full = f"{child}_by_{link.up}"
        several = pairs[link.child.name, link.parent.name] > 1 or link.child is link.parent
        candidates = (
            names.attribute_name(names.short(name), hidden)
            for name in ((full,) if several else (child, full))
        )
        link.down = namers[link.parent.plan.source].choose(*candidates)


def _up(link: _Link) -> tuple[str, ...]:
    parent = names.snake(link.parent.name)
    columns = [names.snake(name) for name in link.local]
    full = f"{'_'.join(columns)}_{parent}"
    if len(link.local) > 1:
        return parent, full
    return (names.without_id(link.local[0]) or full), full


def _find_near(links: Sequence[_Link]) -> None:
    for link in links:
        link.near = [
            other
            for other in links
            if other is not link
            and other.child is link.child
            and set(other.key.columns) & set(link.key.columns)
        ]


def _ends(link: _Link, side: Side, made: Made) -> tuple[Relation, Relation]:
    near = [each for each in link.near if each.parent.plan.key and _there(each, side, made)]
    overlaps = sorted({name for each in near for name in (each.up, each.down)})
    ambiguous = any(each.parent is link.parent for each in near)
    nullable = any(_nullable(link.child.plan, name, side) for name in link.key.columns)
    child, parent = link.child.name, link.parent.name

    def end(up: bool) -> Relation:
        return Relation(
            key=link.key,
            name=link.up if up else link.down,
            back=link.down if up else link.up,
            owner=child if up else parent,
            other=parent if up else child,
            child=child,
            parent=parent,
            local=link.local,
            remote=link.remote,
            up=up,
            many=not up and not _single(link.child.plan, link.key.columns),
            nullable=nullable if up else True,
            ambiguous=ambiguous,
            overlaps=tuple(overlaps),
        )

    return end(True), end(False)


def _nullable(plan: TablePlan, name: str, side: Side) -> bool:
    columns = (*plan.columns, *(pair[0] for pair in plan.computed))
    column = next(each for each in columns if each.source.name == name)
    return column.source.nullable if side is Side.legacy else column.target_nullable


def _single(plan: TablePlan, columns: Sequence[str]) -> bool:
    """Whether a parent has at most one child: the columns hold a whole unique key."""
    keys = [{column.source.name for column in plan.key_columns}] if plan.key else []
    keys += [
        {part.column for part in index.parts}
        for index in plan.indexes
        if index.unique and not any(part.prefix or part.expression for part in index.parts)
    ]
    return any(key <= set(columns) for key in keys)
