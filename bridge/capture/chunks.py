"""Chunks of a table: ranges of its key, in the source's own order.

A bound is the key of a row that was there when the chunk was planned; a chunk holds the keys after
`lower` up to and with `upper`, whatever is inserted or deleted meanwhile. Ranges neither overlap
nor leave gaps, because they compare as the key's index sorts: text in the column's own collation,
ENUM and SET by number, floating-point numbers exactly. (No optimizer finds a range in a SET: where
one is the first column of a key, each chunk scans the table.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pymysql

from bridge.capture.explain import explained
from bridge.capture.resultset import read_rows
from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan
from bridge.names import quote_mysql
from bridge.types.base import SourceColumn

Bound = tuple[bytes, ...]
"""The key of a row, a part for each column of the key's index, in the index's order: numbers as
digits, dates and times as text, text as bytes of the column's character set, binary as it is."""

Kind = Literal["number", "float", "text", "string", "bytes"]

_NUMBERS = frozenset(
    {"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year", "bit", "enum", "set"}
)
_FLOATS = frozenset({"float", "double"})
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_COUNTED = frozenset({"enum", "set", "bit"})
_DIGITS = re.compile(rb"-?\d+(\.\d+)?")
_FLOAT = re.compile(rb"-?\d+(\.\d+)?(e[-+]?\d+)?")
_CHARSET = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class KeyIndex:
    """The index that holds a table's key: its columns in order, its name ('' if none is known)."""

    columns: tuple[SourceColumn, ...]
    name: str

    @property
    def hint(self) -> str:
        """What makes the optimizer walk it, for behind the table's name."""
        return f" FORCE INDEX ({quote_mysql(self.name)})" if self.name else ""


def key_index(plan: TablePlan) -> KeyIndex:
    """The primary key, or the unique index over exactly the plan's key columns."""
    columns = {column.source.name: column.source for column in plan.key_columns}
    if plan.table.primary_key and set(plan.table.primary_key) == set(columns):
        return KeyIndex(tuple(columns[name] for name in plan.table.primary_key), "PRIMARY")
    for index in plan.table.indexes:
        names = [part.column for part in index.parts]
        if index.unique and index.kind == "BTREE" and sorted(names) == sorted(columns):
            return KeyIndex(tuple(columns[name] for name in names), index.name)
    return KeyIndex(tuple(columns.values()), "")


def next_bound(
    conn: pymysql.Connection[Any], plan: TablePlan, lower: Bound | None, rows: int
) -> Bound | None:
    """The key of the row that is `rows` rows after `lower` (None: after nothing).

    None where fewer follow: the chunk after `lower` is then the last and has no upper bound. The
    plan's row filter is left aside, so that the walk reads the index alone. Raises TableStopped
    (``bad-key``, ``definition-changed``) and pymysql's errors.
    """
    index = key_index(plan)
    names = [quote_mysql(column.name) for column in index.columns]
    fetched = ", ".join(_fetch(column) for column in index.columns)
    where = chunk_condition(plan, lower, None)
    query = (
        f"SELECT {fetched} FROM {plan.source.mysql}{index.hint}"
        + (f" WHERE {where}" if where else "")
        + f" ORDER BY {', '.join(names)} LIMIT 1 OFFSET {rows - 1}"
    )
    with explained(plan):
        found = list(read_rows(conn, query))
        return tuple(map(_stored, index.columns, found[0])) if found else None


def chunk_condition(plan: TablePlan, lower: Bound | None, upper: Bound | None) -> str:
    """MySQL condition: the key lies after `lower` and not after `upper`; '' if neither is given."""
    columns = key_index(plan).columns
    conditions = []
    if lower is not None:
        conditions.append(_beyond(columns, lower, ">", ""))
    if upper is not None:
        conditions.append(_beyond(columns, upper, "<", "="))
    return " AND ".join(conditions)


def chunk_name(lower: Bound | None, upper: Bound | None) -> str:
    """The chunk as a person reads it: ``copy after (1000) to (2000)``."""
    after = f" after {_shown(lower)}" if lower is not None else ""
    return f"copy{after} to {_shown(upper) if upper is not None else 'the end'}"


