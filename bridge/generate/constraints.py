"""Keys, foreign keys and indexes of a table, as arguments of SQLAlchemy's tables."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.generate.defaults import sql
from bridge.generate.layout import Group, Node, call, entry, keyword, literal, strings
from bridge.generate.model import Entity, Models
from bridge.generate.shape import Side
from bridge.mapping.expressions import Untranslatable
from bridge.mapping.keys import stands_in
from bridge.names import fit_postgres, quote_mysql, quote_postgres
from bridge.sink import ddl
from bridge.types.table import ForeignKey, IndexPart, SourceIndex

_ACTIONS = ("CASCADE", "SET NULL", "SET DEFAULT")


def constraints(models: Models, entity: Entity, side: Side) -> list[Node]:
    """Foreign keys, unique keys and indexes."""
    keys = [_foreign_key(models, entity, key, side) for key in entity.keys[side]]
    indexes = _legacy_indexes(entity) if side is Side.legacy else _target_indexes(entity)
    return [*keys, *indexes]


def options(models: Models, entity: Entity, side: Side) -> list[tuple[str, str]]:
    """Schema, comment, and what MySQL says of a table."""
    name = entity.table(side)
    table = entity.plan.table
    found = []
    if side is Side.legacy:
        if table.engine and table.engine != "InnoDB":
            found.append(("mysql_engine", literal(table.engine)))
        if entity.collation:
            found.append(("mysql_collate", literal(entity.collation)))
    if table.comment:
        found.append(("comment", literal(table.comment.replace("\0", ""))))
    if side is Side.target or name.schema != models.database:
        found.append(("schema", literal(name.schema)))
    return found


def table_arguments(models: Models, entity: Entity, side: Side) -> Node | None:
    """``__table_args__``: a tuple, or only the options; None if there is nothing to say."""
    items = constraints(models, entity, side)
    found = options(models, entity, side)
    dictionary = Group("{", tuple(entry(key, value) for key, value in found), "}")
    if not items:
        return dictionary if found else None
    return Group("(", (*items, dictionary) if found else tuple(items))


def _foreign_key(models: Models, entity: Entity, key: ForeignKey, side: Side) -> Node:
    parent = models.entity(key.parent)
    name = parent.table(side)
    alone = side is Side.legacy and name.schema == models.database
    place = name.table if alone else f"{name.schema}.{name.table}"
    remote = [f"{place}.{parent.handle(column, side)}" for column in key.parent_columns]
    actions = [
        keyword(word, literal(action))
        for word, action in (("ondelete", key.on_delete), ("onupdate", key.on_update))
        if action in _ACTIONS
    ]
    return call(
        "sa.ForeignKeyConstraint",
        strings(entity.handle(column, side) for column in key.columns),
        strings(remote),
        keyword("name", literal(key.name if side is Side.legacy else fit_postgres(key.name))),
        *actions,
    )


def _legacy_indexes(entity: Entity) -> Iterator[Node]:
    plan = entity.plan
    carried = {attribute.plan.source.name for attribute in entity.attributes}
    for index in sorted(plan.table.indexes, key=lambda index: index.name):
        whole = {part.column for part in index.parts if part.column} <= carried
        key = tuple(column.source.name for column in plan.key_columns)
        if whole and not stands_in(plan.table, key, index):
            yield _legacy_index(entity, index)


def _legacy_index(entity: Entity, index: SourceIndex) -> Node:
    name = literal(index.name)
    special = index.kind in ("FULLTEXT", "SPATIAL")
    named = [literal(entity.handle(p.column, Side.legacy)) for p in index.parts if p.column]
    prefixes = {p.column: str(p.prefix) for p in index.parts if p.column and p.prefix}
    raw = any(part.expression or part.descending for part in index.parts)
    if index.unique and not raw and not prefixes:
        return call("sa.UniqueConstraint", *named, keyword("name", name))
    lengths = Group("{", tuple(entry(column, size) for column, size in prefixes.items()), "}")
    return call(
        "sa.Index",
        name,
        *([sql(", ".join(_part(part) for part in index.parts))] if raw else named),
        keyword("unique", "True") if index.unique else None,
        keyword("mysql_length", lengths) if prefixes and not raw else None,
        keyword("mysql_prefix", literal(index.kind)) if special else None,
    )


def _part(part: IndexPart) -> str:
    order = " DESC" if part.descending else ""
    if part.expression:
        return f"({part.expression}){order}"
    prefix = f"({part.prefix})" if part.prefix else ""
    return f"{quote_mysql(part.column)}{prefix}{order}"


def _target_indexes(entity: Entity) -> Iterator[Node]:
    for index in sorted(entity.plan.indexes, key=lambda index: index.name):
        try:
            made = ddl.index_of(entity.plan, index)
        except Untranslatable:
            continue
        yield _target_index(entity, index, made)


def _target_index(entity: Entity, index: SourceIndex, made: ddl.Statement) -> Node:
    """By the names of its columns, where it is over nothing else."""
    start = f" ON {made.table.postgres} "
    over = made.create[made.create.index(start) + len(start) :]
    attributes = [entity.attribute(part.column) for part in index.parts if part.column]
    columns = [quote_postgres(attribute.plan.target_name) for attribute in attributes]
    named = [literal(entity.handle(p.column, Side.target)) for p in index.parts if p.column]
    method, _, inner = over.partition("(")
    using = method.removeprefix("USING ").strip()
    return call(
        "sa.Index",
        literal(made.name),
        *(named if over == f"({', '.join(columns)})" else [sql(inner.removesuffix(")"))]),
        keyword("unique", "True") if made.unique else None,
        keyword("postgresql_using", literal(using)) if using else None,
    )
