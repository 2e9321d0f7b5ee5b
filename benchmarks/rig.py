"""What the benchmarks of whole commands share: two databases, a project, and processes with clocks.

The source gets a table `t` of nine columns and its key (212 bytes of COPY text a row), a table
`five` of five columns, and a small table `live` that a writer can keep changing. Every verb of
dbbridge is a process of its own, as a user has it; its time is the whole process's, from its start
to its end, and its memory the most that was ever resident (VmHWM, which begins anew with the
program, unlike what wait4 tells).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from bridge.config.urls import resolve_url
from bridge.databases import mysql, postgres
from bridge.databases.endpoint import Endpoint

CHECKOUT = Path(__file__).resolve().parents[1]
LOOK_SECONDS = 0.02
LIVE_ROWS = 10_000

TABLES = {
    "t": """
        CREATE TABLE t (
            id bigint NOT NULL PRIMARY KEY, customer int NOT NULL,
            state enum('new','paid','shipped','returned') NOT NULL, amount decimal(12,2) NOT NULL,
            code char(12) NOT NULL, note varchar(200), gift tinyint NOT NULL,
            placed datetime(6) NOT NULL, changed timestamp(3) NOT NULL) CHARACTER SET utf8mb4""",
    "five": """
        CREATE TABLE five (
            id bigint NOT NULL PRIMARY KEY, customer int NOT NULL, amount decimal(12,2) NOT NULL,
            note varchar(200), placed datetime(6) NOT NULL) CHARACTER SET utf8mb4""",
    "live": "CREATE TABLE live (id int PRIMARY KEY, n int NOT NULL, note varchar(100) NOT NULL)",
}
_NUMBERS = """
    FROM (SELECT a.n + 1000 * b.n + 1 + {done} AS i FROM digits a JOIN digits b) numbers
    WHERE i <= {rows}"""
_NOTE = "CONCAT(SHA2(i, 256), LEFT(SHA2(i + 1, 256), 42 + i % 24))"
_PLACED = (
    "'2020-01-01 00:00:00.000001' + INTERVAL i * 17 SECOND + INTERVAL i * 13 % 1000000 MICROSECOND"
)
FILLS = {
    "t": f"""
        INSERT INTO t SELECT i, i * 7919 % 100000, 1 + i % 4, i * 37 % 1000000 / 100,
            LEFT(SHA2(i, 256), 12), {_NOTE}, i % 2, {_PLACED},
            '2021-01-01' + INTERVAL i % 100000000 SECOND + INTERVAL i % 1000 * 1000 MICROSECOND""",
    "five": f"""
        INSERT INTO five SELECT i, i * 7919 % 100000, i * 37 % 1000000 / 100, {_NOTE}, {_PLACED}""",
    "live": "INSERT INTO live SELECT i, 0, REPEAT('x', 80)",
}


@dataclass(frozen=True, slots=True)
class Run:
    """A process that has ended."""

    seconds: float
    megabytes: float
    """Resident at most."""
    code: int
    out: str
    err: str


def run(
    words: Sequence[str | Path], environment: Mapping[str, str] | None = None, folder: str = "."
) -> Run:
    """Runs a program to its end, with its time and memory."""
    began = time.monotonic()
    process = subprocess.Popen(
        words,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    peak = [0.0]
    watcher = threading.Thread(target=_watch, args=(process, peak), daemon=True)
    watcher.start()
    out, err = process.communicate()
    seconds = time.monotonic() - began
    watcher.join()
    return Run(seconds, peak[0], process.returncode, out, err)


def _watch(process: subprocess.Popen[str], peak: list[float]) -> None:
    status = Path(f"/proc/{process.pid}/status")
    while process.returncode is None:
        with suppress(OSError):
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peak[0] = max(peak[0], int(line.split()[1]) / 1024)
        time.sleep(LOOK_SECONDS)


@dataclass
class Rig:
    """Both databases and the folder with bridge.yaml and mappings/."""

    name: str
    source: Endpoint
    target: Endpoint
    folder: Path
    aside: Path
    tables: tuple[str, ...]
    logs: list[str] = field(default_factory=list)

    def verb(self, *words: str, code: int = 0) -> Run:
        """One verb of dbbridge; ends the benchmark if it exits with another code."""
        done = run(
            [sys.executable, "-m", "bridge.cli.start", *words],
            self._environment(),
            str(self.folder),
        )
        if done.code != code:
            said = f"{done.out[:1000]}\n{done.err[:1000]}"
            sys.exit(f"dbbridge {' '.join(words)} ended with {done.code}:\n{said}")
        return done

    @contextmanager
    def syncing(self) -> Iterator[None]:
        """Meanwhile `dbbridge sync` streams."""
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge.cli.start", "sync"],
            cwd=self.folder,
            env={**os.environ, **self._environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()

    def begin(self, *tables: str) -> None:
        """A target without anything but these tables, empty; what was written before is on disk."""
        with closing(self.postgres()) as conn:
            conn.execute("DROP SCHEMA IF EXISTS dbbridge CASCADE")
            conn.execute(f"DROP SCHEMA IF EXISTS {self.name} CASCADE".encode())
        self.follow(*tables)
        with closing(self.postgres()) as conn:
            conn.execute("CHECKPOINT")

    def follow(self, *tables: str) -> None:
        """Carries these tables from now on, and makes what is missing of them in the target."""
        mapped = self.folder / "mappings" / self.name
        for table in self.tables:
            here, there = mapped / f"{table}.yaml", self.aside / f"{table}.yaml"
            if table in tables and there.exists():
                there.rename(here)
            elif table not in tables and here.exists():
                here.rename(there)
        plan = json.loads(self.verb("schema", "plan", "--format", "json").out)["plan"]
        self.verb("schema", "apply", "--plan", plan)

    def count(self, table: str) -> int:
        """Rows of a table in the target."""
        with closing(self.postgres()) as conn:
            row = conn.execute(f"SELECT count(*) FROM {self.name}.{table}".encode()).fetchone()
        assert row is not None
        return int(row[0])

    def mysql(self) -> Any:
        """A session in the source."""
        return mysql.connect(self.source)

    def postgres(self) -> Any:
        """A session in the target."""
        return postgres.connect(self.target, autocommit=True)

    def psql(self, command: str) -> float:
        """Seconds of one command of psql's."""
        done = run([program("psql"), "-qX", postgres.conninfo(self.target), "-c", command])
        if done.code:
            sys.exit(f"psql: {done.err}")
        return done.seconds

    @contextmanager
    def writing(self, rate: float) -> Iterator[list[int]]:
        """Meanwhile `live` is changed `rate` times a second; the list has the number of changes."""
        halt, done = threading.Event(), [0]

        def write() -> None:
            with closing(self.mysql()) as conn, conn.cursor() as cursor:
                began = time.monotonic()
                while not halt.wait(max(0.0, began + done[0] / rate - time.monotonic())):
                    key = done[0] * 37 % LIVE_ROWS + 1
                    cursor.execute("UPDATE live SET n = n + 1 WHERE id = %s", (key,))
                    done[0] += 1

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        try:
            yield done
        finally:
            halt.set()
            thread.join()

    def _environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(CHECKOUT),
            "BENCH_SOURCE": self.source.password.reveal(),
            "BENCH_TARGET": self.target.password.reveal(),
        }


