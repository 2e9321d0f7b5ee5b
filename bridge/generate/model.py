"""What the models say, before any of it is text: entities, their columns, and their relations.

One `Entity` stands for a table on both sides: its class and its attributes have the same names on
both, taken from the target's, so that an application changes its import and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bridge.generate import legacy, names, target
from bridge.generate.relations import Relation, Wanted, foreign_keys, made_keys, relate
from bridge.generate.shape import Labels, Shape, Side
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.sink.defaults import readable
from bridge.types.base import ColumnPlan
from bridge.types.table import ForeignKey

INVALID = ("INVALID", "")
"""The member for '', which MySQL stores for a value that is none of the labels."""
SCHEMA = "Schema"
"""What a pydantic model's name ends in."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One carried column; `expression` is what the target computes it from, if it does."""

    name: str
    plan: ColumnPlan
    expression: str
    labels: Labels | None
    shapes: Mapping[Side, Shape]

    def column(self, side: Side) -> str:
        """The column's name in the database."""
        return self.plan.source.name if side is Side.legacy else self.plan.target_name

    def nullable(self, side: Side) -> bool:
        """Whether the database lets it be NULL."""
        return self.plan.source.nullable if side is Side.legacy else self.plan.target_nullable


@dataclass(frozen=True, slots=True)
class Entity:
    """One table; without a `key` it is no class but a Table."""

    name: str
    plan: TablePlan
    attributes: tuple[Attribute, ...]
    collation: str
    keys: Mapping[Side, tuple[ForeignKey, ...]]
    relations: Mapping[Side, tuple[Relation, ...]]

    @property
    def key(self) -> tuple[Attribute, ...]:
        """The attributes of the key."""
        found = {attribute.plan.source.name: attribute for attribute in self.attributes}
        return tuple(found[column.source.name] for column in self.plan.key_columns)

    def table(self, side: Side) -> TableName:
        """The table's name in the database."""
        return self.plan.source if side is Side.legacy else self.plan.target

    def handle(self, source: str, side: Side) -> str:
        """How constraints name a source's column: a class by its name, a Table by its key."""
        attribute = self.attribute(source)
        return attribute.column(side) if self.plan.key else attribute.name

    def attribute(self, source: str) -> Attribute:
        """The attribute of a source column; raises KeyError."""
        for attribute in self.attributes:
            if attribute.plan.source.name == source:
                return attribute
        raise KeyError(source)

    def left_out(self) -> list[str]:
        """Source columns that the mapping drops."""
        known = {attribute.plan.source.name for attribute in self.attributes}
        return [c.name for c in self.plan.table.columns if c.name not in known]


@dataclass(frozen=True, slots=True)
class Models:
    """Everything; `database` is the source's own one, whose tables are named without it."""

    entities: tuple[Entity, ...]
    database: str
    notes: tuple[str, ...]

    def entity(self, source: TableName) -> Entity:
        """The entity of a source table; raises KeyError."""
        for entity in self.entities:
            if entity.plan.source == source:
                return entity
        raise KeyError(source)

    @property
    def labels(self) -> list[Labels]:
        """All enums."""
        found = [attribute.labels for entity in self.entities for attribute in entity.attributes]
        return [labels for labels in found if labels is not None]


def build(plans: Collection[TablePlan], database: str) -> Models:
    """The models of the plans' tables, in the order of their classes."""
    ordered = sorted(plans, key=lambda plan: (plan.target, plan.source))
    namer = names.Namer()
    classes = {plan.source: _class(plan, namer) for plan in ordered}
    taken = {*classes.values(), *(f"{name}{SCHEMA}" for name in classes.values())}
    enums = names.Namer({*taken, *names.MODULES})
    labels = {plan.source: _enums(plan, classes[plan.source], enums) for plan in ordered}
    hidden = {*taken, *enums.taken}
    wanted = [Wanted(plan, classes[plan.source], _attributes(plan, hidden)) for plan in ordered]
    made = made_keys(ordered)
    relations, notes = relate(wanted, hidden, made)
    by_source = {plan.source: plan for plan in ordered}
    entities = [
        _entity(
            each,
            labels[each.plan.source],
            foreign_keys(each.plan, by_source, made),
            relations[each.plan.source],
        )
        for each in wanted
    ]
    entities.sort(key=lambda entity: entity.name)
    return Models(tuple(entities), database, (*notes, *_notes(entities)))


