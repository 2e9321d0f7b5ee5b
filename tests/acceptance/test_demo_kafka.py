"""What comes through Debezium and Kafka is what the log says, but for what events cannot tell.

Two pipelines follow one shop at once, each into a database of its own, whose rows are compared by
plain SQL. Only columns of `UNTOLD` may differ, only in rows where the source holds a zero date, and
verify has to name just these.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.string import TextLoader

from compose.demo import shop
from compose.demo.databases import connect_source
from compose.demo.kafka import UNTOLD
from compose.demo.tour import KEYLESS
from compose.demo.writers import Writers
from compose.local import places
from compose.local.rest import Connect
from tests import fix_servers
from tests.endtoend.compare import assert_same, document
from tests.endtoend.fixtures import NewProject
from tests.endtoend.kafka_project import KafkaProject, NewKafkaProject
from tests.endtoend.project import Daemon, Project
from tests.fix_kafka import Kafka
from tests.fix_servers import SourceDatabase, TargetDatabase

second_db = fix_servers.target_db
"""Another fresh database on PostgreSQL."""

ROWS = 5_000
RATE = 60.0
STEP = 250
"""Transactions from one event of the test to the next."""
PARTITIONS = 3
KEYS = {"orders": "id", "products": "sku"}
SPOILT = {"orders": "1970-01-01 00:00:00", "products": "1970-01-01"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("source", ["mysql"], indirect=True)
def test_both_ways_end_alike(
    source_db: SourceDatabase,
    target_db: TargetDatabase,
    second_db: TargetDatabase,
    new_project: NewProject,
    new_kafka_project: NewKafkaProject,
    kafka: Kafka,
    connect: Connect,
    seed: int,
) -> None:
    shop.fill(source_db.url, ROWS)
    by_log = new_project(source_db, target_db)
    by_kafka = new_kafka_project(source_db, second_db, kafka, connect)
    by_kafka.start_connector(single=(KEYLESS,), partitions=PARTITIONS)
    for project in (by_log, by_kafka):
        project.init()
        project.consent_to_lock(KEYLESS)
        project.apply_schema()
    with Writers(source_db.url, seed, RATE) as writers:
        follow(by_log, by_kafka, writers)
    for project in (by_log, by_kafka):
        project.catch_up()

    assert_same(source_db, target_db, zero_dates_as_null=True)
    differing = compared(source_db, target_db, second_db)
    assert differing, "no zero date was streamed"
    assert by_log.run("verify").out.splitlines()[-2].startswith("match")
    by_kafka.run("verify", "--output", "differences.ndjson", code=1)
    assert named(by_kafka.folder / "differences.ndjson") == differing


def follow(by_log: Project, by_kafka: KafkaProject, writers: Writers) -> None:
    """Both pipelines copy and stream; the process that leads by Kafka is killed."""
    log = by_log.sync()
    first = by_kafka.sync()
    by_kafka.wait_streaming(first)
    by_log.wait_streaming(log)
    second = by_kafka.sync()
    wait_shared(by_kafka, first, second)
    wait_written(by_log, writers)
    first.kill()
    wait_shared(by_kafka, second)
    wait_written(by_log, writers)
    writers.stop()
    for daemon in (log, second):
        daemon.stop()


def wait_shared(project: KafkaProject, *daemons: Daemon) -> None:
    """Waits until these processes, and no others, have partitions."""
    wanted = {daemon.process.pid for daemon in daemons}
    query = "SELECT split_part(holder, ':', 2)::int FROM dbbridge.partitions WHERE holder <> ''"
    project.wait_until(lambda: {pid for (pid,) in project.ask(query)} == wanted, daemon=daemons[0])


def wait_written(project: Project, writers: Writers) -> None:
    """Waits until the shop's users have done more."""
    goal = writers.counts.transactions + STEP
    project.wait_until(lambda: writers.counts.transactions >= goal)


# -- comparing --------------------------------------------------------------------------------

Place = tuple[str, str]
"""A table and a key."""


