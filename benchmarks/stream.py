"""How fast changes arrive: rows a second from a backlog, and milliseconds at a steady rate.

    python benchmarks/stream.py SOURCE_URL TARGET_URL [--rows 300000] [--rounds 3]

The URLs are an administrator's; databases named ``bench_stream`` are made on both and dropped. Each
round replays the same binlog of UPDATEs (two secondary indexes, one over a changed column) and,
beside it, lets PostgreSQL alone apply the same final rows by one COPY and one INSERT … ON CONFLICT
a batch: the limit of one backend. What counts is their ratio, since machines are noisy.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
import pymysql

from bridge.capture.binlog.connection import BinlogConnection
from bridge.capture.binlog.positions import lower_bound, upper_bound
from bridge.capture.catalog import read_catalog
from bridge.capture.snapshot import read_chunk
from bridge.change.batch import BadRow
from bridge.change.position import Position
from bridge.config.urls import resolve_url
from bridge.databases import mysql, postgres
from bridge.databases.endpoint import Endpoint
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.replicate.builder import BATCH_ROWS, Builder
from bridge.replicate.daemon import SWITCH_SECONDS
from bridge.replicate.stream import Stream
from bridge.sink.apply import Applier
from bridge.sink.copy import copy_blocks
from bridge.sink.quarantine import Quarantine
from bridge.sink.target import Target
from bridge.store.checkpoint import PipelineCheckpoint
from bridge.store.lease import acquire
from bridge.store.migrate import migrate
from bridge.types import family_of
from bridge.types.base import ColumnPlan

NAME = "bench_stream"
TABLE = """
CREATE TABLE t (
    id bigint unsigned PRIMARY KEY, n int, state enum('new','paid','sent'), amount decimal(12,2),
    code char(8), name varchar(100), flag tinyint, at datetime(6), ts timestamp(3) NULL,
    KEY (n), KEY (name))
"""
FILL = """
INSERT INTO t SELECT i, i MOD 9973, 1 + i MOD 3, i / 100, CONCAT('c', i MOD 1000000),
    CONCAT('name ', i, ' ', REPEAT('x', 50)), i MOD 2,
    '2024-01-01 10:00:00.5', '2024-01-01 10:00:00.123'
FROM (SELECT a.n + 1000 * b.n + 1 AS i FROM digits a JOIN digits b) numbers WHERE i <= %s
"""


@dataclass(frozen=True)
class Rig:
    """Both databases, and the table's plan."""

    source: Callable[[], pymysql.Connection[Any]]
    target: Callable[[], psycopg.Connection[Any]]
    plan: TablePlan


@contextmanager
def rig(source: Endpoint, target: Endpoint, rows: int) -> Iterator[Rig]:
    """Makes the databases, fills the source's table and copies it."""
    with ExitStack() as stack:
        admin = stack.enter_context(closing(mysql.connect(source, database="")))
        there = stack.enter_context(closing(postgres.connect(target, autocommit=True)))
        _drop(admin, there)
        stack.callback(_drop, admin, there)
        with admin.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {NAME}")
        there.execute(f"CREATE DATABASE {NAME}".encode())
        made = Rig(
            lambda: mysql.connect(source, database=NAME),
            lambda: postgres.connect(target, autocommit=True, database=NAME),
            _fill(source, rows),
        )
        with closing(made.source()) as one, closing(made.target()) as other:
            migrate(other)
            columns = ", ".join(f'"{c.target_name}" {c.target_type}' for c in made.plan.columns)
            other.execute(f"CREATE TABLE t ({columns}, PRIMARY KEY (id))".encode())
            bad: list[BadRow] = []
            blocks = read_chunk(one, made.plan, None, None, bad)
            with other.transaction():
                copy_blocks(other, made.plan, made.plan.target, blocks, bad)
            other.execute("CREATE INDEX ON t (n); CREATE INDEX ON t (name); ANALYZE t")
        yield made


def _drop(source: pymysql.Connection[Any], target: psycopg.Connection[Any]) -> None:
    with source.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {NAME}")
    target.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)".encode())


def _fill(source: Endpoint, rows: int) -> TablePlan:
    with closing(mysql.connect(source, database=NAME)) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE digits (n int PRIMARY KEY)")
        cursor.executemany("INSERT INTO digits VALUES (%s)", [(n,) for n in range(1000)])
        cursor.execute(TABLE)
        cursor.execute(FILL, (rows,))
        cursor.execute("ANALYZE TABLE t")
        table = read_catalog(conn, NAME, ["t"])[TableName(NAME, "t")]
    columns = []
    for column in table.columns:
        family = family_of(column)
        assert family is not None
        kinds = [proposal.target_type for proposal in family.proposals(column)]
        kind = "bigint" if "bigint" in kinds else kinds[0]
        columns.append(ColumnPlan(column, column.name, kind))
    return TablePlan(table, TableName("public", "t"), tuple(columns), 1, "bench")


