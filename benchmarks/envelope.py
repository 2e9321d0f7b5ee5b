"""How fast Debezium's events become COPY lines: events a second on one core.

    python benchmarks/envelope.py [--events 20000] [--rounds 5]

Updates of a table of nine columns, with schemas off and embedded, with and without characters that
COPY text escapes, by the compiled reader and by Python; beside them json.loads of the same
messages, which knows nothing of the table and makes no lines. Needs no server. Times are of this
process's CPU; of all rounds the best one counts.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from bridge.capture.debezium.rows import EventDecoder, compile_events
from bridge.change.batch import Image
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.types.base import ColumnPlan, SourceColumn
from bridge.types.events import EventSettings
from bridge.types.table import SourceTable

COLUMNS: tuple[tuple[SourceColumn, str, dict[str, Any]], ...] = (
    (SourceColumn("id", 1, "bigint", "bigint", nullable=False), "bigint", {"type": "int64"}),
    (SourceColumn("n", 2, "int", "int"), "integer", {"type": "int32"}),
    (
        SourceColumn("state", 3, "enum", "enum('new','paid')", labels=("new", "paid")),
        "text",
        {"type": "string", "name": "io.debezium.data.Enum", "parameters": {"allowed": "new,paid"}},
    ),
    (
        SourceColumn("amount", 4, "decimal", "decimal(12,2)", precision=12, scale=2),
        "numeric(12,2)",
        {"type": "string"},
    ),
    (
        SourceColumn("code", 5, "char", "char(8)", length=8, charset="utf8mb4"),
        "varchar(8)",
        {"type": "string"},
    ),
    (
        SourceColumn("name", 6, "varchar", "varchar(100)", length=100, charset="utf8mb4"),
        "varchar(100)",
        {"type": "string"},
    ),
    (SourceColumn("flag", 7, "tinyint", "tinyint"), "smallint", {"type": "int16"}),
    (
        SourceColumn("at", 8, "datetime", "datetime(6)", fsp=6),
        "timestamp(6)",
        {"type": "int64", "name": "io.debezium.time.MicroTimestamp"},
    ),
    (
        SourceColumn("ts", 9, "timestamp", "timestamp(3)", fsp=3),
        "timestamptz(3)",
        {"type": "string", "name": "io.debezium.time.ZonedTimestamp"},
    ),
)
"""Column, target type, and what an embedded schema says of it."""


def plan() -> TablePlan:
    """The table, as the mapping would have it."""
    sources = tuple(source for source, _, _ in COLUMNS)
    columns = tuple(ColumnPlan(source, source.name, target) for source, target, _ in COLUMNS)
    table = SourceTable(TableName("shop", "orders"), "mysql", "InnoDB", sources, ("id",))
    return TablePlan(table, TableName("public", "orders"), columns, 1, "v1")


def message(number: int, name: str, *, schemas: bool) -> bytes:
    """An update of one row."""
    row = {
        "id": number, "n": number % 9973, "state": "paid", "amount": f"{number / 100:.2f}",
        "code": f"c{number % 1000000}", "name": name, "flag": number % 2,
        "at": 1700000000500000 + number * 1_000_000, "ts": "2024-01-01T10:00:00.123Z",
    }  # fmt: skip
    source = {
        "version": "3.6.1.Final", "connector": "mysql", "name": "shop", "ts_ms": 1700000000000,
        "snapshot": "false", "db": "shop", "sequence": None, "ts_us": 1700000000000000,
        "ts_ns": 1700000000000000000, "table": "orders", "server_id": 223344,
        "gtid": f"24bc7850-2c16-11e6-a073-0242ac110002:{number}", "file": "binlog.000003",
        "pos": 484 + 300 * number, "row": 0, "thread": 7, "query": None,
    }  # fmt: skip
    told: dict[str, Any] = {
        "before": {**row, "n": 0}, "after": row, "source": source, "transaction": None, "op": "u",
        "ts_ms": 1700000000123, "ts_us": 1700000000123456, "ts_ns": 1700000000123456789,
    }  # fmt: skip
    if schemas:
        told = {"schema": schema(source), "payload": told}
    return json.dumps(told, separators=(",", ":")).encode()


def schema(source: dict[str, Any]) -> dict[str, Any]:
    """The envelope's schema, as long as Debezium's."""
    row = [{**kind, "optional": True, "field": column.name} for column, _, kind in COLUMNS]
    places = [{"type": "string", "optional": True, "field": name} for name in source]
    times = [{"type": "int64", "optional": True, "field": f"ts_{unit}s"} for unit in "mun"]
    return {
        "type": "struct",
        "fields": [
            {"type": "struct", "fields": row, "name": "shop.Value", "field": "before"},
            {"type": "struct", "fields": row, "name": "shop.Value", "field": "after"},
            {"type": "struct", "fields": places, "name": "Source", "field": "source"},
            {"type": "string", "optional": False, "field": "op"},
            *times,
        ],
        "optional": False,
        "name": "shop.shop.orders.Envelope",
        "version": 2,
    }


def rate(work: Callable[[], object], events: int, rounds: int) -> float:
    """Events a second of the best round."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return events / best


def compiled(decoder: EventDecoder, messages: Sequence[bytes]) -> dict[bytes, Image | None]:
    """All messages read by the compiled reader, as a batch of the consumer."""
    rows: dict[bytes, Image | None] = {}
    if decoder.reader is not None:
        take = decoder.reader.take
        for value in messages:
            take(value, rows)
    return rows


def lines(decoder: EventDecoder, messages: Sequence[bytes]) -> dict[bytes, Image | None]:
    """All messages decoded without it."""
    rows: dict[bytes, Image | None] = {}
    apply, place = decoder.apply, ("shop.shop.orders", 0, 0)
    for value in messages:
        apply(value, rows, place)
    return rows


def parsed(messages: Sequence[bytes]) -> None:
    """All messages through json.loads."""
    loads = json.loads
    for value in messages:
        loads(value)


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print(f"{'events':30} {'bytes':>6} {'compiled/s':>11} {'Python/s':>10} {'json.loads/s':>13}")
    for schemas in (False, True):
        for what, name in (("plain", "name of a row"), ("escaped", 'name "of" a row')):
            messages = [message(n, name, schemas=schemas) for n in range(asked.events)]
            decoder = compile_events(plan(), EventSettings(decimal="string", schemas=schemas))
            assert lines(decoder, messages) == compiled(decoder, messages)
            fast = rate(lambda: compiled(decoder, messages), asked.events, asked.rounds)  # noqa: B023
            made = rate(lambda: lines(decoder, messages), asked.events, asked.rounds)  # noqa: B023
            loads = rate(lambda: parsed(messages), asked.events, asked.rounds)  # noqa: B023
            title = f"schemas {'embedded' if schemas else 'off'}, {what}"
            print(f"{title:30} {len(messages[-1]):6} {fast:11,.0f} {made:10,.0f} {loads:13,.0f}")


if __name__ == "__main__":
    main()
