"""Reverse replication beside the same upserts bare, and beside polling the slot over SQL.

    python -m benchmarks.reverse SOURCE_URL TARGET_URL [--rows 200000] [--rounds 3]

The URLs are an administrator's; databases named ``bench_reverse`` are made on both and dropped.
Each round updates so many rows in transactions of 1,000, and takes the ways one after the other:
only reading and making statements; peeking at the slot over SQL, 20,000 changes a call, and only
decoding; the same statements bare, which nothing in front of the source can beat; the whole way
into the source. Then 200 transactions a second, and how long each took to arrive.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from statistics import median, quantiles
from typing import Any

import psycopg
import pymysql

from benchmarks.rig import TABLES
from bridge.capture.catalog import read_catalog
from bridge.databases import mysql, postgres
from bridge.databases.endpoint import Endpoint, parse_url
from bridge.mapping.compile import compile_table
from bridge.mapping.plan import TablePlan
from bridge.mapping.propose import propose_table
from bridge.names import TableName
from bridge.reverse import pgoutput, slots
from bridge.reverse.builder import Builder
from bridge.reverse.run import Reverse
from bridge.reverse.session import open_session
from bridge.reverse.stream import Data, Stream
from bridge.reverse.writer import dialect_of
from bridge.store.migrate import migrate

NAME = "bench_reverse"
PEEK = 20_000
PLACE = (NAME, "bench")
_FILL = """
    INSERT INTO t SELECT i, i % 100000, (ARRAY['new','paid','shipped','returned'])[1 + i % 4],
        i * 37 % 1000000 / 100.0, left(md5(i::text), 12), md5(i::text) || md5((i + 1)::text), i % 2,
        '2020-01-01'::timestamp + i * interval '17.000123 s', '2021-01-01'::timestamptz
    FROM generate_series(1, {rows}) i"""


def main(words: Sequence[str]) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(words)
    source, target = parse_url(options.source), parse_url(options.target)
    with (
        closing(mysql.connect(source, database="")) as here,
        postgres.connect(target, autocommit=True) as there,
    ):
        execute(here, f"CREATE DATABASE {NAME}")
        there.execute(f"CREATE DATABASE {NAME}".encode())
        try:
            source, target = (replace(end, database=NAME) for end in (source, target))
            measure(source, target, options.rows, options.rounds)
        finally:
            with postgres.connect(target, autocommit=True) as conn:
                slots.disarm(conn, *PLACE)
            there.execute(f"DROP DATABASE {NAME} WITH (FORCE)".encode())
            execute(here, f"DROP DATABASE {NAME}")


def execute(conn: pymysql.Connection[Any], sql: str) -> None:
    """One statement."""
    with conn.cursor() as cursor:
        cursor.execute(sql)


def measure(source: Endpoint, target: Endpoint, rows: int, rounds: int) -> None:
    """Makes the table, and takes the ways in turn."""
    plan = prepared(source, target, rows)
    rates: dict[str, list[float]] = {"reading": [], "bare": [], "whole": [], "peek": []}
    with postgres.connect(target, autocommit=True) as conn:
        for number in range(rounds):
            begin = slots.marker(conn)
            update(conn, rows, number)
            batches, seconds = read(source, target, plan, begin, rows)
            rates["reading"].append(rows / seconds)
            rates["peek"].append(rows / peek(conn, rows))
            rates["bare"].append(rows / bare(source, batches))
            seconds, core = whole(source, target, plan, begin, number + 1)
            rates["whole"].append(rows / seconds)
            slots.advance(conn, slots.slot_name(NAME, *PLACE), slots.marker(conn))
            print(f"round {number + 1}: Python took {core / seconds:.0%} of a core", flush=True)
        for way, found in rates.items():
            print(f"{way}: {median(found):,.0f} rows/s ({min(found):,.0f} to {max(found):,.0f})")
        latency(source, target, conn, plan, rounds + 1)


def prepared(source: Endpoint, target: Endpoint, rows: int) -> TablePlan:
    """The table on both sides, equal, and its slot."""
    with (
        closing(mysql.connect(source)) as here,
        postgres.connect(target, autocommit=True) as there,
    ):
        execute(here, TABLES["t"])
        name = TableName(NAME, "t")
        table = read_catalog(here, NAME, ["t"])[name]
        plan = compile_table(propose_table(table, (), target=TableName("public", "t")), table)
        columns = ", ".join(f'"{c.target_name}" {c.target_type}' for c in plan.columns)
        migrate(there)
        there.execute("INSERT INTO dbbridge.pipeline (name) VALUES (%s)", (PLACE[0],))
        there.execute(f"CREATE TABLE t ({columns}, PRIMARY KEY (id))".encode())
        slot = slots.arm(there, *PLACE, [plan])
        there.execute(_FILL.format(rows=rows).encode())
    seconds, _ = whole(source, target, plan, slot.confirmed, 0)
    print(f"inserts: {rows / seconds:,.0f} rows/s")
    return plan


def update(conn: psycopg.Connection[Any], rows: int, number: int) -> None:
    """Every row once, in a random order, 1,000 a transaction."""
    conn.execute("CREATE TEMP TABLE IF NOT EXISTS keys AS SELECT id FROM t ORDER BY random()")
    keys = [key for (key,) in conn.execute("SELECT id FROM keys").fetchall()]
    for start in range(0, rows, 1000):
        conn.execute(
            "UPDATE t SET amount = amount + 1, gift = %s WHERE id = ANY (%s)",
            (number % 2, keys[start : start + 1000]),
        )


def read(
    source: Endpoint, target: Endpoint, plan: TablePlan, begin: int, rows: int
) -> tuple[list[list[bytes]], float]:
    """Reads and makes the statements, and applies nothing."""
    with closing(mysql.connect(source)) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        dialect = dialect_of(str((cursor.fetchone() or ("",))[0]))
    name = slots.slot_name(NAME, *PLACE)
    builder, batches, found = Builder({plan.target: plan}, dialect, begin), [], 0
    with closing(Stream(target, name, name, 0)) as stream:
        began = time.perf_counter()
        while found < rows:
            message = stream.read()
            if message is None:
                stream.take()
            elif type(message) is Data:
                builder.add(message.raw, message.at, message.sent)
                if builder.full:
                    found += len(builder.batch.changes)
                    batches.append([s.sql for s in builder.taken().statements or ()])
        return batches, time.perf_counter() - began


def peek(conn: psycopg.Connection[Any], rows: int) -> float:
    """Seconds of polling and decoding."""
    name = slots.slot_name(NAME, *PLACE)
    call = (
        "SELECT lsn - '0/0', data FROM pg_logical_slot_peek_binary_changes(%s, NULL, %s,"
        " 'proto_version', '1', 'publication_names', %s)"
    )
    copy = f"{name}_peek"[-63:]
    conn.execute("SELECT pg_copy_logical_replication_slot(%s, %s)", (name, copy))
    found, began = 0, time.perf_counter()
    while found < rows:
        end = 0
        for _, data in conn.execute(call, (copy, PEEK, name), binary=True).fetchall():
            message = pgoutput.decode(data)
            found += type(message) is pgoutput.Update
            if isinstance(message, pgoutput.Commit):
                end = message.end
        if not end:
            break
        slots.advance(conn, copy, end)
    seconds = time.perf_counter() - began
    conn.execute("SELECT pg_drop_replication_slot(%s)", (copy,))
    return seconds


def bare(source: Endpoint, batches: list[list[bytes]]) -> float:
    """Seconds of the ready statements, a commit a batch."""
    with closing(open_session(source)) as conn, conn.cursor() as cursor:
        began = time.perf_counter()
        for batch in batches:
            for statement in batch:
                cursor.execute(statement)
            conn.commit()
        return time.perf_counter() - began


def whole(
    source: Endpoint, target: Endpoint, plan: TablePlan, flip: int, epoch: int
) -> tuple[float, float]:
    """Seconds from the start until all is in the source, and of the processor here."""
    with postgres.connect(target, autocommit=True) as conn:
        end = slots.marker(conn)
    reverse = Reverse(source, target, *PLACE, [plan], epoch=epoch, flip=flip, keep_seconds=1e6)
    used, began = _core(), time.perf_counter()
    reverse.start()
    while reverse.facts().applied < end:
        time.sleep(0.005)
        assert not reverse.facts().stopped, reverse.facts().error
    seconds, core = time.perf_counter() - began, _core() - used
    reverse.stop()
    return seconds, core


def _core() -> float:
    found = resource.getrusage(resource.RUSAGE_SELF)
    return found.ru_utime + found.ru_stime


def latency(
    source: Endpoint, target: Endpoint, conn: psycopg.Connection[Any], plan: TablePlan, epoch: int
) -> None:
    """200 transactions a second, each seen in the source by a session that looks all the time."""
    flip = slots.marker(conn)
    reverse = Reverse(source, target, *PLACE, [plan], epoch=epoch, flip=flip)
    reverse.start()
    took = []
    for number in range(600):
        began = time.perf_counter()
        with conn.transaction():
            conn.execute("UPDATE t SET amount = %s WHERE id = %s", (number, 1 + number))
            lsn = slots.marker(conn)
        committed = time.perf_counter()
        while reverse.facts().applied <= lsn:
            time.sleep(0.0001)
        took.append(1000 * (time.perf_counter() - committed))
        time.sleep(max(0.0, 0.005 - (time.perf_counter() - began)))
    reverse.stop()
    cuts = quantiles(took[50:], n=100)
    print(
        f"a commit of the target is committed in the source after p50 {cuts[49]:.2f} ms,"
        f" p99 {cuts[98]:.2f} ms"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
