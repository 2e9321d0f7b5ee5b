"""Conditions that find one row of the source by its key as the target knows it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bridge.capture.rowsql import family
from bridge.mapping.plan import TablePlan
from bridge.names import quote_mysql
from bridge.types.base import ColumnPlan, Policy

_NUMBERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal"})
_STRINGS = frozenset({"char", "varchar"})
_BYTES = frozenset({"binary", "varbinary"})
_MOMENTS = frozenset({"date", "datetime", "timestamp"})
_CHARSETS = frozenset({"utf8mb4", "utf8mb3", "utf8", "latin1"})
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_MOMENT = re.compile(rb"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d{1,6})?)?")
_BINARY = re.compile(rb"\\x((?:[0-9A-F]{2})*)")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_LETTERS = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}


def key_condition(plan: TablePlan, key: bytes) -> str:
    """MySQL condition for the row whose key has this COPY text.

    What decides is that the key's columns print as this very text. Beside it stands what an index
    can find, where the column's values turn back into constants; elsewhere the table is scanned.
    """
    conditions = []
    for column, text in _fields(plan, key):
        equal = _equal(column, text)
        conditions += [equal] if equal else []
        conditions.append(_printed(column, text))
    return " AND ".join(conditions)


def equal_condition(plan: TablePlan, key: bytes) -> str:
    """The same for the row whose key the source takes for equal: ``abc`` for ``ABC``, 0 for -0.

    A column whose values do not turn back into constants must print as the text all the same.
    """
    return " AND ".join(
        _equal(column, text) or _printed(column, text) for column, text in _fields(plan, key)
    )


def _fields(plan: TablePlan, key: bytes) -> Iterable[tuple[ColumnPlan, bytes]]:
    return zip(plan.key_columns, key.split(b"\t"), strict=True)


def _equal(column: ColumnPlan, text: bytes) -> str:
    found = _constant(column, _unescaped(text))
    return f"{quote_mysql(column.source.name)} = {found}" if found else ""


def _printed(column: ColumnPlan, text: bytes) -> str:
    printed = family(column).copy_text(column, quote_mysql(column.source.name))
    return f"CAST({printed} AS BINARY) = x'{text.hex()}'"


def _constant(column: ColumnPlan, text: bytes) -> str:
    """A MySQL constant that every value printed as this text is equal to; '' if none is known."""
    if column.policy not in (Policy(), Policy(mask=True)):
        return ""
    kind = column.source.data_type
    if kind in _NUMBERS and _NUMBER.fullmatch(text):
        return text.decode()
    if (kind in _MOMENTS and _MOMENT.fullmatch(text)) or (
        kind in _STRINGS and column.source.charset in _CHARSETS
    ):
        return f"_utf8mb4 x'{text.hex()}'"
    match = _BINARY.fullmatch(text) if kind in _BYTES else None
    return f"x'{match[1].decode()}'" if match else ""


def _unescaped(text: bytes) -> bytes:
    return _ESCAPED.sub(lambda match: _LETTERS.get(match[1], match[1]), text)
