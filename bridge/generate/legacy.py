"""A column of the source in Python: what PyMySQL gives for its type, through SQLAlchemy.

TIME is a length of up to 838 hours on MySQL; SQLAlchemy's own type would cut it to a time of day
(its dialects/mysql/types.py), and double would come as a decimal. Dates may be strings where the
rows hold dates that no calendar has: PyMySQL gives those as they are printed (its converters.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from bridge.generate.layout import Node, call, keyword, literal
from bridge.generate.shape import Labels, Shape, bounds, digits, joined, none_as_null
from bridge.types.base import ColumnPlan, SourceColumn
from bridge.types.integers import source_range
from bridge.types.target import target_of

_WIDTH = re.compile(r"\((\d+)\)")
_INTEGERS = {
    "tinyint": "TINYINT",
    "smallint": "SMALLINT",
    "mediumint": "MEDIUMINT",
    "int": "INTEGER",
    "bigint": "BIGINT",
}


def shape(plan: ColumnPlan, labels: Labels | None, collation: str) -> Shape:
    """The column's type; `labels` is the enum it got, `collation` what the table's texts have."""
    convert = _KINDS.get(plan.source.data_type)
    if plan.source.data_type in ("enum", "set"):
        return _labelled(plan.source, labels)
    if convert is not None:
        return convert(plan)
    return _text(plan.source, collation)


def _integer(plan: ColumnPlan) -> Shape:
    source = plan.source
    if target_of(plan).base == "boolean":
        return Shape(call("sa.Boolean"), "bool")
    kind = source.column_type.lower()
    width = _WIDTH.search(kind) if "zerofill" in kind or kind.startswith("tinyint(1)") else None
    sql = call(
        f"mysql.{_INTEGERS[source.data_type]}",
        keyword("display_width", width[1]) if width else None,
        *_flags(source),
    )
    return Shape(sql, "int", limits=bounds(*source_range(source)), whole=True)


def _flags(source: SourceColumn) -> list[Node]:
    zerofill = "zerofill" in source.column_type.lower()
    flags: list[Node] = [keyword("unsigned", "True")] if source.unsigned else []
    return [*flags, keyword("zerofill", "True")] if zerofill else flags


def _year(_: ColumnPlan) -> Shape:
    return Shape(call("mysql.YEAR"), "int", limits=bounds(0, 2155))


def _decimal(plan: ColumnPlan) -> Shape:
    source = plan.source
    precision, scale = source.precision or 10, source.scale or 0
    sql = call("mysql.DECIMAL", str(precision), str(scale), *_flags(source))
    limits = digits(precision, scale) | ({"ge": "0"} if source.unsigned else {})
    return Shape(sql, "Decimal", limits=limits)


def _float(plan: ColumnPlan) -> Shape:
    source = plan.source
    sized = "(" in source.column_type and source.scale is not None
    size = (str(source.precision), str(source.scale)) if sized else ()
    name = "mysql.FLOAT" if source.data_type == "float" else "mysql.DOUBLE"
    limits = {"ge": "0"} if source.unsigned else {}
    sql = call(name, *size, keyword("asdecimal", "False"), *_flags(source))
    return Shape(sql, "float", limits=limits)


def _bit(plan: ColumnPlan) -> Shape:
    width = plan.source.length or 1
    return Shape(call("mysql.BIT", str(width)), "int", limits=bounds(0, 2**width - 1))


def _date(plan: ColumnPlan) -> Shape:
    return Shape(call("sa.Date"), joined("dt.date", _impossible(plan)))


def _moment(plan: ColumnPlan) -> Shape:
    source = plan.source
    name = "mysql.DATETIME" if source.data_type == "datetime" else "mysql.TIMESTAMP"
    odd = _impossible(plan)
    sql = call(name, *_fsp(source))
    return Shape(sql, joined("dt.datetime", odd), checked=joined("NaiveDatetime", odd))


def _impossible(plan: ColumnPlan) -> str:
    """``str`` where the mapping has a policy for dates that are none: the rows may hold them."""
    return "" if plan.policy.zero_date == "quarantine" else "str"


def _time(plan: ColumnPlan) -> Shape:
    return Shape(call("TimeLength", *_fsp(plan.source)), "dt.timedelta", helper="TimeLength")


def _fsp(source: SourceColumn) -> list[Node]:
    return [keyword("fsp", str(source.fsp))] if source.fsp else []


def _text(source: SourceColumn, collation: str) -> Shape:
    kind = source.data_type
    own = source.collation and source.collation != collation
    words = [keyword("collation", literal(source.collation))] if own and source.collation else []
    if kind in ("char", "varchar"):
        length = str(source.length or 0)
        sql = call(f"mysql.{kind.upper()}", length, *words)
        return Shape(sql, "str", limits={"max_length": length})
    return Shape(call(f"mysql.{kind.upper()}", *words), "str")


def _binary(plan: ColumnPlan) -> Shape:
    source = plan.source
    if target_of(plan).base == "uuid":
        return Shape(call("BinaryUUID"), "UUID", helper="BinaryUUID")
    if source.data_type in ("binary", "varbinary"):
        length = str(source.length or 0)
        sql = call(f"mysql.{source.data_type.upper()}", length)
        return Shape(sql, "bytes", limits={"max_length": length})
    return Shape(call(f"mysql.{source.data_type.upper()}"), "bytes")


def _labelled(source: SourceColumn, labels: Labels | None) -> Shape:
    written = [literal(label) for label in source.labels]
    if labels is not None:
        name, kind = ("EnumLabel", "ENUM") if source.data_type == "enum" else ("EnumLabels", "SET")
        sql = call(name, labels.name, call(f"mysql.{kind}", *written))
        python = labels.name if kind == "ENUM" else f"frozenset[{labels.name}]"
        return Shape(sql, python, helper=name)
    if source.data_type == "enum":
        return Shape(call("mysql.ENUM", *written), "str")
    # SQLAlchemy's SET does not take '' for a label; the server speaks of sets as of texts.
    length = len(",".join(source.labels))
    return Shape(call("mysql.VARCHAR", str(length)), "str", note="a set, as text")


def _json(plan: ColumnPlan) -> Shape:
    return Shape(call("mysql.JSON", none_as_null(plan.source.nullable)), "Any")


def _address(plan: ColumnPlan) -> Shape:
    if plan.source.data_type == "uuid":
        return Shape(call("NativeUUID"), "UUID", helper="NativeUUID")
    version = plan.source.data_type.removeprefix("inet")
    return Shape(call("NetworkAddress", version), f"IPv{version}Address", helper="NetworkAddress")


_KINDS: Mapping[str, Callable[[ColumnPlan], Shape]] = {
    **dict.fromkeys(_INTEGERS, _integer),
    "year": _year,
    "decimal": _decimal,
    "float": _float,
    "double": _float,
    "bit": _bit,
    "date": _date,
    "datetime": _moment,
    "timestamp": _moment,
    "time": _time,
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), _binary),
    "json": _json,
    **dict.fromkeys(("uuid", "inet4", "inet6"), _address),
}
