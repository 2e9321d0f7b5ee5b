"""Values in JSON, and as the drivers of both sides take and give them, without loss.

What decides is the column of the source, so that a row reads alike from either side.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from bridge.types.base import ColumnPlan

_INTEGER = re.compile(r"[+-]?\d{1,65}")
_DECIMAL = re.compile(r"[+-]?(\d{1,65}(\.\d{0,38})?|\.\d{1,38})")
_TIME = re.compile(r"-?\d{1,3}:[0-5]\d:[0-5]\d(\.\d{1,6})?")
INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"})
_WIDE = frozenset({"bigint", "bit"})
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})


class Unfit(ValueError):
    """A JSON value that the column cannot take; the text says what it takes."""


def parse(column: ColumnPlan, value: Any) -> Any:
    """A JSON value as Python has it, for either side; raises Unfit."""
    if value is None:
        return None
    parser: Callable[[Any], Any] = _PARSERS.get(_kind(column), _text)
    return parser(value)


def for_source(_: ColumnPlan, value: Any) -> Any:
    """What `parse` gave, as PyMySQL takes it in a session in UTC."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return ",".join(value) if isinstance(value, list) else value


def for_target(column: ColumnPlan, value: Any) -> Any:
    """What `parse` gave, as psycopg takes it for the column of the target."""
    kind = column.target_type
    if value is None:
        return None
    if isinstance(value, datetime):
        zoned = kind.startswith("timestamptz")
        if value.tzinfo is not None:
            return value if zoned else value.astimezone(UTC).replace(tzinfo=None)
        return value.replace(tzinfo=ZoneInfo(column.policy.zone or "UTC")) if zoned else value
    if kind == "boolean":
        return bool(value)
    if kind.startswith("bit(") and isinstance(value, int):
        return format(value, f"0{kind[4:-1]}b")
    if kind == "uuid" and isinstance(value, bytes):
        return UUID(bytes=value) if len(value) == 16 else value
    return ",".join(value) if isinstance(value, list) and kind != "text[]" else value


def shown(column: ColumnPlan, value: Any) -> Any:
    """A value that either driver gave, as JSON."""
    if value is None:
        return None
    kind = _kind(column)
    if kind in INTEGERS:
        number = _integer_of(value)
        return str(number) if kind in _WIDE else number
    if kind == "decimal":
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    if kind in ("float", "double"):
        double = float(value)
        return double if math.isfinite(double) else str(double)
    if isinstance(value, datetime):
        return _moment(column, value)
    if isinstance(value, timedelta | time):
        return _clock(column, value)
    if kind in _BYTES:
        raw = value.bytes if isinstance(value, UUID) else value
        return base64.b64encode(raw).decode()
    if kind == "json":
        return json.loads(value) if isinstance(value, str | bytes) else value
    if kind == "set":
        return value if isinstance(value, list) else [each for each in value.split(",") if each]
    return value.isoformat() if isinstance(value, date) else str(value)


def exact_json(body: bytes) -> Any:
    """The document, its fractions as Decimal; raises ValueError for what is no proper JSON."""
    # Decoded here, since json.loads takes halves of surrogate pairs in bytes.
    found = json.loads(body.decode(), parse_float=Decimal, parse_constant=_no_number)
    if b"\\u" in body:
        json.dumps(found, ensure_ascii=False, default=str).encode()  # half a surrogate pair
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _kind(column: ColumnPlan) -> str:
    return column.source.data_type


# -- from JSON -----------------------------------------------------------------------------------


def _integer(value: Any) -> int:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise Unfit("a whole number, or its digits as a string")


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool):
        raise Unfit("a number")
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < 66:
        return value
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return Decimal(value)
    raise Unfit("a number, or its digits as a string")


def _double(value: Any) -> float:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise Unfit("a number within a double's range")


def _date(value: Any) -> date:
    if isinstance(value, str) and len(value) == 10:
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise Unfit("a date like 2026-01-31")


def _datetime(value: Any) -> datetime:
    found = _iso(value)
    if found is None or found.tzinfo is not None:
        raise Unfit("a time without a zone, like 2026-01-31T10:00:00")
    return found


def _timestamp(value: Any) -> datetime:
    found = _iso(value)
    if found is None or found.tzinfo is None:
        raise Unfit("a time with its zone, like 2026-01-31T10:00:00Z")
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise Unfit("a time between the years 1 and 9999") from None


def _iso(value: Any) -> datetime | None:
    if not isinstance(value, str) or len(value) < 16:
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def _span(value: Any) -> str:
    if isinstance(value, str) and _TIME.fullmatch(value):
        return value
    raise Unfit("a time like 10:00:00 or -838:59:59.5")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise Unfit("a string")


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise Unfit("bytes in base64")


def _set(value: Any) -> list[str]:
    if isinstance(value, list) and all(isinstance(v, str) and "," not in v for v in value):
        return value
    raise Unfit("an array of labels")


def _document(value: Any) -> str:
    return json.dumps(value, default=float)


_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(INTEGERS, _integer),
    **dict.fromkeys(_BYTES, _bytes),
    "decimal": _decimal,
    "float": _double,
    "double": _double,
    "date": _date,
    "datetime": _datetime,
    "timestamp": _timestamp,
    "time": _span,
    "set": _set,
    "json": _document,
}

# -- to JSON -------------------------------------------------------------------------------------


def _integer_of(value: Any) -> int:
    if isinstance(value, bytes):
        return int.from_bytes(value, "big")
    return int(value, 2) if isinstance(value, str) else int(value)


def _moment(column: ColumnPlan, value: datetime) -> str:
    zoned = _kind(column) == "timestamp"
    if value.tzinfo is not None:
        zone = UTC if zoned else ZoneInfo(column.policy.zone or "UTC")
        value = value.astimezone(zone).replace(tzinfo=None)
    digits = column.source.fsp
    text = value.isoformat(timespec="microseconds")
    return text[: 20 + digits if digits else 19] + ("Z" if zoned else "")


def _clock(column: ColumnPlan, value: timedelta | time) -> str:
    if isinstance(value, time):
        value = timedelta(
            hours=value.hour,
            minutes=value.minute,
            seconds=value.second,
            microseconds=value.microsecond,
        )
    micros = value // timedelta(microseconds=1)
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    seconds, fraction = divmod(micros, 1_000_000)
    text = f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    digits = column.source.fsp
    return f"{text}.{fraction:06}"[: len(text) + 1 + digits] if digits else text
