"""How fast the binlog is read: rows and events a second on one core, beside another reader.

    python benchmarks/decode.py SOURCE_URL [--rows 100000] [--rounds 5]

The URL is an administrator's; a database ``bench_decode`` is made and dropped. One UPDATE of all
rows (events of 8 kB) and one-row transactions are read over the connection and decoded to COPY
lines. python-mysql-replication, where it is installed, reads the same UPDATE into its dicts. Times
are of this process's CPU, since machines are shared; of all rounds the best one counts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pymysql

from bridge.capture.binlog import events as ev
from bridge.capture.binlog.connection import BinlogConnection
from bridge.capture.binlog.positions import upper_bound
from bridge.capture.binlog.rows import RowDecoder, compile_decoder
from bridge.capture.binlog.table_map import TableMap, table_map, table_name
from bridge.capture.catalog import read_catalog
from bridge.change.batch import Image
from bridge.change.position import Position, Progress
from bridge.config.urls import resolve_url
from bridge.databases.endpoint import Endpoint
from bridge.databases.mysql import connect
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.types import family_of
from bridge.types.base import ColumnPlan

NAME = "bench_decode"
TABLE = """
CREATE TABLE t (
    id bigint unsigned PRIMARY KEY, n int, state enum('new','paid','sent'), amount decimal(12,2),
    code char(8), name varchar(100), flag tinyint, at datetime(6), ts timestamp(3) NULL)
"""
FILL = """
INSERT INTO t SELECT i, i MOD 9973, 1 + i MOD 3, i / 100, CONCAT('c', i MOD 1000000),
    CONCAT('name ', i, ' of a row'), i MOD 2, '2024-01-01 10:00:00.5' + INTERVAL i SECOND,
    '2024-01-01 10:00:00.123' + INTERVAL i MINUTE
FROM (SELECT a.n + 1000 * b.n + 1 AS i FROM digits a JOIN digits b) numbers WHERE i <= %s
"""
SINGLE = 5_000
"""One-row transactions."""


@dataclass(frozen=True)
class Span:
    """A part of the log, by coordinates."""

    start: Position
    end: Position


@contextmanager
def table(source: Endpoint, rows: int) -> Iterator[tuple[TablePlan, Span, Span]]:
    """The table's plan; one UPDATE of all its rows, and many of one row each."""
    with closing(connect(source, database="")) as conn, conn.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {NAME}")
        cursor.execute(f"CREATE DATABASE {NAME}")
        cursor.execute(f"USE {NAME}")
        try:
            cursor.execute("CREATE TABLE digits (n int PRIMARY KEY)")
            cursor.executemany("INSERT INTO digits VALUES (%s)", [(n,) for n in range(1000)])
            cursor.execute(TABLE)
            cursor.execute(FILL, (rows,))
            began = _here(conn)
            cursor.execute("UPDATE t SET n = n + 1, amount = amount + 1, at = at + INTERVAL 1 DAY")
            between = _here(conn)
            for key in range(SINGLE):
                cursor.execute("UPDATE t SET n = n + 1 WHERE id = %s", (key % rows + 1,))
            ended = _here(conn)
            yield _plan(conn), Span(began, between), Span(between, ended)
        finally:
            cursor.execute(f"DROP DATABASE {NAME}")


def _here(conn: pymysql.Connection[Any]) -> Position:
    bound = upper_bound(conn)
    return Position.at(bound.file, bound.offset)


def _plan(conn: pymysql.Connection[Any]) -> TablePlan:
    definition = read_catalog(conn, NAME, ["t"])[TableName(NAME, "t")]
    columns = []
    for column in definition.columns:
        family = family_of(column)
        assert family is not None
        columns.append(ColumnPlan(column, column.name, family.proposals(column)[0].target_type))
    return TablePlan(definition, TableName("public", "t"), tuple(columns), 1, "bench")


def read(source: Endpoint, span: Span) -> list[bytes]:
    """The events of the span."""
    found: list[bytes] = []
    progress = Progress(span.start)
    with BinlogConnection.open(lambda: connect(source), span.start, 0xBE7C5, 1.0) as binlog:
        while not progress.covers(span.end):
            events = binlog.read(10)
            found += events
            for event in events:
                if event[4] == ev.ROTATE:
                    progress.file, progress.offset = ev.rotate(event)
                else:
                    end = int.from_bytes(event[13:17], "little")
                    progress.offset = max(progress.offset, end)
    return found


def ours(events: Sequence[bytes]) -> tuple[TableMap, list[bytes]]:
    """The table's map and its rows events; a shared server's log holds others, too."""
    maps = [event for event in events if event[4] == ev.TABLE_MAP]
    mapped = next(event for event in maps if table_name(event) == TableName(NAME, "t"))
    number = ev.rows_table(mapped)
    rows = [event for event in events if event[4] in ev.ROW_KIND and ev.rows_table(event) == number]
    return table_map(mapped), rows


def decode(decoder: RowDecoder, events: Sequence[bytes]) -> int:
    """Rows events into lines by key; how many rows."""
    rows: dict[bytes, Image | None] = {}
    return sum(decoder.apply(ev.UPDATE, event, rows, "") for event in events)


def read_by_peer(source: Endpoint, span: Span) -> int:
    """The same rows by python-mysql-replication; 0 where it is not installed."""
    try:
        peer = import_module("pymysqlreplication")
    except ImportError:
        return 0
    update = import_module("pymysqlreplication.row_event").UpdateRowsEvent
    xid = import_module("pymysqlreplication.event").XidEvent
    stream = peer.BinLogStreamReader(
        connection_settings={
            "host": source.host,
            "port": source.port,
            "user": source.user,
            "passwd": source.password.reveal(),
        },
        server_id=0xBE7C6,
        log_file=span.start.file,
        log_pos=span.start.offset,
        resume_stream=True,
        only_events=[update, xid],
        is_mariadb=False,
    )
    rows = 0
    for event in stream:
        if isinstance(event, update):
            rows += len(event.rows)
        elif event.packet.log_pos >= span.end.offset:
            break
    stream.close()
    return rows


def best(rounds: int, work: Callable[[], object]) -> float:
    """Seconds of CPU of the fastest round."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def main(words: Sequence[str]) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(words)
    source = resolve_url(options.source, {}, "argument", Path())
    rounds = options.rounds
    with table(source, options.rows) as (plan, large, single):
        mapped, events = ours(read(source, large))
        ones = read(source, single)
        decoder = compile_decoder(plan, mapped)
        rows = decode(decoder, events)
        reading = best(rounds, lambda: read(source, large))
        decoding = best(rounds, lambda: decode(decoder, events))
        print(f"reading large events: {rows / reading:,.0f} rows/s")
        print(f"decoding large events: {rows / decoding:,.0f} rows/s")
        seconds = best(rounds, lambda: read(source, single))
        print(f"reading one-row transactions: {len(ones) / seconds:,.0f} events/s")
        changed = ours(ones)[1]
        seconds = best(rounds, lambda: decode(decoder, changed))
        print(f"decoding one-row events: {1e6 * seconds / len(changed):.2f} µs each")
        if read_by_peer(source, large) >= rows:
            seconds = best(2, lambda: read_by_peer(source, large))
            print(
                f"python-mysql-replication, reading and decoding large events:"
                f" {rows / seconds:,.0f} rows/s; ours is {seconds / (reading + decoding):.0f} times"
                " as fast"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
