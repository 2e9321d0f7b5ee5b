"""Which tables are written in one transaction: a sample of the source's recent log.

Only table maps and the headers of rows events are looked at; no row is decoded.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pymysql

from bridge.capture.binlog import events as ev
from bridge.capture.binlog.connection import BinlogConnection
from bridge.capture.binlog.positions import lower_bound, upper_bound
from bridge.capture.binlog.table_map import table_name
from bridge.change.position import Position
from bridge.cutover.gates.facts import Span
from bridge.cutover.proposals import Together, spanning
from bridge.errors import PositionPurged
from bridge.names import TableName
from bridge.replicate.ops import OWN_TABLES

SAMPLE_TRANSACTIONS = 20_000
SAMPLE_BYTES = 64 << 20
SAMPLE_SECONDS = 5.0
FEWER = 8
"""Where so many transactions are more bytes than may be read, so many times fewer are tried."""
_FIRST_NUMBER = 3 << 29
"""Replica numbers from here on, between those of verifications and those of daemons."""
_NUMBERS = 1 << 28
_READ_SECONDS = 0.25
_ENDS = (b"COMMIT", b"ROLLBACK")


@dataclass
class Transactions:
    """Collects the tables of each transaction out of events in their order. Pure."""

    file: str = ""
    count: int = 0
    """Transactions that wrote rows."""
    _tables: dict[int, TableName] = field(default_factory=dict)
    _open: set[TableName] = field(default_factory=set)
    _found: dict[frozenset[TableName], tuple[int, str]] = field(default_factory=dict)
    offset: int = 4

    def take(self, event: bytes) -> None:
        """The next event."""
        _, kind, _, _, end, flags = ev.HEADER.unpack_from(event)
        if kind == ev.ROTATE:
            self.file, self.offset = ev.rotate(event)
            self._tables.clear()
            return
        if end and not flags & ev.ARTIFICIAL:
            self.offset = ev.widen(end, self.offset)
        if kind == ev.TABLE_MAP:
            self._tables[ev.rows_table(event)] = table_name(event)
        elif kind in ev.ROW_KIND:
            name = self._tables.get(ev.rows_table(event))
            if name is not None and name.table not in OWN_TABLES:
                self._open.add(name)
        elif kind == ev.XID or (kind == ev.QUERY and event.endswith(_ENDS)):
            self._close(written=not event.endswith(_ENDS[1]))
        elif kind in (ev.GTID, ev.ANONYMOUS_GTID, ev.GTID_TAGGED, ev.MARIADB_GTID, ev.XA_PREPARE):
            self._close(written=True)

    def _close(self, *, written: bool) -> None:
        tables, self._open = frozenset(self._open), set()
        if tables and written:
            self.count += 1
            count, example = self._found.get(tables, (0, f"{self.file}:{self.offset}"))
            self._found[tables] = (count + 1, example)

    def together(self) -> list[Together]:
        """What was found, the most frequent first."""
        found = [Together(tables, *seen) for tables, seen in self._found.items()]
        return sorted(found, key=lambda each: (-each.transactions, sorted(each.tables)))


@dataclass(frozen=True, slots=True)
class Sample:
    """What a part of the log holds: `transactions` that wrote rows, from one place to another."""

    together: tuple[Together, ...]
    transactions: int
    begin: str
    end: str


def sample_log(
    open_source: Callable[[], pymysql.Connection[Any]],
    *,
    transactions: int = SAMPLE_TRANSACTIONS,
    most_bytes: int = SAMPLE_BYTES,
    seconds: float = SAMPLE_SECONDS,
) -> Sample:
    """Reads the log's last transactions; where there are no GTIDs, the newest files.

    Fewer than `transactions` where they are more bytes than `most_bytes`. Ends early when the time
    is up; without GTIDs at the bytes too. Raises ServerUnreachable, ServerRefused and SourceError.
    """
    with closing(open_source()) as source:
        until = upper_bound(source)
        files = Position.at(_first(_files(source), until.file, most_bytes), 4)
        seen, itself = lower_bound(source), _itself(source)
    limits = _Limits(until, most_bytes, time.monotonic() + seconds)
    while True:
        start = recent(seen, itself, transactions)
        try:
            sample, whole = _read(open_source, start or files, limits)
        except PositionPurged:
            sample, whole = _read(open_source, files, limits)
        if whole or start is None or transactions == 1 or time.monotonic() > limits.deadline:
            return sample
        transactions = max(1, transactions // FEWER)


@dataclass(frozen=True, slots=True)
class _Limits:
    until: Position
    bytes: int
    deadline: float


def _read(
    open_source: Callable[[], pymysql.Connection[Any]], start: Position, limits: _Limits
) -> tuple[Sample, bool]:
    """What there is from `start` on, and whether that goes as far as it shall."""
    found = Transactions(start.file)
    number = _FIRST_NUMBER + secrets.randbelow(_NUMBERS)
    end = (limits.until.file, limits.until.offset)
    begin = ""
    with BinlogConnection.open(open_source, start, number, 1.0) as log:
        while (
            (found.file, found.offset) < end
            and time.monotonic() < limits.deadline
            and log.bytes_received < limits.bytes
        ):
            for event in log.read(_READ_SECONDS):
                found.take(event)
                begin = begin or (f"{found.file}:{found.offset}" if found.count else "")
    sample = Sample(tuple(found.together()), found.count, begin, f"{found.file}:{found.offset}")
    return sample, (found.file, found.offset) >= end


def recent(position: Position, itself: str, transactions: int) -> Position | None:
    """A position so many transactions of the server itself before; None without GTIDs.

    `itself`: the server's UUID, or its number (MariaDB). What others wrote, or under a tag, is left
    as it is: their last transactions may be long ago.
    """
    if position.kind == "mysql-gtid":
        parts = []
        for sid, spans_ in position.sets.items():
            kept = list(spans_)
            if sid == itself:
                kept = _shortened(kept, transactions)
            parts += [f"{sid}:{first}-{last}" for first, last in kept]
        return Position(position.kind, Position.parse(",".join(parts)).text) if parts else None
    if position.kind == "mariadb-gtid":
        text = ",".join(
            f"{domain}-{server}-{max(1, number - transactions * (str(server) == itself))}"
            for domain, (server, number) in position.domains.items()
        )
        return Position(position.kind, text) if text else None
    return None


def _shortened(spans_: list[tuple[int, int]], by: int) -> list[tuple[int, int]]:
    kept = list(spans_)
    while kept and by:
        first, last = kept.pop()
        taken = min(by, last - first + 1)
        by -= taken
        if last - taken >= first:
            kept.append((first, last - taken))
    return kept


def _itself(source: pymysql.Connection[Any]) -> str:
    with source.cursor() as cursor:
        cursor.execute("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'server_id')")
        found = {str(name): str(value) for name, value in cursor.fetchall()}
    return found.get("server_uuid") or found.get("server_id", "")


def _files(source: pymysql.Connection[Any]) -> list[tuple[str, int]]:
    with source.cursor() as cursor:
        cursor.execute("SHOW BINARY LOGS")
        return [(str(row[0]), int(row[1])) for row in cursor.fetchall()]


def _first(files: Iterable[tuple[str, int]], newest: str, most_bytes: int) -> str:
    """The oldest file from which the limit reaches to the end; at least the newest one."""
    chosen, left = newest, most_bytes
    for name, size in sorted(files, reverse=True):
        if name != newest and size > left:
            break
        chosen, left = name, left - size
    return chosen


def spans(sample: Sample, groups: Mapping[TableName, str]) -> tuple[Span, ...]:
    """The sample's transactions over several groups, as the gate `span` takes them."""
    return tuple(
        Span(
            "transaction",
            tuple(sorted(str(table) for table in each.tables if table in groups)),
            tuple(sorted({groups[table] for table in each.tables if table in groups})),
            each.transactions,
            each.example,
        )
        for each in spanning(groups, sample.together)
    )
