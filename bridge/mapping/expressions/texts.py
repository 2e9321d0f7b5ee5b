"""Texts: put together, cut, measured, compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction

from bridge.mapping.expressions.values import UTF8, Untranslatable, Value, number, of_number
from bridge.names import literal_postgres

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?: \d\d:\d\d:\d\d(?:\.\d{1,6})?)?")


def concatenate(values: Sequence[Value]) -> Value:
    """CONCAT: NULL if one part is NULL, as || is."""
    parts = [_printed(value) for value in values]
    sql = " || ".join(part.sql for part in parts)
    return Value(
        f"({sql})",
        "text",
        chars=sum(part.chars for part in parts),
        charsets=frozenset().union(*(part.charsets for part in parts)),
        exact=all(part.exact for part in parts),
    )


def _printed(value: Value) -> Value:
    """The value as MySQL prints it into a text."""
    if value.kind == "text":
        _text(value)
        return value
    value = number(value)
    if not value.printed:
        raise Untranslatable("a number that the two databases may print differently")
    digits = max(len(str(int(value.low))), len(str(int(value.high)))) + value.scale + 2
    return Value(f"{value.sql}::text", "text", chars=digits, exact=value.exact)


def as_utf8mb4(value: Value) -> Value:
    """CONVERT(text USING utf8mb4), which MariaDB writes where charsets meet."""
    _text(value)
    return replace(value, charsets=frozenset({"utf8mb4"}), source=None)


def cut(value: Value, length: Value) -> Value:
    """CAST(text AS CHAR(n)), which warns where it cuts."""
    part = beginning(value, length)
    return replace(part, exact=part.exact and value.chars <= length.high)


def change_case(function: str, value: Value) -> Value:
    """LOWER and UPPER; the databases agree on ASCII alone."""
    _text(value)
    ascii_only = value.charsets <= {"ascii"}
    return Value(
        f"{function}({value.sql})",
        "text",
        chars=value.chars,
        charsets=value.charsets,
        exact=value.exact and ascii_only,
    )


def characters(value: Value) -> Value:
    """CHAR_LENGTH."""
    _text(value)
    return _length(f"char_length({value.sql})", value, value.chars)


def octets(value: Value) -> Value:
    """LENGTH, the number of bytes in the column's own charset."""
    _utf8(value)
    return _length(f"octet_length({value.sql})", value, value.chars * 4)


def _length(sql: str, value: Value, most: int) -> Value:
    return Value(sql, "int", Fraction(0), Fraction(most), exact=value.exact, printed=True)


def md5(value: Value) -> Value:
    """MD5 of the bytes in the column's own charset."""
    _utf8(value)
    return Value(f"md5({value.sql})", "text", chars=32, exact=value.exact)


def beginning(value: Value, length: Value) -> Value:
    """LEFT(text, constant)."""
    return substring(value, of_number("1"), length)


def substring(value: Value, start: Value, length: Value) -> Value:
    """SUBSTRING(text, constant, constant), the start counted from 1."""
    _text(value)
    for part in (start, length):
        if part.kind != "int" or part.low != part.high:
            raise Untranslatable("a part of a text that depends on the row")
    if start.low < 1 or length.low < 0:
        raise Untranslatable("a part of a text counted from its end")
    sql = f"substr({value.sql}, {start.sql}, {length.sql})"
    chars = min(value.chars, int(length.high))
    return Value(sql, "text", chars=chars, charsets=value.charsets, exact=value.exact)


def compare(operator: str, a: Value, b: Value) -> Value:
    """Equality of texts, where letters and spaces mean themselves."""
    if operator not in ("=", "<>", "IS NOT DISTINCT FROM"):
        raise Untranslatable("texts are sorted differently")
    if not (_literally(a, b) or _literally(b, a)):
        raise Untranslatable("the source compares this text without regard to case or end spaces")
    return Value(f"({a.sql} {operator} {b.sql})", "bool", exact=a.exact and b.exact)


def _literally(a: Value, b: Value) -> bool:
    """Whether equality of column `a` and `b` is that of their characters."""
    column = a.source
    if column is None:
        return False
    if b.text is not None:
        if column.data_type == "enum":
            return b.text in column.labels
        if column.data_type == "char" and (column.collation or "").endswith("_bin"):
            return not b.text.endswith(" ")
    elif b.source is None or b.source.collation != column.collation:
        return False
    # The only collations that neither fold case nor pad with spaces.
    return (column.collation or "").endswith(("_0900_bin", "_nopad_bin"))


def moment(value: Value, kind: str) -> Value:
    """A text constant that is compared with a date or datetime."""
    text = value.text
    if text is None or not _MOMENT.fullmatch(text):
        raise Untranslatable("a time compared with something else")
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise Untranslatable(f"{text} is no date that the calendar has") from None
    if kind == "date" and len(text) > len("2000-01-01"):
        raise Untranslatable("a date compared with a time")
    name = "date" if kind == "date" else "timestamp"
    return Value(f"{name} {literal_postgres(text)}", "date" if kind == "date" else "datetime")


def _text(value: Value) -> None:
    if value.kind != "text":
        raise Untranslatable("a text function of something that is no text")
    if value.source is not None and value.source.data_type == "char":
        raise Untranslatable("the spaces at the end of a char column depend on sql_mode")


def _utf8(value: Value) -> None:
    _text(value)
    if not value.charsets <= UTF8:
        raise Untranslatable(f"bytes of {', '.join(sorted(value.charsets))} differ from UTF-8's")
