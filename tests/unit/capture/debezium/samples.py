"""Tables and events made by hand, in the form of Debezium 3.6.1."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.types.base import ColumnPlan, Policy, SourceColumn
from bridge.types.table import SourceTable
from tests.unit.types.columns import column

GTID = "24bc7850-2c16-11e6-a073-0242ac110002:17"
PLACE = ("shop.shop.orders", 2, 41)
AT = "shop.shop.orders[2]:41"
Spec = tuple[str, str, str]
"""A column's name, its type (with NOT NULL where it may not be null), and its target type."""


def table(
    specs: Sequence[Spec],
    key: int = 1,
    policies: dict[str, Policy] | None = None,
    dropped: Sequence[str] = (),
    **more: Any,
) -> TablePlan:
    """A plan of shop.orders; the `dropped` columns are of the source alone."""
    sources = tuple(_source(spec, place, more) for place, spec in enumerate(specs, 1))
    plans = tuple(
        ColumnPlan(source, name, target, policy=(policies or {}).get(name, Policy()))
        for source, (name, _, target) in zip(sources, specs, strict=True)
        if name not in dropped
    )
    keys = tuple(source.name for source in sources[:key])
    made = SourceTable(TableName("shop", "orders"), "mysql", "InnoDB", sources, keys)
    return TablePlan(made, TableName("public", "orders"), plans, key, "v1")


def _source(spec: Spec, place: int, more: dict[str, Any]) -> SourceColumn:
    name, kind, _ = spec
    bare = kind.removesuffix(" NOT NULL")
    return replace(column(bare), name=name, ordinal=place, nullable=bare == kind, **more)


def source(**more: Any) -> dict[str, Any]:
    """The block ``source`` of a change that was logged."""
    return {
        "version": "3.6.1.Final", "connector": "mysql", "name": "shop", "ts_ms": 1700000000000,
        "snapshot": "false", "db": "shop", "sequence": None, "ts_us": 1700000000000000,
        "ts_ns": 1700000000000000000, "table": "orders", "server_id": 223344, "gtid": GTID,
        "file": "binlog.000003", "pos": 484, "row": 0, "thread": 7, "query": None, **more,
    }  # fmt: skip


def event(op: str, before: Any, after: Any, **more: Any) -> dict[str, Any]:
    """A change event; `more` goes into its source."""
    return {
        "before": before, "after": after, "source": source(**more), "transaction": None,
        "op": op, "ts_ms": 1700000000123, "ts_us": 1700000000123456, "ts_ns": 1700000000123456789,
    }  # fmt: skip


def encoded(message: Any, schema: Any = None) -> bytes:
    """As Connect's JsonConverter writes it."""
    if schema is not None:
        message = {"schema": schema, "payload": message}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def schema(fields: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """An envelope's schema; the fields are (column, type as `schema_type` writes it)."""
    row = [_field(name, kind) for name, kind in fields]
    blocks = [
        {"type": "struct", "fields": row, "optional": True, "name": "V", "field": block}
        for block in ("before", "after")
    ]
    rest = {"type": "string", "optional": False, "field": "op"}
    return {"type": "struct", "fields": [*blocks, rest], "optional": False, "name": "E"}


def _field(name: str, kind: str) -> dict[str, Any]:
    kind, _, rest = kind.partition(":")
    logical, _, scale = rest.rstrip(")").partition("(")
    said: dict[str, Any] = {"type": kind, "optional": True, "default": 'a,"payload":1'}
    if logical:
        said |= {"name": logical, "version": 1}
    if scale:
        said["parameters"] = {"scale": scale, "connect.decimal.precision": "10"}
    return {**said, "field": name}
