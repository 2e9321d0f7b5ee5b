"""What the databases fill in by themselves: counters, defaults, generated columns."""

from __future__ import annotations

import re

from bridge.generate.layout import Node, call, flat, keyword, literal
from bridge.generate.model import Attribute, Entity
from bridge.generate.shape import Side
from bridge.mapping.expressions import Untranslatable
from bridge.sink.ddl import IDENTITY_TYPES
from bridge.sink.defaults import default, now, readable
from bridge.types.base import SourceColumn
from bridge.types.target import target_of

_NOW = re.compile(r"CURRENT_TIMESTAMP(?:\((\d)\))?")
_BITS = re.compile(r"b'([01]+)'")
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_DATES = frozenset({"date", "datetime", "timestamp"})
_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w)|\\:")
_NO_COUNTER = "autoincrement=False"
_FETCHED = call("sa.FetchedValue")
"""The database has a value of its own, of which it does not say what it is."""


def sql(text: str) -> Node:
    """An expression of the database, of which text() would take ``:word`` for a parameter."""
    return call("sa.literal_column" if _PARAMETER.search(text) else "sa.text", literal(text))


def makers(attribute: Attribute, side: Side) -> list[Node]:
    """What makes the column's values always, as an argument beside its type."""
    source = attribute.plan.source
    if side is Side.legacy:
        stored = keyword("persisted", str(source.generated == "stored"))
        made = call("sa.Computed", _expression(source.expression), stored)
        return [made] if source.generated else []
    if attribute.expression:
        expression = _expression(attribute.expression)
        return [call("sa.Computed", expression, keyword("persisted", "True"))]
    counts = source.auto_increment and target_of(attribute.plan).base in IDENTITY_TYPES
    return [call("sa.Identity")] if counts else []


def filled(entity: Entity, attribute: Attribute, side: Side) -> list[Node]:
    """Keywords of the column that tell what fills it."""
    if makers(attribute, side):
        return []
    if side is Side.legacy:
        return _legacy(entity, attribute)
    return _target(entity, attribute)


def fills_itself(entity: Entity, attribute: Attribute, side: Side) -> bool:
    """Whether the database has a value for it where none is given."""
    if makers(attribute, side):
        return True
    return any(flat(each) != _NO_COUNTER for each in filled(entity, attribute, side))


def _legacy(entity: Entity, attribute: Attribute) -> list[Node]:
    source = attribute.plan.source
    if source.auto_increment:
        if attribute in entity.key:
            return [keyword("autoincrement", "True")]
        return [keyword("server_default", _FETCHED)]
    arguments = _no_counter(entity, attribute, Side.legacy)
    value = _legacy_default(source)
    if value is not None:
        arguments.append(keyword("server_default", value))
    if source.on_update:
        arguments.append(keyword("server_onupdate", _FETCHED))
    return arguments


def _legacy_default(source: SourceColumn) -> Node | None:
    """The default, with ON UPDATE, which SQLAlchemy takes for a part of it."""
    update = f" ON UPDATE {source.on_update}" if source.on_update else ""
    if source.default is None:
        return sql(f"NULL{update}") if update and source.nullable else None
    if source.default_is_expression:
        plain = _NOW.fullmatch(source.default)
        return sql(f"{source.default}{update}" if plain else f"({source.default})")
    if update:
        return _FETCHED
    if source.data_type == "bit":
        bits = _BITS.fullmatch(source.default)
        return sql(str(int(bits[1], 2))) if bits else _FETCHED
    hidden = source.data_type in _BYTES or not readable(source, source.default)
    zero = source.data_type in _DATES and re.search(r"0000-|-00", source.default)
    return _FETCHED if hidden or zero or "\0" in source.default else literal(source.default)


def _target(entity: Entity, attribute: Attribute) -> list[Node]:
    plan = attribute.plan
    arguments = _no_counter(entity, attribute, Side.target)
    try:
        value = default(plan)
    except Untranslatable:
        value = ""
    if value:
        arguments.append(keyword("server_default", sql(value)))
    match = _NOW.fullmatch(plan.source.on_update)
    try:
        if match and now(plan, int(match[1] or 0)):
            arguments.append(keyword("server_onupdate", _FETCHED))
    except Untranslatable:
        pass
    return arguments


def _expression(text: str) -> Node:
    return sql(text) if _PARAMETER.search(text) else literal(text)


def _no_counter(entity: Entity, attribute: Attribute, side: Side) -> list[Node]:
    """SQLAlchemy would make a counter of a whole number that is the key."""
    whole = attribute.shapes[side].python in ("int", "Decimal")
    alone = entity.key == (attribute,)
    return [_NO_COUNTER] if whole and alone else []
