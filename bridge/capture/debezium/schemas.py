"""The schema that an event carries, compared with the table that the plan knows (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from bridge.capture.debezium.rowcode import Column
from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan
from bridge.types.events import schema_type

_DECIMAL = "org.apache.kafka.connect.data.Decimal"


class _Type(Struct, gc=False):
    """A field of an embedded schema, or the whole."""

    type: str
    name: str | None = None
    field: str = ""
    fields: list[_Type] = []
    parameters: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        scale = (self.parameters or {}).get("scale", "") if self.name == _DECIMAL else ""
        return schema_type(self.type, self.name or "", str(scale))


class _Head(Struct, gc=False):
    schema: _Type


_HEAD = msgspec.json.Decoder(_Head)


def check_schema(plan: TablePlan, columns: Sequence[Column], head: bytes) -> None:
    """Raises TableStopped('definition-changed') if rows have other columns or types than known.

    `head` is a message up to its payload. Raises msgspec's errors if there is no schema in it.
    """
    found = _HEAD.decode(head + b"null}").schema
    rows = next((field for field in found.fields if field.field == "after"), None)
    check_names(plan, None if rows is None else [field.field for field in rows.fields])
    types = {field.field: field.text for field in rows.fields} if rows is not None else {}
    for column in columns:
        name = column.plan.source.name
        if types[name] not in column.value.schemas:
            expected = " or ".join(sorted(column.value.schemas))
            raise changed(plan, f"column {name} is sent as {types[name]}, expected is {expected}")


def check_names(plan: TablePlan, names: Sequence[str] | None) -> None:
    """Raises TableStopped('definition-changed') for other columns than the plan knows.

    Only columns that are not carried may be missing.
    """
    known = {column.name for column in plan.table.columns}
    carried = {column.source.name for column in plan.columns}
    found = set(names or ())
    if missing := sorted(carried - found):
        raise changed(plan, f"its events lack {', '.join(missing)}")
    if more := sorted(found - known):
        raise changed(plan, f"its events have more columns: {', '.join(more)}")


def changed(plan: TablePlan, what: str) -> TableStopped:
    """The error for a table whose definition is not the one that is known."""
    return TableStopped(
        f"{plan.source}: the definition has changed, or the connector's settings have: {what}",
        "bring the mapping up to date with dbbridge init, compare the connector's settings, then:"
        f" dbbridge tables resync {plan.source.word}",
        code="definition-changed",
    )
