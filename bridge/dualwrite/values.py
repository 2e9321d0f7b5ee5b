"""Keys in an application's Python values, as the COPY text that the stream knows them by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal, localcontext

from bridge.capture.rowsql import family
from bridge.errors import BadValue
from bridge.mapping.plan import TablePlan
from bridge.types.base import NULL, ColumnPlan

MOST_DIGITS = 100
"""More than MySQL's 65 before and 38 behind the point; Python's own 28 would refuse such a key."""
_CODECS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8", "utf8": "utf-8", "ascii": "ascii"}


def key_text(plan: TablePlan, values: Sequence[object]) -> bytes | None:
    """COPY text of a key; None where the values' form in the source is not known for sure.

    `values` are in the order of the plan's key columns.
    """
    fields = []
    for column, value in zip(plan.key_columns, values, strict=True):
        raw = _raw(column, value)
        if raw is None:
            return None
        try:
            text = family(column).from_raw(column, raw)
        except BadValue:
            return None
        if text == NULL:
            return None
        fields.append(text)
    return b"\t".join(fields)


def _raw(column: ColumnPlan, value: object) -> bytes | None:
    """The value as the source's server would print it."""
    source = column.source
    if isinstance(value, bool | int) and source.data_type.endswith("int"):
        return str(int(value)).encode()
    if isinstance(value, str) and source.data_type in ("char", "varchar"):
        codec = _CODECS.get(source.charset or "")
        return value.encode(codec) if codec and (codec != "ascii" or value.isascii()) else None
    if isinstance(value, bytes | bytearray) and source.data_type in ("binary", "varbinary"):
        padded = bytes(value).ljust(source.length or 0, b"\0")
        return padded if source.data_type == "binary" else bytes(value)
    if isinstance(value, Decimal | int) and source.data_type == "decimal":
        with localcontext(prec=MOST_DIGITS):
            scaled = Decimal(value).quantize(Decimal(1).scaleb(-(source.scale or 0)))
        return f"{scaled:f}".encode()
    if isinstance(value, datetime) and source.data_type == "datetime" and value.tzinfo is None:
        exact = value.microsecond % 10 ** (6 - source.fsp) == 0
        text = value.isoformat(" ", "microseconds")
        return text[: 20 + source.fsp if source.fsp else 19].encode() if exact else None
    if isinstance(value, date) and not isinstance(value, datetime) and source.data_type == "date":
        return value.isoformat().encode()
    return None
