"""What is asked of rows that Debezium's connector has to send: how large they are, and their dates.

Sizes are those of the connector's JSON, in which an update holds the row twice; tried out with
Debezium 3.6.1 (a row of 600,000 characters, updated: 1,200,888 bytes).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bridge.capture.findings.probes import Probe, rows_hold, utf8_bytes
from bridge.findings import Finding, finding
from bridge.mapping.plan import TablePlan
from bridge.mapping.widths import key_bytes
from bridge.names import quote_mysql
from bridge.types.base import ColumnPlan, SourceColumn
from bridge.types.dates import impossible
from bridge.types.table import SourceTable

MAX_REQUEST_BYTES = 1 << 20
"""What a producer takes by default (max.request.size)."""
_ENVELOPE_BYTES = 1_000
"""An event without its rows; 888 bytes were seen."""
_SCHEMA_BYTES = 200
"""Of a column's schema, which an event has twice, and which is in the key as well."""
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_SHAPES = frozenset(
    {"geometry", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"}
    | {"geomcollection", "geometrycollection", "vector"}
)
_BOUNDLESS = 1 << 32


@dataclass(frozen=True, slots=True)
class Limit:
    """The most bytes of an event, whose limit that is, and what the events look like."""

    bytes: int
    owner: str
    schemas: bool = False
    hex: bool = False


def limit_of(
    config: Mapping[str, str],
    worker: Mapping[str, str],
    topic: Mapping[str, str] | None,
    *,
    schemas: bool,
) -> Limit:
    """The smaller one of what the producer takes and what the topic does.

    A producer that compresses may send more than the topic takes of what is not compressed.
    """
    name = "max.request.size"
    own = config.get(f"producer.override.{name}", worker.get(f"producer.{name}", ""))
    most = int(own) if own.isdigit() else MAX_REQUEST_BYTES
    owner = "max.request.size of the connector's producer"
    compression = "compression.type"
    squeezed = config.get(f"producer.override.{compression}", worker.get(f"producer.{compression}"))
    taken = (topic or {}).get("max.message.bytes", "")
    if squeezed in (None, "none") and taken.isdigit() and int(taken) < most:
        most, owner = int(taken), "max.message.bytes of the topic"
    spelled = config.get("binary.handling.mode", "bytes").lower() == "hex"
    return Limit(most, owner, schemas=schemas, hex=spelled)


def date_probes(table: SourceTable) -> Iterator[Probe]:
    """Days that their months have not: at a change of such a row Debezium's task fails (K034)."""
    for column in table.columns:
        if column.data_type in ("date", "datetime"):
            yield _stopping(table, column)


def zero_probes(plan: TablePlan) -> Iterator[Probe]:
    """Dates with a part that is zero, which Debezium does not know (K015); said even of no row."""
    for column in plan.columns:
        if column.source.data_type in ("date", "datetime", "timestamp"):
            yield _zero(plan, column)


def size_probes(table: SourceTable, limit: Limit) -> Iterator[Probe]:
    """Rows whose events are larger than the limit (K033), where the table can hold such."""
    overhead = _ENVELOPE_BYTES + 2 * sum(len(c.name.encode()) + 30 for c in table.columns)
    if limit.schemas:
        overhead += 2 * _SCHEMA_BYTES * len(table.columns)
    wide = [column for column in table.columns if column.data_type in _TEXTS | _BYTES | _SHAPES]
    wide += [column for column in table.columns if column.data_type == "json"]
    if overhead + 2 * sum(_most(column, limit) for column in wide) > limit.bytes:
        yield _oversized(table, wide, overhead, limit)


def _zero(plan: TablePlan, column: ColumnPlan) -> Probe:
    name = column.source.name
    q = quote_mysql(name)
    null = column.source.nullable
    sent = "NULL" if null else "1970-01-01 or the column's default"

    def judge(values: list[int]) -> Finding:
        count, severity, hint = values[0], "error", {}
        message = rows_hold(count, f"zero dates, which are sent as {sent}")
        if not count or (null and column.policy.zero_date == "as-null"):
            severity, hint = "info", {"hint": ""}
            message += " (zero_date: as-null)" if count else " at the moment"
        return finding(
            "K015",
            table=str(plan.source),
            column=name,
            count=count,
            message=message,
            severity=severity,
            **hint,
        )

    condition = f"MONTH({q}) = 0 OR DAYOFMONTH({q}) = 0 OR YEAR({q}) = 0"
    return Probe((f"SUM({condition})",), (name,), judge)


def _stopping(table: SourceTable, column: SourceColumn) -> Probe:
    q = quote_mysql(column.name)
    # With a part that is zero, it is a zero date to Debezium, which stops at none.
    condition = f"{impossible(q)} AND MONTH({q}) > 0 AND DAYOFMONTH({q}) > 0 AND YEAR({q}) > 0"

    def judge(values: list[int]) -> Finding | None:
        if not values[0]:
            return None
        message = rows_hold(values[0], "days that their month has not")
        return finding(
            "K034", table=str(table.name), column=column.name, count=values[0], message=message
        )

    return Probe((f"SUM({condition})",), (column.name,), judge)


def _oversized(
    table: SourceTable, columns: list[SourceColumn], overhead: int, limit: Limit
) -> Probe:
    row = " + ".join(f"COALESCE({_sent(column, limit)}, 0)" for column in columns)
    size = f"{overhead} + 2 * ({row})"

    def judge(values: list[int]) -> Finding | None:
        count, longest = values
        if not count:
            return None
        message = (
            f"{rows_hold(count, 'more than an event takes')}; the largest takes about"
            f" {longest:,} bytes, {limit.owner} is {limit.bytes:,}"
        )
        return finding("K033", table=str(table.name), count=count, message=message, fact=longest)

    names = tuple(column.name for column in columns)
    return Probe((f"SUM({size} > {limit.bytes})", f"MAX({size})"), names, judge)


def _sent(column: SourceColumn, limit: Limit) -> str:
    """MySQL expression: the bytes that a value takes in an event."""
    q = quote_mysql(column.name)
    if column.data_type in _BYTES | _SHAPES:
        return f"2 * LENGTH({q})" if limit.hex else f"(LENGTH({q}) + 2) DIV 3 * 4"
    if column.data_type == "json":
        # a text inside of JSON: its quotes get backslashes
        return f"2 * LENGTH({q}) - LENGTH(REPLACE({q}, '\"', ''))"
    return f"LENGTH({utf8_bytes(column)})"


def _most(column: SourceColumn, limit: Limit) -> int:
    if column.data_type in _SHAPES or column.data_type == "json" or column.length is None:
        return _BOUNDLESS
    if column.data_type in _BYTES:
        return 2 * column.length if limit.hex else (column.length + 2) // 3 * 4
    return key_bytes(column)
