"""How many rows of the target the source could not hold, before a switch and after it.

PostgreSQL finds the rows that may be such, by a condition that no bad value escapes; these are
fetched and judged as the stream would. Columns whose every value fits cost nothing, and a table
that has no others is not read. Values that only collide with another row's are not seen here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from bridge.mapping.plan import TablePlan
from bridge.names import literal_postgres, quote_postgres
from bridge.reverse.ledger import fields, key_text
from bridge.reverse.values import Unheld, constant_of, null_of
from bridge.reverse.values.texts import MOST_BYTES
from bridge.types.base import ColumnPlan
from bridge.types.charsets import UTF8
from bridge.types.datetimes import Moments
from bridge.types.integers import source_range
from bridge.types.target import Target, target_of
from bridge.types.text import charset_of

EXAMPLES = 10
EVERY = "true"
"""The condition where PostgreSQL cannot tell."""


@dataclass(slots=True)
class Scan:
    """What a scan found: rows by (column, code), and some of their keys in COPY text."""

    rows: int = 0
    by: Counter[tuple[str, str]] = field(default_factory=Counter)
    keys: list[str] = field(default_factory=list)


def count_unheld(conn: psycopg.Connection[Any], plan: TablePlan) -> Scan:
    """Scans the target's table; raises psycopg's errors. `conn` has the bridge's settings."""
    found = Scan()
    condition = suspicious(plan)
    if not condition:
        return found
    constants = [(column, constant_of(column), null_of(column)) for column in plan.columns]
    names = ", ".join(quote_postgres(column.target_name) for column in plan.columns)
    copy = f"COPY (SELECT {names} FROM {plan.target.postgres} WHERE {condition}) TO STDOUT"
    with conn.cursor() as cursor, cursor.copy(copy.encode()) as lines:
        for line in lines:
            row = fields(bytes(line).removesuffix(b"\n"))
            bad = _judged(row, constants)
            if bad is not None:
                found.rows += 1
                found.by[bad] += 1
                if len(found.keys) < EXAMPLES:
                    found.keys.append(key_text(row[: plan.key or None]).decode())
    return found


def _judged(row: Sequence[Any], constants: Sequence[Any]) -> tuple[str, str] | None:
    for value, (column, constant, null) in zip(row, constants, strict=True):
        if column.source.generated:
            continue
        if value is None:
            if null is None:
                return column.target_name, "null"
            continue
        try:
            constant(value)
        except Unheld as error:
            return column.target_name, error.code
    return None


def suspicious(plan: TablePlan) -> str:
    """PostgreSQL's condition for rows that may not fit; '' if all do."""
    conditions = []
    for column in plan.columns:
        if column.source.generated:
            continue
        q = quote_postgres(column.target_name)
        if null_of(column) is None and column.target_nullable:
            conditions.append(f"{q} IS NULL")
        found = _suspicious(column, q)
        if found:
            conditions.append(f"({found})")
    return EVERY if f"({EVERY})" in conditions else " OR ".join(conditions)


def _suspicious(column: ColumnPlan, q: str) -> str:
    kind, target = column.source.data_type, target_of(column)
    if kind == "uuid":
        return ""
    if target.is_text and kind in _NOT_TEXT:
        return EVERY
    if kind in _TEXTS:
        return _text(column, q, target)
    find = _FINDERS.get(kind)
    return find(column, q, target) if find else EVERY


def _number(column: ColumnPlan, q: str, target: Target) -> str:
    if target.base in ("boolean", "bit"):
        return ""
    if column.source.data_type == "bit":
        width = column.source.length or column.source.precision or 1
        low, high = 0, 2**width - 1
    else:
        low, high = source_range(column.source)
    bounds = target.integers if target.base != "numeric" else None
    if bounds and low <= bounds[0] and bounds[1] <= high and column.source.data_type != "year":
        return ""
    outside = [f"{q} < {low}", f"{q} > {high}"]
    if target.base == "numeric":
        outside.append(f"{q} <> trunc({q})")
    if column.source.data_type == "year":
        outside.append(f"{q} BETWEEN 1 AND 1900")
    return " OR ".join(outside)


def _decimal(column: ColumnPlan, q: str, target: Target) -> str:
    precision, scale = column.source.precision or 10, column.source.scale or 0
    outside = [f"abs({q}) >= 1e{precision - scale}"]
    if target.base == "numeric":
        outside.append(f"{q} <> round({q}, {scale})")
    if column.source.unsigned:
        outside.append(f"{q} < 0")
    return " OR ".join(outside)