@contextmanager
def rig(source_url: str, target_url: str, name: str, rows: Mapping[str, int]) -> Iterator[Rig]:
    """Makes the databases and a project, with these tables of so many rows; drops all afterwards.

    The URLs are an administrator's.
    """
    source, target = (
        resolve_url(url, os.environ, "argument", Path()) for url in (source_url, target_url)
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        admin = stack.enter_context(closing(mysql.connect(source, database="")))
        there = stack.enter_context(closing(postgres.connect(target, autocommit=True)))
        _drop(admin, there, name)
        stack.callback(_drop, admin, there, name)
        _run(admin, f"CREATE DATABASE {name}", f"USE {name}")
        there.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'".encode())
        _fill(admin, rows)
        made = Rig(
            name,
            replace(source, database=name),
            replace(target, database=name),
            folder / "project",
            folder / "aside",
            tuple(rows),
        )
        made.folder.mkdir()
        made.aside.mkdir()
        urls = (_url(made.source, "env:BENCH_SOURCE"), _url(made.target, "env:BENCH_TARGET"))
        made.verb("init", "--source", urls[0], "--target", urls[1])
        yield made


def _url(endpoint: Endpoint, password: str) -> str:
    place = f"{endpoint.host}:{endpoint.port}/{endpoint.database}"
    return f"{endpoint.kind}://{endpoint.user}:{password}@{place}"


def _fill(conn: Any, rows: Mapping[str, int]) -> None:
    digits = ", ".join(f"({n})" for n in range(1000))
    _run(conn, "CREATE TABLE digits (n int PRIMARY KEY)", f"INSERT INTO digits VALUES {digits}")
    for table, count in rows.items():
        _run(conn, TABLES[table])
        for done in range(0, count, 1_000_000):
            _run(conn, FILLS[table] + _NUMBERS.format(done=done, rows=count))
        _run(conn, f"ANALYZE TABLE {table}")
    _run(conn, "DROP TABLE digits")


def _drop(source: Any, target: Any, name: str) -> None:
    _run(source, f"DROP DATABASE IF EXISTS {name}")
    target.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


def _run(conn: Any, *statements: str) -> None:
    with conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            cursor.fetchall()


def program(name: str) -> str:
    """Where a program is; ends the benchmark if it is missing."""
    return shutil.which(name) or sys.exit(f"{name} is not installed")


def ratio(mine: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' ratios: what one round measured, the machine's mood included."""
    return median(a / b for a, b in zip(mine, theirs, strict=True))
