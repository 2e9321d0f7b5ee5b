"""verify beside a running sync while the application writes: no false alarm, no false match."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from tests.endtoend import tables
from tests.endtoend.arriving import goes_on
from tests.endtoend.project import Project
from tests.endtoend.traffic import Traffic

SECONDS = 6.0
"""How long verify runs again and again under load, on each kind of source."""
ENOUGH = 50
"""Verdicts; of fewer, a single row that does not rest would be no exception."""
QUIET_ROWS = 3000


def _begin(project: Project, seed: int) -> None:
    """The suite's tables, and one that nobody writes."""
    tables.create(project.source, bulk=20_000, seed=seed)
    numbers = ",".join(f"({n}, {n % 7}, 'text {n}')" for n in range(1, QUIET_ROWS + 1))
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE quiet (id int PRIMARY KEY, v int, w varchar(20) NOT NULL)")
        cursor.execute(f"INSERT INTO quiet VALUES {numbers}")
    project.begin()
    project.consent_to_lock(tables.KEYLESS)


def _verify(project: Project, *words: str) -> Any:
    """What verify says, by table; its exit code is the verdict's."""
    done = project.run("verify", *words, "--format", "json", code=None)
    document = done.json
    assert done.code == {"match": 0, "mismatch": 1, "inconclusive": 3}[document["verdict"]]
    return {table["table"].partition(".")[2]: table for table in document["tables"]}


def test_no_false_alarm_while_everything_moves(project: Project, seed: int) -> None:
    _begin(project, seed)
    verdicts: Counter[str] = Counter()
    with Traffic(project.source, seed, writers=3, rate=60) as traffic:
        daemon = project.sync()
        project.wait_streaming(daemon)
        until = time.monotonic() + SECONDS
        while time.monotonic() < until or verdicts.total() < ENOUGH:
            for table in _verify(project).values():
                assert table["verdict"] != "mismatch", json.dumps(table, indent=1)
                # Of a table that the traffic empties meanwhile no row's key is in the log.
                if table["reason"] != "the table was truncated":
                    verdicts[table["verdict"]] += 1
        traffic.stop()
    # Rows that never rest may stay undecided, but that is the exception.
    assert verdicts["match"] > 10 * verdicts["inconclusive"], verdicts
    # Of a table that was emptied behind what is applied yet nothing could be said.
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        goes_on(project, cursor, daemon, "quiet")
    assert {table["verdict"] for table in _verify(project).values()} == {"match"}


def test_planted_differences_are_found_while_everything_moves(project: Project, seed: int) -> None:
    _begin(project, seed)
    daemon = project.sync()
    project.wait_streaming(daemon)
    quiet = f'"{project.source.name}".quiet'
    with project.target.connect() as conn:
        conn.execute(f"DELETE FROM {quiet} WHERE id = 100".encode())
        conn.execute(f"INSERT INTO {quiet} VALUES (-5, 0, 'extra')".encode())
        conn.execute(f"UPDATE {quiet} SET w = w || ' ' WHERE id = 2000".encode())
    with Traffic(project.source, seed, writers=3, rate=60) as traffic:
        found = _verify(project, "--output", "differences.ndjson")
        traffic.stop()
    verdicts = {name: table["verdict"] for name, table in found.items()}
    assert [name for name, word in verdicts.items() if word == "mismatch"] == ["quiet"], verdicts
    by_key = {d["key"]["id"]: d for d in found["quiet"]["differences"]}
    assert {key: d["kind"] for key, d in by_key.items()} == {
        "100": "missing",
        "-5": "extra",
        "2000": "differs",
    }
    assert by_key["2000"]["columns"] == [
        {"name": "w", "source": "text 2000", "target": "text 2000 "}
    ]
    lines = (project.folder / "differences.ndjson").read_text().splitlines()
    assert {json.loads(line)["key"]["id"] for line in lines} == {"100", "-5", "2000"}


def test_rows_that_never_rest_are_no_mismatch(project: Project, seed: int) -> None:
    """Counters, and rows that come and go all the time under few keys."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE hot (id int PRIMARY KEY, v int NOT NULL)")
        cursor.execute("INSERT INTO hot VALUES (1, 0), (2, 0), (3, 0)")
    project.begin()
    daemon = project.sync()
    project.wait_streaming(daemon)
    with _restless(project):
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            hot = _verify(project)["hot"]
            assert hot["verdict"] != "mismatch", hot
    assert _verify(project)["hot"]["verdict"] == "match"


@contextmanager
def _restless(project: Project) -> Iterator[None]:
    stopping = threading.Event()
    failures: list[BaseException] = []

    def write(first: int) -> None:
        try:
            with closing(project.source.connect()) as conn, conn.cursor() as cursor:
                while not stopping.wait(0.005):
                    cursor.execute("UPDATE hot SET v = v + 1 WHERE id = 1")
                    cursor.execute("UPDATE hot SET v = 1 - v WHERE id = 2")
                    cursor.execute("DELETE FROM hot WHERE id = %s", (first,))
                    cursor.execute("INSERT INTO hot VALUES (%s, 1)", (first,))
        except BaseException as error:  # noqa: BLE001 (raised below)
            failures.append(error)

    threads = [threading.Thread(target=write, args=(first,)) for first in (10, 11)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def test_a_paused_table_and_a_stopped_sync_prove_nothing(project: Project, seed: int) -> None:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE one (id int PRIMARY KEY)")
        cursor.execute("CREATE TABLE two (id int PRIMARY KEY)")
        cursor.execute("INSERT INTO one VALUES (1)")
    project.begin()
    daemon = project.sync()
    project.wait_streaming(daemon)
    project.run("tables", "pause", "one")
    found = _verify(project)
    assert found["one"]["reason"] == "paused"
    assert found["one"]["hint"] == f"dbbridge tables resume {project.source.name}.one"
    assert found["two"]["verdict"] == "match"
    project.run("tables", "resume", "one")
    project.wait_streaming(daemon)
    daemon.stop()
    assert {table["verdict"] for table in _verify(project).values()} == {"match"}
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("INSERT INTO two VALUES (7)")
    found = _verify(project, "two")
    assert (found["two"]["verdict"], found["two"]["hint"]) == ("inconclusive", "dbbridge sync")
    text = project.run("verify", "two", code=3).out.splitlines()
    assert text[-1] == "next: dbbridge sync"
    project.catch_up()
    assert _verify(project, "two")["two"]["verdict"] == "match"


def test_a_stopped_table_is_named_once_where_it_is_told_why(project: Project) -> None:
    stops = {
        "altered": ("ALTER TABLE altered ADD COLUMN v int", "the source changed the definition: "),
        "asked": ("UPDATE asked SET id = 2", "the source changed rows by a statement: "),
    }
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for table in stops:
            cursor.execute(f"CREATE TABLE {table} (id int PRIMARY KEY)")
        project.begin()
        daemon = project.sync()
        project.wait_streaming(daemon)
        cursor.execute("SET SESSION binlog_format = 'STATEMENT'")
        for statement, _ in stops.values():
            cursor.execute(statement)
    stopped = {"stopped"}
    project.wait_until(
        lambda: {t["state"] for t in project.status()["tables"]} == stopped, daemon=daemon
    )
    told = project.run("verify", code=3).out.splitlines()
    for table, (statement, why) in stops.items():
        name = f"{project.source.name}.{table}"
        (line,) = [line for line in told if line.startswith(f"{name}: ")]
        assert line.startswith(f"{name}: stopped: {why}{statement}")
        assert line.count(name) == 1
