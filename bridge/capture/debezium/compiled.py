"""The compiled reader of a table's events, where it was built and the table's names allow it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Raw

from bridge.capture.debezium.rowcode import Column, converter, plain
from bridge.mapping.plan import TablePlan
from bridge.types.events import EventSettings

try:
    from bridge.capture.debezium._events import Reader
except ImportError:  # no compiler was there; all works without, nearly three times as slowly
    READER: type[Reader] | None = None
else:
    READER = Reader

MOST_BYTES = 1 << 20
"""Of an event that the reader takes: its buffers stay as large as the largest one wanted them."""
_KINDS: dict[object, str] = {int: "int", str: "str", bytes: "bytes", float: "float", bool: "bool"}


def reader_of(
    plan: TablePlan, columns: Sequence[Column], settings: EventSettings, limit: int
) -> Reader | None:
    """For events of at most `limit` bytes; None for a table without a key."""
    names = [plan.source.schema, plan.source.table, *(c.name for c in plan.table.columns)]
    if READER is None or not plan.key or not all(map(plain, names)):
        return None
    places = {column.plan.source.name: place for place, column in enumerate(columns)}
    return READER(
        plan.source.schema.encode(),
        plan.source.table.encode(),
        tuple(map(_column, columns)),
        plan.key,
        tuple((c.name.encode(), places.get(c.name, -1)) for c in plan.table.columns),
        b"" if settings.schemas else None,
        min(limit, MOST_BYTES),
    )


def _column(
    column: Column,
) -> tuple[str, int, int, str, bool, bytes | None, Callable[[Any], bytes]]:
    value = column.value
    missing = value.unavailable.encode() if isinstance(value.unavailable, str) else None
    convert = converter(value)
    if value.type is Raw:
        return (*value.form, "any", column.nullable, missing, lambda text: convert(Raw(text)))
    return (*value.form, _KINDS[value.type], column.nullable, missing, convert)