def columns_of(plan: TablePlan) -> list[tuple[ColumnPlan, str]]:
    """Carried columns in the source's order, each with the expression that the target computes."""
    pairs = [*((column, "") for column in plan.columns), *plan.computed]
    return sorted(pairs, key=lambda pair: pair[0].source.ordinal)


def _class(plan: TablePlan, namer: names.Namer) -> str:
    table, schema = plan.target.table, plan.target.schema
    return namer.choose(names.class_name(table), names.class_name(f"{schema}_{table}"))


def _enums(plan: TablePlan, owner: str, namer: names.Namer) -> dict[str, Labels]:
    """The enums of a table by source column."""
    found = {}
    for column, _ in columns_of(plan):
        if _enumerable(column):
            own = names.class_name(column.target_name).rstrip("_")
            name = namer.choose(names.short(f"{owner}{own}"))
            found[column.source.name] = Labels(name, _members(column))
    return found


def _enumerable(column: ColumnPlan) -> bool:
    """Whether the labels are known for certain, and each is a member of its own."""
    source = column.source
    if source.data_type not in ("enum", "set") or source.charset == "binary":
        return False
    if source.data_type == "set" and "" in source.labels:
        return False
    return all(readable(source, label) for label in source.labels)


def _members(column: ColumnPlan) -> tuple[tuple[str, str], ...]:
    labels = list(dict.fromkeys(column.source.labels))
    members = list(zip(names.member_names(labels), labels, strict=True))
    if column.source.data_type == "enum" and "" not in labels:
        taken = {name for name, _ in members}
        name = names.Namer(taken).choose(INVALID[0])
        members.append((name, INVALID[1]))
    return tuple(members)


def _attributes(plan: TablePlan, hidden: Collection[str]) -> dict[str, str]:
    """The attribute of each source column: names that stay as they are come first."""
    columns = [column for column, _ in columns_of(plan)]
    proposed = {c.source.name: names.attribute_name(c.target_name, hidden) for c in columns}
    plain = [c for c in columns if proposed[c.source.name] == c.target_name]
    namer = names.Namer()
    found = {c.source.name: namer.choose(c.target_name) for c in plain}
    for column in columns:
        if column not in plain:
            found[column.source.name] = namer.choose(proposed[column.source.name])
    return found


def _entity(
    wanted: Wanted,
    labels: Mapping[str, Labels],
    keys: Mapping[Side, tuple[ForeignKey, ...]],
    relations: Mapping[Side, tuple[Relation, ...]],
) -> Entity:
    collation = _collation(wanted.plan)
    attributes = tuple(
        Attribute(
            name=wanted.attributes[column.source.name],
            plan=column,
            expression=expression,
            labels=(own := labels.get(column.source.name)),
            shapes={
                Side.legacy: legacy.shape(column, own, collation),
                Side.target: target.shape(column, own),
            },
        )
        for column, expression in columns_of(wanted.plan)
    )
    return Entity(wanted.name, wanted.plan, attributes, collation, keys, relations)


def _collation(plan: TablePlan) -> str:
    """The collation that most texts of the table have; '' if it has none."""
    found = Counter(column.collation for column in plan.table.columns if column.collation)
    return str(found.most_common(1)[0][0]) if found else ""


def _notes(entities: Sequence[Entity]) -> list[str]:
    notes = []
    for entity in entities:
        table = entity.plan.source
        if not entity.plan.key:
            notes.append(f"{table} has no key: {entity.name} is a Table, not a class")
        for name in entity.left_out():
            column = entity.plan.table.column(name)
            given = column.nullable or column.generated or column.auto_increment
            if not given and column.default is None:
                notes.append(
                    f"{table}.{name} is left out, but the source wants a value for it:"
                    f" the legacy {entity.name} can be read, not inserted"
                )
        for attribute in entity.attributes:
            told = dict.fromkeys(shape.note for shape in attribute.shapes.values() if shape.note)
            notes += [f"{table}.{attribute.plan.source.name}: {note}" for note in told]
    return notes
