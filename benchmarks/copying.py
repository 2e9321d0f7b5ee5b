"""How fast a table is copied, beside the limit of one PostgreSQL backend and beside pgloader.

    python benchmarks/copying.py SOURCE_URL TARGET_URL [--rows N] [--rounds 3] [--readers 1,2,3]

The URLs are an administrator's; databases named ``bench_copy`` are made on both and dropped. The
table has nine columns and its key, 212 bytes of COPY text a row. Each round runs, one after the
other, `psql \\copy` of the same rows from a local file (what PostgreSQL takes at most over one
connection), our chunks with 1, 2 and 3 readers, and pgloader where it is installed. What counts is
the ratio of times of one round, since machines are noisy; the median of the rounds is printed.
"""

from __future__ import annotations

import argparse
import os
import queue
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from bridge.capture.catalog import read_catalog
from bridge.capture.chunks import Bound, next_bound
from bridge.capture.snapshot import read_chunk
from bridge.change.batch import BadRow
from bridge.config import resolve_url
from bridge.databases import mysql, postgres
from bridge.databases.endpoint import Endpoint
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, quote_postgres
from bridge.replicate.copying import chunk_rows
from bridge.sink.copy import copy_blocks
from bridge.sink.target import Target
from bridge.types import family_of
from bridge.types.base import ColumnPlan

NAME = "bench_copy"
SOURCE_TABLE = """
CREATE TABLE t (
    id bigint unsigned NOT NULL PRIMARY KEY, customer int NOT NULL,
    state enum('new','paid','shipped','returned') NOT NULL, amount decimal(12,2) NOT NULL,
    code char(12) NOT NULL, note varchar(200), gift tinyint NOT NULL, placed datetime(6) NOT NULL,
    changed timestamp(3) NOT NULL) CHARACTER SET utf8mb4
"""
FILL = """
INSERT INTO t SELECT i, i * 7919 % 100000, 1 + i % 4, i * 37 % 1000000 / 100,
    LEFT(SHA2(i, 256), 12), CONCAT(SHA2(i, 256), LEFT(SHA2(i + 1, 256), 42 + i % 24)), i % 2,
    '2020-01-01 00:00:00.000001' + INTERVAL i * 17 SECOND + INTERVAL i * 13 % 1000000 MICROSECOND,
    '2021-01-01' + INTERVAL i % 100000000 SECOND + INTERVAL i % 1000 * 1000 MICROSECOND
FROM (SELECT a.n + 1000 * b.n + 1 + {done} AS i FROM digits a JOIN digits b) numbers
WHERE i <= {rows}
"""


@dataclass(frozen=True)
class Bench:
    """Both servers, the plan, and the rows in a file."""

    source: Endpoint
    target: Endpoint
    plan: TablePlan
    file: Path

    def fresh_target(self) -> None:
        """The empty target table with its key; all that was written before is on disk."""
        columns = ", ".join(
            f"{quote_postgres(c.target_name)} {c.target_type}" for c in self.plan.columns
        )
        with closing(postgres.connect(self.target, autocommit=True)) as conn:
            conn.execute("DROP TABLE IF EXISTS t, done")
            conn.execute(f"CREATE TABLE t ({columns}, PRIMARY KEY (id))".encode())
            conn.execute("CREATE TABLE done (number integer)")
            conn.execute("CHECKPOINT")

    def count(self) -> int:
        """Rows in the target."""
        with closing(postgres.connect(self.target, autocommit=True)) as conn:
            row = conn.execute("SELECT count(*) FROM t").fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def bench(source: Endpoint, target: Endpoint, rows: int) -> Iterator[Bench]:
    """The table in the source and its rows in a file; databases are dropped afterwards."""
    with (
        closing(mysql.connect(source, database="")) as conn,
        closing(postgres.connect(target, autocommit=True)) as admin,
        tempfile.TemporaryDirectory() as folder,
    ):
        _run(conn, f"DROP DATABASE IF EXISTS {NAME}", f"CREATE DATABASE {NAME}", f"USE {NAME}")
        admin.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)".encode())
        admin.execute(f"CREATE DATABASE {NAME} TEMPLATE template0 ENCODING 'UTF8'".encode())
        try:
            _run(conn, "CREATE TABLE digits (n int PRIMARY KEY)", SOURCE_TABLE)
            values = ", ".join(f"({n})" for n in range(1000))
            _run(conn, f"INSERT INTO digits VALUES {values}")
            for done in range(0, rows, 1_000_000):
                _run(conn, FILL.format(done=done, rows=rows))
            _run(conn, "ANALYZE TABLE t")
            file = Path(folder) / "rows"
            plan = _plan(conn)
            with file.open("wb") as out:
                out.writelines(read_chunk(conn, plan, None, None, []))
            places = (replace(source, database=NAME), replace(target, database=NAME))
            yield Bench(*places, plan, file)
        finally:
            _run(conn, f"DROP DATABASE {NAME}")
            admin.execute(f"DROP DATABASE {NAME} WITH (FORCE)".encode())


def _run(conn: Any, *statements: str) -> None:
    with conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            cursor.fetchall()


def _plan(conn: Any) -> TablePlan:
    table = read_catalog(conn, NAME, ["t"])[TableName(NAME, "t")]
    columns = []
    for column in table.columns:
        family = family_of(column)
        assert family is not None
        kind = "bigint" if column.name == "id" else family.proposals(column)[0].target_type
        columns.append(ColumnPlan(column, column.name, kind, column.nullable))
    return TablePlan(table, TableName("public", "t"), tuple(columns), 1, "bench")


