"""How large an event may be, and which tables can have larger ones."""

from __future__ import annotations

from dataclasses import replace

from bridge.capture.findings.events import MAX_REQUEST_BYTES, Limit, limit_of, size_probes
from bridge.types.base import SourceColumn
from bridge.types.table import SourceTable
from tests.plans import plan


def of(
    override: str = "", worker: str = "", topic: str = "", compression: str = ""
) -> tuple[int, str]:
    """The limit, and the last word of whose it is."""
    config = {"producer.override.max.request.size": override} if override else {}
    told = {"producer.max.request.size": worker} if worker else {}
    if compression:
        told["producer.compression.type"] = compression
    found = limit_of(config, told, {"max.message.bytes": topic} if topic else None, schemas=False)
    return found.bytes, found.owner.rpartition(" ")[2]


def test_the_smaller_limit_counts() -> None:
    assert of() == (MAX_REQUEST_BYTES, "producer")
    assert of(override="5000000", worker="7") == (5_000_000, "producer")
    assert of(worker="5000000") == (5_000_000, "producer")
    assert of(override="5000000", topic="1048588") == (1_048_588, "topic")
    assert of(topic="1048588") == (MAX_REQUEST_BYTES, "producer")
    assert of(override="5000000", topic="1048588", compression="lz4") == (5_000_000, "producer")
    assert of(override="${env:SIZE}") == (MAX_REQUEST_BYTES, "producer")


def table(*columns: SourceColumn) -> SourceTable:
    return replace(plan("t", [("id", "int")]).table, columns=columns)


def probes(kind: str, length: int | None, **limit: bool) -> int:
    column = SourceColumn("c", 1, kind, kind, length=length)
    if kind.endswith(("char", "text")):
        column = replace(column, charset="utf8mb4")
    return len(list(size_probes(table(column), Limit(1_000_000, "producer", **limit))))


def test_only_tables_that_can_hold_large_rows_are_asked() -> None:
    assert probes("int", None) == 0
    assert probes("varchar", 100_000) == 0
    assert probes("varchar", 130_000) == 1
    assert probes("text", 65_535) == 0
    assert probes("longtext", 2**32 - 1) == 1
    assert probes("mediumblob", 300_000) == 0
    assert probes("mediumblob", 300_000, hex=True) == 1
    assert probes("json", None) == 1
    assert probes("geometry", None) == 1
    assert probes("point", None) == 0
