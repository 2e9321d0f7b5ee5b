"""What the rows of a table hold: one aggregate query over it, or over a sample of a large one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pymysql
from pymysql.cursors import Cursor

from bridge.capture.dialect import Dialect, read_dialect
from bridge.capture.findings.probes import INTEGERS, Probe, probes_of, unsigned_range
from bridge.findings import Finding
from bridge.names import bindable, quote_mysql
from bridge.types.table import SourceTable

MAX_ROWS = 5_000_000
"""Tables that the server takes for larger are sampled."""
SECONDS = 20.0
"""The longest time that one table's scan may take; then it is sampled (for as long once more)."""
_SLICES = 64
_SLICE_ROWS = 2_000
_TIMED_OUT = frozenset({1969, 3024})
"""MariaDB's ER_STATEMENT_TIMEOUT and MySQL's ER_QUERY_TIMEOUT."""


def scan_table(
    conn: pymysql.Connection[Cursor],
    table: SourceTable,
    *,
    probes: Sequence[Probe] | None = None,
    max_rows: int = MAX_ROWS,
    seconds: float = SECONDS,
) -> tuple[Finding, ...]:
    """Looks at every row once, or at a sample where there are too many; says which.

    `probes` are all that is asked instead of what `probes_of` says.
    A table that the server takes for more than `max_rows` rows, or whose scan takes longer than
    `seconds`, is sampled over its whole key for at most `seconds`: its findings are then marked
    `sampled`, but for greatest values that an index gives exactly. Findings that decide a target
    type (D011, D012, D014, D018) are there even if nothing speaks against it. Raises pymysql's
    errors.
    """
    probes = probes_of(table) if probes is None else probes
    if not probes:
        return ()
    scan = _Scan(conn, read_dialect(conn), table, probes, seconds)
    values = scan.whole() if table.rows <= max_rows else None
    sampled = values is None
    count, found = values if values is not None else scan.sample()
    findings = []
    for probe, said in zip(probes, found, strict=True):
        one = probe.judge(said)
        if one is not None:
            findings.append(_of_sample(scan, one, count) if sampled else one)
    return tuple(findings)


class _Scan:
    """Runs the probes of one table."""

    def __init__(
        self,
        conn: pymysql.Connection[Cursor],
        dialect: Dialect,
        table: SourceTable,
        probes: Sequence[Probe],
        seconds: float,
    ) -> None:
        self.conn = conn
        self.dialect = dialect
        self.table = table
        self.probes = probes
        self.seconds = seconds
        names = dict.fromkeys(name for probe in probes for name in probe.columns)
        self.columns = bindable(", ".join(quote_mysql(name) for name in names))
        self.source = bindable(table.name.mysql)
        self.aggregates = ["COUNT(*)", *(text for probe in probes for text in probe.aggregates)]

    def whole(self) -> tuple[int, list[list[int]]] | None:
        """All aggregates over all rows; None if that took too long."""
        try:
            return self._split(self._ask(self.source))
        except (pymysql.err.OperationalError, pymysql.err.InternalError) as error:
            if error.args[0] in _TIMED_OUT:
                return None
            raise

    def sample(self) -> tuple[int, list[list[int]]]:
        """The aggregates over slices of the table, until the time is over."""
        end = time.monotonic() + self.seconds
        merged = [0] * len(self.aggregates)
        for where, values in self._slices():
            source = f"(SELECT {self.columns} FROM {self.source} {where}) AS slice"
            try:
                slice_ = self._ask(source, values)
            except (pymysql.err.OperationalError, pymysql.err.InternalError) as error:
                if error.args[0] not in _TIMED_OUT:
                    raise
                break
            merged = [
                max(old, new) if text.startswith("MAX") else old + new
                for text, old, new in zip(self.aggregates, merged, slice_, strict=True)
            ]
            if time.monotonic() > end:
                break
        return self._split(merged)

    def maximum(self, column: str) -> int | None:
        """The column's greatest value, where an index begins with it."""
        table = self.table
        first = {index.parts[0].column for index in table.indexes} | {*table.primary_key[:1]}
        if column not in first:
            return None
        query = f"SELECT MAX({quote_mysql(column)}) FROM {table.name.mysql}"
        with self.conn.cursor(Cursor) as cursor:
            cursor.execute(query)
            row = cursor.fetchone()
        return int(row[0]) if row and row[0] is not None else None

    def _slices(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        key = self.table.primary_key
        if len(key) != 1 or self.table.column(key[0]).data_type not in INTEGERS:
            yield f"LIMIT {_SLICES * _SLICE_ROWS}", ()
            return
        name = quote_mysql(key[0])
        with self.conn.cursor(Cursor) as cursor:
            cursor.execute(f"SELECT MIN({name}), MAX({name}) FROM {self.table.name.mysql}")
            row: Any = cursor.fetchone()
        if row[0] is None:
            return
        low, high = int(row[0]), int(row[1])
        bounds = [low + (high + 1 - low) * i // _SLICES for i in range(_SLICES + 1)]
        # Far apart first, so that a sample cut short still is one of the whole table.
        for i in sorted(range(_SLICES), key=lambda i: f"{i:06b}"[::-1]):
            where = f"WHERE {{key}} >= %s AND {{key}} < %s ORDER BY {{key}} LIMIT {_SLICE_ROWS}"
            yield where.format(key=bindable(name)), (bounds[i], bounds[i + 1])

    def _ask(self, source: str, values: tuple[int, ...] = ()) -> list[int]:
        query = self._limited(f"{bindable(', '.join(self.aggregates))} FROM {source}")
        with self.conn.cursor(Cursor) as cursor:
            cursor.execute(query, values)
            row: Any = cursor.fetchone()
        return [int(value or 0) for value in row]

    def _limited(self, rest: str) -> str:
        if self.dialect.mariadb:
            return f"SET STATEMENT max_statement_time={self.seconds:.3f} FOR SELECT {rest}"
        if self.dialect.mysql_since(5, 7, 8):
            return f"SELECT /*+ MAX_EXECUTION_TIME({int(self.seconds * 1000)}) */ {rest}"
        return f"SELECT {rest}"

    def _split(self, values: list[int]) -> tuple[int, list[list[int]]]:
        rest = iter(values[1:])
        return values[0], [[next(rest) for _ in probe.aggregates] for probe in self.probes]


def _of_sample(scan: _Scan, one: Finding, count: int) -> Finding:
    """The finding, marked; a greatest value (D011) exact where an index gives it."""
    table = scan.table
    if one.code == "D011" and (greatest := scan.maximum(one.column)) is not None:
        return unsigned_range(table, table.column(one.column), greatest)
    of = f" (looked at {count:,} of about {table.rows:,} rows)"
    return replace(one, sampled=True, message=one.message + of)