def by_psql(made: Bench) -> None:
    """The limit: the rows from a file through one connection."""
    subprocess.run(
        [
            program("psql"),
            "-qX",
            postgres.conninfo(made.target),
            "-c",
            f"\\copy t from '{made.file}'",
        ],
        check=True,
    )


def by_chunks(made: Bench, readers: int) -> None:
    """Our way: each chunk and its done mark in one transaction, several readers."""
    tasks: queue.Queue[tuple[int, Bound | None, Bound | None] | None] = queue.Queue(readers)
    failures: list[Exception] = []

    def read() -> None:
        try:
            with (
                closing(mysql.connect(made.source)) as source,
                closing(postgres.connect(made.target, autocommit=True)) as target,
            ):
                while (task := tasks.get()) is not None:
                    _copy(made.plan, source, target, *task)
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=read, daemon=True) for _ in range(readers)]
    for thread in threads:
        thread.start()
    with closing(mysql.connect(made.source)) as conn:
        size = chunk_rows(Target(made.plan, 1, made.plan.target))
        number, lower = 0, None
        while True:
            upper = next_bound(conn, made.plan, lower, size)
            tasks.put((number, lower, upper))
            number, lower = number + 1, upper
            if upper is None or failures:
                break
    for _ in threads:
        tasks.put(None)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _copy(
    plan: TablePlan,
    source: Any,
    target: psycopg.Connection[Any],
    number: int,
    lower: Bound | None,
    upper: Bound | None,
) -> None:
    bad: list[BadRow] = []
    with target.transaction():
        copy_blocks(target, plan, plan.target, read_chunk(source, plan, lower, upper, bad), bad)
        target.execute("INSERT INTO done VALUES (%s)", [number])
    assert not bad


def by_pgloader(made: Bench) -> None:
    """The peer; it makes its table and index itself."""
    source, target = made.source, made.target
    urls = [
        f"mysql://{source.user}:{source.password.reveal()}@{source.host}:{source.port}/{NAME}",
        f"postgresql://{target.user}:{target.password.reveal()}@{target.host}:{target.port}/{NAME}",
    ]
    done = subprocess.run([program("pgloader"), *urls], capture_output=True, text=True, check=False)
    with closing(postgres.connect(target, autocommit=True)) as conn:
        row = conn.execute(f"SELECT count(*) FROM {NAME}.t".encode()).fetchone()
        conn.execute(f"DROP SCHEMA {NAME} CASCADE".encode())
    assert row is not None
    if not row[0]:
        raise RuntimeError(done.stdout[-1000:] + done.stderr[-1000:])


def program(name: str) -> str:
    """Where a program is; ends the benchmark if it is missing."""
    return shutil.which(name) or sys.exit(f"{name} is not installed")


def timed(made: Bench, work: Callable[[], None], rows: int, *, elsewhere: bool = False) -> float:
    """Seconds of one copy into a fresh table, whose rows are counted."""
    made.fresh_target()
    began = time.monotonic()
    work()
    seconds = time.monotonic() - began
    assert elsewhere or made.count() == rows
    return seconds


def main(words: Sequence[str]) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--readers", default="1,2,3")
    options = parser.parse_args(words)
    source, target = (
        resolve_url(url, os.environ, "argument", Path()) for url in (options.source, options.target)
    )
    counts = [int(word) for word in options.readers.split(",")]
    with bench(source, target, options.rows) as made:
        size = made.file.stat().st_size / 1e6
        print(f"{options.rows:,} rows, {size:,.0f} MB of COPY text")
        measure(made, options.rows, options.rounds, counts)
    print(f"memory of this process at most: {peak():.0f} MB")


def measure(made: Bench, rows: int, rounds: int, counts: Sequence[int]) -> None:
    """Runs the rounds and prints medians."""
    limits: list[float] = []
    ours: dict[int, list[float]] = {count: [] for count in counts}
    used: dict[int, list[float]] = {count: [] for count in counts}
    peers: list[float] = []
    pgloader = shutil.which("pgloader")
    for _ in range(rounds):
        limits.append(timed(made, lambda: by_psql(made), rows))
        for count in counts:
            began = time.process_time()
            ours[count].append(timed(made, lambda count=count: by_chunks(made, count), rows))  # type: ignore[misc]
            used[count].append(time.process_time() - began)
        if pgloader:
            peers.append(timed(made, lambda: by_pgloader(made), rows, elsewhere=True))
    print(f"psql \\copy from a file: {median(limits):.2f} s")
    for count in counts:
        ratio = median(ours[count][n] / limits[n] for n in range(rounds))
        print(
            f"our chunks, readers {count}: {median(ours[count]):.2f} s, {ratio:.2f} times psql;"
            f" {median(used[count]):.2f} s of this process's CPU"
        )
    if peers:
        ratio = median(peers[n] / limits[n] for n in range(rounds))
        print(f"pgloader: {median(peers):.2f} s, {ratio:.2f} times psql")
    else:
        print("pgloader is NOT INSTALLED: not compared (apt install pgloader)")


def peak() -> float:
    """Megabytes of resident memory that this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(sys.argv[1:])