def _beyond(columns: Sequence[SourceColumn], bound: Bound, sign: str, equal: str) -> str:
    """The key lies beyond the bound (`sign` > or <), or `equal` to it.

    A row comparison would say the same, but optimizers do not use an index for it; nor for
    ``a > 1 OR (a = 1 AND b > 2)`` unless ``a >= 1`` stands beside it.
    """
    column, value = columns[0], bound[0]
    name = quote_mysql(column.name)
    same = f"{name} = {literal(column, value)}"
    more = _more(column, value, sign)
    if len(columns) == 1:
        return _or(more, same) if equal else more
    deeper = f"({same} AND {_beyond(columns[1:], bound[1:], sign, equal)})"
    if column.data_type == "enum":
        return _or(more, deeper)
    return f"({name} {sign}= {literal(column, value)} AND {_or(more, deeper)})"


def _more(column: SourceColumn, value: bytes, sign: str) -> str:
    """The one column lies strictly beyond the value.

    Optimizers find no range in an ENUM, but do look up its numbers one by one; number 0 is the
    empty string that MySQL puts where a value was wrong.
    """
    name = quote_mysql(column.name)
    if column.data_type != "enum":
        return f"{name} {sign} {literal(column, value)}"
    number = int(value)
    numbers = range(number + 1, len(column.labels) + 1) if sign == ">" else range(number)
    return f"{name} IN ({', '.join(map(str, numbers))})" if numbers else "FALSE"


def _or(one: str, other: str) -> str:
    return f"({one} OR {other})"


def literal(column: SourceColumn, value: bytes) -> str:
    """The part of a bound as a MySQL constant of the column's kind; raises ValueError.

    Constants with a character set take the column's collation when compared with it.
    """
    kind = kind_of(column)
    if kind == "number":
        return _checked(_DIGITS, value)
    if kind == "float":
        text = _checked(_FLOAT, value)
        return text if "e" in text else text + "e0"
    if kind == "bytes":
        return f"x'{value.hex()}'"
    charset = _introducer(column) if kind == "string" else "utf8mb4"
    return f"_{charset} x'{value.hex()}'"


def kind_of(column: SourceColumn) -> Kind:
    """How the column's values are written in bounds and constants."""
    if column.data_type in _NUMBERS:
        return "number"
    if column.data_type in _FLOATS:
        return "float"
    if column.data_type in _BYTES:
        return "bytes"
    return "string" if column.charset else "text"


def _fetch(column: SourceColumn) -> str:
    name = quote_mysql(column.name)
    kind = kind_of(column)
    if column.data_type in _COUNTED:
        return f"CAST({name} AS UNSIGNED)"
    if kind == "float":
        # A FLOAT's own text has six digits; as a double it has all.
        return f"{name} * 1e0"
    if kind in ("string", "bytes"):
        return f"HEX({name})"
    return f"{name} + 0" if column.data_type == "year" else name


def _stored(column: SourceColumn, value: bytes | None) -> bytes:
    if value is None:
        raise TableStopped(
            f"{column.name} is part of the key and NULL in a row",
            "a key's columns must be NOT NULL: choose another key in the mapping file",
            code="bad-key",
        )
    return bytes.fromhex(value.decode()) if kind_of(column) in ("string", "bytes") else value


def _introducer(column: SourceColumn) -> str:
    charset = column.charset or ""
    if charset in ("utf8", "utf8mb3"):
        # The same bytes; the old names are deprecated, or not known yet.
        return "utf8mb4"
    if not _CHARSET.fullmatch(charset):
        raise ValueError(f"{charset} is not a character set")
    return charset


def _checked(pattern: re.Pattern[bytes], value: bytes) -> str:
    if not pattern.fullmatch(value):
        raise ValueError(f"{value!r} is not a number")
    return value.decode()


def _shown(bound: Bound) -> str:
    parts = (part[:40].decode("utf-8", "backslashreplace") for part in bound)
    return f"({', '.join(parts)})"
