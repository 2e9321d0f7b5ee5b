"""A column of the target in Python: what psycopg gives for its type, through SQLAlchemy."""

from __future__ import annotations

from bridge.generate.layout import Node, call, keyword, literal
from bridge.generate.shape import Labels, Shape, bounds, digits, none_as_null
from bridge.types.base import ColumnPlan
from bridge.types.target import Target, target_of

_INTEGERS = {"smallint": "SmallInteger", "integer": "Integer", "bigint": "BigInteger"}
_PLAIN: dict[str, tuple[str, str]] = {
    "boolean": ("sa.Boolean", "bool"),
    "real": ("pg.REAL", "float"),
    "double precision": ("pg.DOUBLE_PRECISION", "float"),
    "date": ("sa.Date", "dt.date"),
    "bytea": ("pg.BYTEA", "bytes"),
    "uuid": ("pg.UUID", "UUID"),
    "citext": ("pg.CITEXT", "str"),
}


def shape(plan: ColumnPlan, labels: Labels | None) -> Shape:
    """The column's type; `labels` is the enum it got."""
    target = target_of(plan)
    if target.base == "text[]" or (labels and target.is_text):
        return _labelled(plan, target, labels)
    if target.is_text and target.base != "citext":
        return _text(plan, target)
    if target.base in _INTEGERS:
        low, high = target.integers or (0, 0)
        name = f"sa.{_INTEGERS[target.base]}"
        return Shape(call(name), "int", limits=bounds(low, high), whole=True)
    if target.base == "numeric":
        args = [str(number) for number in target.args]
        limits = digits(target.args[0], target.scale) if target.args else {}
        return Shape(call("sa.Numeric", *args), "Decimal", limits=limits)
    if target.base in ("json", "jsonb"):
        sql = call(f"pg.{target.base.upper()}", none_as_null(plan.target_nullable))
        return Shape(sql, "Any")
    if target.base in _PLAIN:
        name, python = _PLAIN[target.base]
        return Shape(call(name), python, note=_infinite(plan))
    return _moment(plan, target)


def _moment(plan: ColumnPlan, target: Target) -> Shape:
    precision = [keyword("precision", str(number)) for number in target.args]
    if target.base == "interval":
        return Shape(call("pg.INTERVAL", *precision), "dt.timedelta")
    if target.base == "time":
        return Shape(call("pg.TIME", *precision), "dt.time")
    if target.base in ("timestamp", "timestamptz"):
        zoned = target.base == "timestamptz"
        zone = [keyword("timezone", "True")] if zoned else []
        checked = "AwareDatetime" if zoned else "NaiveDatetime"
        sql = call("pg.TIMESTAMP", *zone, *precision)
        return Shape(sql, "dt.datetime", checked=checked, note=_infinite(plan))
    return _other(plan, target)


def _other(plan: ColumnPlan, target: Target) -> Shape:
    if target.base == "bit":
        width = target.args[0] if target.args else 1
        sql = call("pg.BIT", str(width))
        limits = {"min_length": str(width), "max_length": str(width)}
        return Shape(sql, "str", limits=limits)
    if target.base == "inet":
        return Shape(call("pg.INET"), f"IPv{plan.source.data_type.removeprefix('inet')}Address")
    raise ValueError(f"no model of the target type {plan.target_type}")


def _infinite(plan: ColumnPlan) -> str:
    """Where a policy writes an infinite date, psycopg refuses to read the row."""
    if "infinity" not in plan.policy.zero_date:
        return ""
    return (
        f"{plan.policy.zero_date.partition(':')[2]} stands for no date, which psycopg cannot read"
    )


def _text(plan: ColumnPlan, target: Target) -> Shape:
    limits = {} if target.limit is None else {"max_length": str(target.limit)}
    return Shape(_text_type(plan, target), "str", limits=limits)


def _text_type(plan: ColumnPlan, target: Target) -> Node:
    words = [keyword("collation", literal("C"))] if plan.collate_c else []
    if target.base == "citext":
        return call("pg.CITEXT")
    if target.limit is None:
        return call("pg.TEXT", *words)
    return call("pg.VARCHAR", str(target.limit), *words)


def _labelled(plan: ColumnPlan, target: Target, labels: Labels | None) -> Shape:
    array = target.base == "text[]"
    store = call("pg.ARRAY", call("pg.TEXT")) if array else _text_type(plan, target)
    joined = plan.source.data_type == "set" and not array
    if labels is None or joined:
        return Shape(store, "list[str]" if array else "str")
    if plan.source.data_type == "set":
        name = "EnumLabels"
        return Shape(call(name, labels.name, store), f"frozenset[{labels.name}]", helper=name)
    return Shape(call("EnumLabel", labels.name, store), labels.name, helper="EnumLabel")