def _float(column: ColumnPlan, q: str, target: Target) -> str:
    single = column.source.data_type == "float"
    if "(" in column.source.column_type or (single and target.base != "real"):
        return EVERY
    negative = [f"{q} < 0"] if column.source.unsigned else []
    return " OR ".join([f"{q} IN ('NaN', 'Infinity', '-Infinity')", *negative])


def _date(_: ColumnPlan, q: str, __: Target) -> str:
    return f"{q} < '0001-01-01' OR {q} > '9999-12-31'"


def _moment(column: ColumnPlan, q: str, target: Target) -> str:
    if Moments(column).zone:
        return EVERY
    zone = "+00" if target.base == "timestamptz" else ""
    first, end = "0001-01-01", "10000-01-01"
    if column.source.data_type == "timestamp":
        first, end = "1970-01-01 00:00:01", "2038-01-19 03:14:08"
    outside = f"{q} < '{first}{zone}' OR {q} >= '{end}{zone}'"
    return f"{outside}{_fraction(column, q, target)}"


def _time(column: ColumnPlan, q: str, target: Target) -> str:
    if target.base == "time":
        return f"{q} = '24:00'{_fraction(column, q, target)}"
    days = f"extract(day FROM {q}) <> 0 OR extract(month FROM {q}) <> 0"
    far = f"extract(year FROM {q}) <> 0 OR abs(extract(epoch FROM {q})) > 3020399"
    return f"{days} OR {far}{_fraction(column, q, target)}"


def _fraction(column: ColumnPlan, q: str, target: Target) -> str:
    """Digits of a second that the source's column does not have."""
    if (target.args or (6,))[0] <= column.source.fsp:
        return ""
    step = 10 ** (6 - column.source.fsp)
    return f" OR mod(extract(microseconds FROM {q})::numeric, {step}) <> 0"


def _text(column: ColumnPlan, q: str, target: Target) -> str:
    source, charset = column.source, charset_of(column.source)
    outside = []
    if source.data_type in ("char", "varchar"):
        most = source.length or 0
        if target.limit is None or target.limit > most:
            outside.append(f"char_length({q}) > {most}")
    elif MOST_BYTES[source.data_type] < MOST_BYTES["longtext"]:
        most = MOST_BYTES[source.data_type]
        # A character takes four bytes at most in other sets, and one at least here.
        outside.append(f"octet_length({q}) > {most if charset in UTF8 else most // 4}")
    if source.data_type == "char":
        outside.append(f"right({q}, 1) = ' '")
    if charset != "utf8mb4":
        outside.append(f"octet_length({q}) <> char_length({q})")
    if charset == "swe7":
        return EVERY
    return " OR ".join(outside)


def _bytes(column: ColumnPlan, q: str, target: Target) -> str:
    if target.base == "uuid":
        return ""
    most = MOST_BYTES.get(column.source.data_type) or column.source.length or 0
    operator = "<>" if column.source.data_type == "binary" else ">"
    return f"octet_length({q}) {operator} {most}"


def _enum(column: ColumnPlan, q: str, _: Target) -> str:
    labels = ", ".join(map(literal_postgres, ("", *column.source.labels)))
    return f"{q} NOT IN ({labels})"


def _set(column: ColumnPlan, q: str, _: Target) -> str:
    labels = ", ".join(map(literal_postgres, column.source.labels))
    return f"cardinality({q}) > 1 OR NOT {q} <@ ARRAY[{labels}]"


def _document(column: ColumnPlan, q: str, target: Target) -> str:
    text = f"{q}::text"
    deep = f"length({text}) - length(translate({text}, '[{{', '')) > 31"
    if column.source.flavor == "mariadb":
        plain = charset_of(column.source) == "utf8mb4"
        return deep if plain else f"{deep} OR octet_length({text}) <> char_length({text})"
    if target.base != "jsonb":
        return EVERY
    return f"{deep} OR octet_length({text}) > 65535 OR {text} ~ '[0-9][0-9.]{{15}}|[0-9.][eE]'"


_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
_BINARIES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_FINDERS = {
    **dict.fromkeys(
        ("tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"), _number
    ),
    "decimal": _decimal, "float": _float, "double": _float, "date": _date,
    "datetime": _moment, "timestamp": _moment, "time": _time,
    **dict.fromkeys(_BINARIES, _bytes),
    "enum": _enum, "set": _set, "json": _document,
}  # fmt: skip
_NOT_TEXT = frozenset(_FINDERS) - {"enum"}
