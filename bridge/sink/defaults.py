"""Defaults of columns in PostgreSQL's words, where they are certain to mean the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime

from bridge.mapping.expressions import Untranslatable, constant
from bridge.names import literal_postgres
from bridge.types.base import ColumnPlan, SourceColumn
from bridge.types.target import target_of

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_INTEGER = re.compile(r"-?\d+")
_BITS = re.compile(r"b'([01]*)'")
_TIME = re.compile(r"-?\d{1,3}:\d\d:\d\d(?:\.\d{1,6})?")
_NOW = re.compile(r"CURRENT_TIMESTAMP(?:\((\d)\))?")
_TODAY = re.compile(r"\(?(?:curdate\(\)|current_date(?:\(\))?)\)?", re.IGNORECASE)
_UUID = re.compile(r"\(?uuid\(\)\)?", re.IGNORECASE)
_BMP = frozenset({"ascii", "latin1", "latin2", "utf8", "utf8mb3", "ucs2", "cp1251", "koi8r"})
"""Charsets without characters that the catalogue would print as question marks."""


def default(plan: ColumnPlan) -> str:
    """The column's DEFAULT expression, '' if it has none; raises Untranslatable, which says why."""
    source = plan.source
    if source.default is None or source.generated or source.auto_increment:
        return ""
    if source.default_is_expression:
        return _expression(plan, source.default)
    base = target_of(plan).base
    convert = _LITERALS.get(base)
    if convert is None:
        raise Untranslatable(f"a constant for the target type {plan.target_type}")
    return convert(plan, source.default)


def now(plan: ColumnPlan, digits: int) -> str:
    """The time of the statement as MySQL gives it: cut to `digits` of a second, not rounded.

    A column without zone gets the wall clock of the session's zone in both databases; a datetime
    that the mapping puts into a zone gets the instant. Raises Untranslatable for other targets.
    """
    clock = {
        "timestamptz": "statement_timestamp()",
        "timestamp": "statement_timestamp()::timestamp",
    }
    base = target_of(plan).base
    if base not in clock or (base == "timestamp" and plan.source.data_type != "datetime"):
        raise Untranslatable(f"the time of a statement for the target type {plan.target_type}")
    unit = {0: "second", 3: "milliseconds", 6: ""}.get(digits)
    if unit == "":
        return clock[base]
    if unit is not None:
        return f"date_trunc('{unit}', {clock[base]})"
    step = f"interval '{10**-digits:.6f} seconds'"
    return f"date_bin({step}, {clock[base]}, {base} '2000-01-01')"


def _expression(plan: ColumnPlan, text: str) -> str:
    base = target_of(plan).base
    match = _NOW.fullmatch(text)
    if match:
        return now(plan, int(match[1] or 0))
    if _TODAY.fullmatch(text) and base == "date":
        return "CURRENT_DATE"
    if _UUID.fullmatch(text) and base in ("text", "varchar"):
        return "gen_random_uuid()::text"
    return constant(plan)


def _number(_plan: ColumnPlan, text: str) -> str:
    if not _NUMBER.fullmatch(text):
        raise Untranslatable(f"{text!r} is no number")
    return text


def _integer(plan: ColumnPlan, text: str) -> str:
    bounds = target_of(plan).integers
    if not _INTEGER.fullmatch(text) or (bounds and not bounds[0] <= int(text) <= bounds[1]):
        raise Untranslatable(f"{text!r} is no {plan.target_type}")
    return text


def _boolean(_plan: ColumnPlan, text: str) -> str:
    bits = _BITS.fullmatch(text)
    value = str(int(bits[1], 2)) if bits else text
    if value not in ("0", "1"):
        raise Untranslatable(f"{text} is no truth value")
    return "true" if value == "1" else "false"


def _bits(plan: ColumnPlan, text: str) -> str:
    match = _BITS.fullmatch(text)
    if not match:
        raise Untranslatable(f"{text} is no bit string")
    return f"B'{match[1].zfill(plan.source.length or 1)}'"


def readable(source: SourceColumn, text: str) -> bool:
    """Whether the catalogue can print every character of the column's charset."""
    return "?" not in text or source.charset in _BMP


def _text(plan: ColumnPlan, text: str) -> str:
    if "\0" in text or not readable(plan.source, text):
        raise Untranslatable("it may hold characters that the catalogue or the target cannot hold")
    if plan.source.data_type in ("binary", "varbinary", "bit"):
        raise Untranslatable("bytes are not printed faithfully by the catalogue")
    return literal_postgres(text)


def _document(plan: ColumnPlan, text: str) -> str:
    try:
        json.loads(text)
    except ValueError:
        raise Untranslatable(f"{text!r} is no JSON") from None
    return _text(plan, text)


def _members(plan: ColumnPlan, text: str) -> str:
    if not text:
        return "'{}'"
    return "ARRAY[" + ", ".join(_text(plan, label) for label in text.split(",")) + "]"


def _moment(plan: ColumnPlan, text: str) -> str:
    if plan.source.data_type not in ("date", "datetime"):
        # The catalogue prints it in a time zone of its own choice.
        raise Untranslatable("a constant point in time")
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise Untranslatable(f"{text} is no date that the calendar has") from None
    return literal_postgres(text)


def _time(plan: ColumnPlan, text: str) -> str:
    if not _TIME.fullmatch(text):
        raise Untranslatable(f"{text!r} is no time")
    hours = int(text.lstrip("-").partition(":")[0])
    if target_of(plan).base == "time" and (text.startswith("-") or hours >= 24):
        raise Untranslatable(f"{text} is no time of a day")
    return literal_postgres(text)


_LITERALS: Mapping[str, Callable[[ColumnPlan, str], str]] = {
    "smallint": _integer,
    "integer": _integer,
    "bigint": _integer,
    "numeric": _number,
    "real": _number,
    "double precision": _number,
    "boolean": _boolean,
    "bit": _bits,
    "text": _text,
    "varchar": _text,
    "citext": _text,
    "json": _document,
    "jsonb": _document,
    "text[]": _members,
    "date": _moment,
    "timestamp": _moment,
    "interval": _time,
    "time": _time,
}