def compared(
    source: SourceDatabase, by_log: TargetDatabase, by_kafka: TargetDatabase
) -> set[Place]:
    """Rows that differ as they may; fails if others do, or otherwise."""
    spoilt: set[Place] = set()
    with (
        closing(connect_source(source.url)) as origin,
        by_log.connect() as here,
        by_kafka.connect() as there,
    ):
        for table in shop.tables(origin):
            column = dict(UNTOLD).get(table, "")
            log, kafka = (read(conn, source.name, table, column) for conn in (here, there))
            assert log.rows == kafka.rows, table
            if column:
                spoilt |= differing(table, log, kafka, zero_dates(origin, table, column))
    return spoilt


@dataclass(frozen=True)
class Found:
    """A table's rows without a column, and that column's values by key."""

    rows: Counter[tuple[Any, ...]]
    apart: Mapping[str, str | None]


def read(conn: psycopg.Connection[Any], schema: str, table: str, column: str) -> Found:
    for name in ("json", "jsonb"):
        conn.adapters.register_loader(name, TextLoader)
    found = conn.execute(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attname",
        [f"{schema}.{table}"],
    ).fetchall()
    kinds = {name: kind for name, kind in found if name != column}
    names = sql.SQL(", ").join(map(sql.Identifier, kinds))
    relation = sql.Identifier(schema, table)
    documents = [at for at, kind in enumerate(kinds.values()) if kind.startswith("json")]
    rows = Counter(
        tuple(document(v) if v and at in documents else v for at, v in enumerate(map(plain, row)))
        for row in conn.execute(sql.SQL("SELECT {} FROM {}").format(names, relation))
    )
    if not column:
        return Found(rows, {})
    pair = (sql.Identifier(KEYS[table]), sql.Identifier(column), relation)
    query = sql.SQL("SELECT {}::text, {}::text FROM {}").format(*pair)
    return Found(rows, dict(conn.execute(query).fetchall()))


def plain(value: Any) -> Any:
    """A value that can be counted."""
    return tuple(value) if isinstance(value, list) else value


def differing(table: str, log: Found, kafka: Found, zeros: set[str]) -> set[Place]:
    assert log.apart.keys() == kafka.apart.keys()
    keys = {key for key, value in log.apart.items() if kafka.apart[key] != value}
    for key in keys:
        assert (log.apart[key], kafka.apart[key]) == (None, SPOILT[table]), (table, key)
        assert key in zeros, (table, key)
    return {(table, key) for key in keys}


def zero_dates(conn: Any, table: str, column: str) -> set[str]:
    """The keys of the source's rows that hold a zero date, partly zero ones among them."""
    with conn.cursor() as cursor:
        cursor.execute(
            f"SELECT CAST({KEYS[table]} AS CHAR) FROM {table}"
            f" WHERE MONTH({column}) = 0 OR DAYOFMONTH({column}) = 0"
        )
        return {key for (key,) in cursor.fetchall()}


def named(path: Path) -> set[Place]:
    """What verify found; fails if that is anything but the columns that may differ."""
    found: set[Place] = set()
    for each in map(json.loads, path.read_text("utf-8").splitlines()):
        table = each["table"].rpartition(".")[2]
        columns = [column["name"] for column in each["columns"]]
        assert (each["kind"], columns) == ("differs", [dict(UNTOLD).get(table)]), each
        found.add((table, str(each["key"][KEYS[table]])))
    return found


# -- where it cannot be run --------------------------------------------------------------------


def test_without_java_it_says_what_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "compose.demo", "--kafka"],
        cwd=places.CHECKOUT,
        env={**os.environ, "PATH": "/nonexistent", "JAVA_HOME": "", "DBBRIDGE_SERVERS": "private"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 4, done.stdout
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: no ")
    assert "install" in error
    for variable in ("MYSQL_URL", "MAIN_URL", "KAFKA_BOOTSTRAP", "CONNECT_URL"):
        assert variable in hint