def update(conn: pymysql.Connection[Any], rows: int, size: int) -> None:
    """Changes every row once, `size` rows a transaction."""
    with conn.cursor() as cursor:
        for first in range(0, rows, size):
            cursor.execute(
                "UPDATE t SET n = n + 1, amount = amount + 1, name = CONCAT('u', LEFT(name, 99))"
                " WHERE id > %s AND id <= %s",
                (first, first + size),
            )


def stream(made: Rig, start: Position, end: Position | None) -> Stream:
    """The product's own stream over the table."""
    lease = acquire(made.target(), NAME)
    target = Target(made.plan, 1, made.plan.target)
    applier = Applier(made.target(), [target], PipelineCheckpoint(lease, NAME), Quarantine(NAME))
    return Stream(
        lambda at: BinlogConnection.open(made.source, at, 0xBE7C4, 1.0),
        start,
        Builder([target], start, end),
        applier,
    )


def replay(made: Rig, start: Position, end: Position) -> float:
    """Seconds for the backlog between the positions."""
    running = stream(made, start, end)
    began = time.perf_counter()
    running.start()
    running.ended.wait()
    seconds = time.perf_counter() - began
    running.stop()
    return seconds


def limit(made: Rig, rows: int) -> float:
    """Seconds for PostgreSQL alone: the same rows staged and upserted, in batches as large."""
    target = Target(made.plan, 1, made.plan.target)
    with closing(made.target()) as conn:
        conn.execute("SET enable_hashjoin = off; SET enable_mergejoin = off")
        with conn.cursor().copy("COPY (SELECT * FROM t ORDER BY id) TO STDOUT") as out:
            lines = b"".join(out).splitlines(keepends=True)
        conn.execute(target.create_stages.encode())
        began = time.perf_counter()
        for first in range(0, rows, BATCH_ROWS):
            with conn.transaction():
                with conn.cursor().copy(target.copy_rows.encode()) as stage:
                    stage.write(b"".join(lines[first : first + BATCH_ROWS]))
                conn.execute(target.upsert_rows.encode())
        return time.perf_counter() - began


def latency(made: Rig, start: Position, changes: int, rate: float) -> list[float]:
    """Milliseconds from commit to visibility, sorted; `rate` one-row transactions a second."""
    running = stream(made, start, None)
    running.start()
    found = []
    with closing(made.source()) as source, closing(made.target()) as target:
        cursor = source.cursor()
        cursor.execute("UPDATE t SET flag = 9 WHERE id = 1")
        while _look(target, "flag", 1) != 9:
            time.sleep(0.01)
        began = time.perf_counter()
        for k in range(changes):
            while time.perf_counter() < began + k / rate:
                time.sleep(0.0002)
            cursor.execute("UPDATE t SET n = %s WHERE id = %s", (-k - 1, k * 37 % 1000 + 1))
            committed = time.perf_counter()
            while _look(target, "n", k * 37 % 1000 + 1) != -k - 1:
                time.sleep(0.0001)
            found.append(1000 * (time.perf_counter() - committed))
    running.stop()
    return sorted(found)


def _look(conn: psycopg.Connection[Any], column: str, key: int) -> object:
    row = conn.execute(f"SELECT {column} FROM t WHERE id = %s".encode(), (key,)).fetchone()
    return row[0] if row else None


def _bounds(
    made: Rig, change: Callable[[pymysql.Connection[Any]], None]
) -> tuple[Position, Position]:
    with closing(made.source()) as conn:
        start = lower_bound(conn)
        change(conn)
        return start, upper_bound(conn)


def report(what: str, count: int, ours: Sequence[float], theirs: Sequence[float]) -> None:
    """One line: the rate, PostgreSQL's own rate, and the median of the rounds' ratios."""
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    print(
        f"{what}: {count / median(ours):,.0f}/s; PostgreSQL alone {count / median(theirs):,.0f}/s;"
        f" ratio of times {ratio:.2f}"
    )


def main(words: Sequence[str]) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(words)
    sys.setswitchinterval(SWITCH_SECONDS)
    endpoints = [
        resolve_url(url, {}, "argument", Path()) for url in (options.source, options.target)
    ]
    rows, small = options.rows, options.rows // 5
    with rig(endpoints[0], endpoints[1], rows) as made:
        big = _bounds(made, lambda conn: update(conn, rows, 1000))
        pairs = [(replay(made, *big), limit(made, rows)) for _ in range(options.rounds)]
        report("updates, 1,000 rows a transaction", rows, *zip(*pairs, strict=True))
        single = _bounds(made, lambda conn: update(conn, small, 1))
        pairs = [(replay(made, *single), limit(made, small)) for _ in range(options.rounds)]
        report("backlog of one-row transactions", small, *zip(*pairs, strict=True))
        times = latency(made, _now(made), 1000, 200)
        print(
            f"200 one-row transactions a second: visible after {times[500]:.1f} ms (median),"
            f" {times[990]:.1f} ms (99th percentile)"
        )
    print()


def _now(made: Rig) -> Position:
    with closing(made.source()) as conn:
        return lower_bound(conn)


if __name__ == "__main__":
    main(sys.argv[1:])
