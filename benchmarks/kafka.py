"""How fast events come from a topic into a table, beside the Debezium JDBC sink on the same topic.

    python -m benchmarks.kafka SOURCE TARGET [--rows 1000000] [--events 1000000] [--rounds 2]

Both are URLs of an administrator's (the source is asked for the table's definition only); databases
named ``bench_kafka`` are made on both and dropped. A broker and a worker of Kafka Connect are
started for the run. Topics of four partitions get updates as Debezium writes them, in JSON with
schemas off and embedded, of a table with two secondary indexes. Every update changes both indexed
columns, which is the most that an update can ask of PostgreSQL, or with ``kept`` neither of them.
Measured is, in every round,

- the product's own consumer, one process, off and embedded, and two processes on the embedded one;
- the sink with batches of 5,000 and its reduction buffer, on the embedded one;
- PostgreSQL alone: such updates by one COPY and one INSERT … ON CONFLICT a batch.

The time is from the first change that is seen in the table to the last one of every partition, so
that no one's start counts; with two processes it begins when both have partitions, since the first
one has all of them until the group has heard of the second, which takes seconds once.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from psycopg.types.json import Jsonb

from bridge.capture.catalog import read_catalog
from bridge.capture.topics import Topics
from bridge.config.urls import resolve_url
from bridge.databases import mysql, postgres
from bridge.databases.endpoint import Endpoint
from bridge.databases.kafka import KafkaEndpoint
from bridge.mapping.compile import compile_table
from bridge.mapping.model import TableMapping, to_document
from bridge.mapping.propose import propose_table
from bridge.names import TableName
from bridge.replicate.builder import BATCH_ROWS
from bridge.replicate.daemon import SWITCH_SECONDS
from bridge.replicate.kafka.member import Member
from bridge.replicate.kafka.post import Post
from bridge.replicate.plans import Planner
from bridge.sink.target import Target
from bridge.store.migrate import migrate
from bridge.store.partitions import PartitionState, add_partition
from bridge.types.events import EventSettings
from compose.local import connect as workers
from compose.local import servers
from compose.local.rest import Connect

NAME = "bench_kafka"
PARTITIONS = 4
SOURCE = TableName(NAME, "t")
TABLE = """
CREATE TABLE t (
    id bigint NOT NULL PRIMARY KEY, n int, state varchar(8), amount decimal(12,2), code char(8),
    name varchar(100), flag smallint, at datetime(6), ts timestamp(3) NULL, KEY (n), KEY (name))
"""
TARGET = """
CREATE TABLE {t} (
    id bigint PRIMARY KEY, n integer, state varchar(8), amount numeric(12,2), code varchar(8),
    name varchar(100), flag smallint, at timestamp(6), ts timestamptz(3));
INSERT INTO {t} SELECT i, i % 9973, 'new', i / 100.0, 'c' || i % 1000000,
    'name ' || i || ' ' || repeat('x', 50), i % 2, '2024-01-01 10:00:00.5',
    '2024-01-01 10:00:00.123'
FROM generate_series(1, {rows}) AS i;
CREATE INDEX ON {t} (n);
CREATE INDEX ON {t} (name);
"""
HOLDERS = b"SELECT count(DISTINCT nullif(holder, '')), sum(next_offset) FROM dbbridge.partitions"
_DECIMAL = {
    "type": "bytes",
    "name": "org.apache.kafka.connect.data.Decimal",
    "version": 1,
    "parameters": {"scale": "2", "connect.decimal.precision": "12"},
}
FIELDS: dict[str, dict[str, Any]] = {
    "id": {"type": "int64"},
    "n": {"type": "int32"},
    "state": {"type": "string"},
    "amount": _DECIMAL,
    "code": {"type": "string"},
    "name": {"type": "string"},
    "flag": {"type": "int16"},
    "at": {"type": "int64", "name": "io.debezium.time.MicroTimestamp", "version": 1},
    "ts": {"type": "string", "name": "io.debezium.time.ZonedTimestamp", "version": 1},
}
"""What an embedded schema says of the columns."""


@dataclass(frozen=True)
class Rig:
    """Servers and sizes of one run."""

    source: Endpoint
    target: Endpoint
    bootstrap: str
    connect: Connect
    rows: int
    events: int

    def open_target(self) -> psycopg.Connection[Any]:
        """A session with the benchmark's database."""
        return postgres.connect(self.target, autocommit=True, database=NAME)

    def open_source(self) -> Any:
        """The same on the source."""
        return mysql.connect(self.source, database=NAME)


def main(words: Sequence[str]) -> None:
    """Prints the figures; with ``--member`` this process is one of the consumers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--member", nargs=2, metavar=("BOOTSTRAP", "TOPIC"))
    options = parser.parse_args(words)
    ends = [
        resolve_url(url, os.environ, "", Path.cwd()) for url in (options.source, options.target)
    ]
    if options.member:
        consume(ends[0], ends[1], *options.member)
        return
    with rig(ends[0], ends[1], options.rows, options.events) as made:
        found: dict[str, list[float]] = {}
        for number in range(options.rounds):
            for name, seconds in one_round(made, number):
                found.setdefault(name, []).append(seconds)
                print(f"{name}: {made.events / seconds:,.0f} a second", flush=True)
        report(made, found)


@contextmanager
def rig(source: Endpoint, target: Endpoint, rows: int, events: int) -> Iterator[Rig]:
    """Databases and the two servers of Kafka, gone afterwards."""
    with ExitStack() as stack:
        admin = stack.enter_context(closing(mysql.connect(source, database="")))
        there = stack.enter_context(closing(postgres.connect(target, autocommit=True)))
        stack.callback(_drop, admin, there)
        _drop(admin, there)
        with admin.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {NAME}")
        there.execute(f"CREATE DATABASE {NAME}".encode())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fast = ["-Xmx768m", "-XX:TieredStopAtLevel=4"]
        broker = servers.start("kafka", folder / "kafka", options=fast)
        stack.callback(broker.stop)
        told = [*workers.options(broker.url(), ["jdbc"]), *fast]
        worker = servers.start("connect", folder / "connect", options=told)
        stack.callback(worker.stop)
        made = Rig(source, target, broker.url(), Connect(worker.url()), rows, events)
        with closing(made.open_source()) as one, one.cursor() as cursor:
            cursor.execute(TABLE)
        with closing(made.open_target()) as conn:
            migrate(conn)
            for table in ("t", "sink"):
                conn.execute(TARGET.format(t=table, rows=rows).encode())
        yield made


def _drop(source: Any, target: psycopg.Connection[Any]) -> None:
    with source.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {NAME}")
    target.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)".encode())


# -- events ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Update:
    """Of every row. The table has seen `marker`, and its indexed columns `indexed`, afterwards."""

    marker: int
    indexed: int


def event(number: int, ident: int, update: Update) -> dict[str, Any]:
    """The payload of an update of one row."""
    return {
        "before": row(ident, Update(update.marker - 1, update.marker - 1)),
        "after": row(ident, update),
        "source": {
            "version": "3.6.1.Final", "connector": "mysql", "name": NAME, "ts_ms": 1700000000000,
            "snapshot": "false", "db": NAME, "sequence": None, "ts_us": 1700000000000000,
            "ts_ns": 1700000000000000000, "table": "t", "server_id": 223344,
            "gtid": f"24bc7850-2c16-11e6-a073-0242ac110002:{number}", "file": "binlog.000003",
            "pos": 484 + 300 * number, "row": 0, "thread": 7, "query": None,
        },
        "transaction": None, "op": "u", "ts_ms": 1700000000123, "ts_us": 1700000000123456,
        "ts_ns": 1700000000123456789,
    }  # fmt: skip


def row(ident: int, update: Update) -> dict[str, Any]:
    """A row after the update."""
    marker, indexed = update.marker, update.indexed
    amount = (ident + 100 * marker).to_bytes(5, "big")
    return {
        "id": ident, "n": ident % 9973 + indexed, "state": "paid",
        "amount": base64.b64encode(amount).decode(), "code": f"c{ident % 1000000}",
        "name": f"u{indexed}name {ident} {'x' * 50}", "flag": marker,
        "at": 1700000000500000 + ident * 1_000_000, "ts": "2024-01-01T10:00:00.123Z",
    }  # fmt: skip


def schema() -> dict[str, Any]:
    """The envelope's, as long as Debezium's."""
    fields = [{**kind, "optional": name != "id", "field": name} for name, kind in FIELDS.items()]
    source = event(1, 1, Update(1, 1))["source"]
    kinds = {str: "string", int: "int64", type(None): "string"}
    places = [
        {"type": kinds[type(value)], "optional": True, "field": name}
        for name, value in source.items()
    ]
    rows = {"type": "struct", "fields": fields, "optional": True, "name": f"{NAME}.t.Value"}
    about = {"type": "struct", "fields": places, "optional": False, "name": "Source"}
    times = [{"type": "int64", "optional": True, "field": f"ts_{unit}s"} for unit in "mun"]
    return {
        "type": "struct",
        "fields": [
            {**rows, "field": "before"}, {**rows, "field": "after"}, {**about, "field": "source"},
            {"type": "string", "optional": True, "field": "transaction"},
            {"type": "string", "optional": False, "field": "op"}, *times,
        ],
        "optional": False, "name": f"{NAME}.{NAME}.t.Envelope", "version": 2,
    }  # fmt: skip


def fill(made: Rig, topic: str, update: Update, *, schemas: bool) -> None:
    """Makes the topic and writes one update of each of so many rows, spread over the table."""
    admin = AdminClient({"bootstrap.servers": made.bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result()
    producer = Producer(
        {"bootstrap.servers": made.bootstrap, "linger.ms": 50, "compression.type": "lz4"}
    )
    head = b'{"schema":' + json.dumps(schema(), separators=(",", ":")).encode() + b',"payload":'
    key = {"type": "struct", "fields": [{"type": "int64", "optional": False, "field": "id"}],
           "optional": False, "name": "Key"}  # fmt: skip
    for number in range(made.events):
        ident = ident_of(made, number)
        value = json.dumps(event(number, ident, update), separators=(",", ":")).encode()
        told: dict[str, Any] = {"id": ident}
        if schemas:
            value, told = head + value + b"}", {"schema": key, "payload": told}
        while True:
            try:
                producer.produce(topic, value, json.dumps(told), number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.05)
    producer.flush()


def ident_of(made: Rig, number: int) -> int:
    """The row of the event: one after the other, as a job that goes over a table does it."""
    return number % made.rows + 1


# -- who is measured -----------------------------------------------------------------------------


RUNS = (("off", False, 1), ("kept", False, 1), ("embedded", True, 1), ("two", True, 2))
"""Topics, whether their messages embed schemas, and how many processes consume them."""


def one_round(made: Rig, number: int) -> Iterator[tuple[str, float]]:
    """Everything once: names and seconds."""
    marker = 10 * number
    for name, schemas, processes in RUNS:
        marker += 1
        topic = f"{name}{number}"
        update = Update(marker, marker - (name == "kept"))
        fill(made, topic, update, schemas=schemas)
        yield f"{name} ({processes})", ours(made, topic, marker, processes)
        if name == "two":
            yield "sink", theirs(made, topic, marker)
    yield "PostgreSQL alone", limit(made, Update(marker + 1, marker + 1))
    yield "PostgreSQL alone, kept", limit(made, Update(marker + 2, marker + 1))


def ours(made: Rig, topic: str, marker: int, processes: int) -> float:
    """Our consumers."""
    prepare(made, topic)
    words = ["-m", "benchmarks.kafka", _url(made.source), _url(made.target)]
    members = [
        subprocess.Popen([sys.executable, *words, "--member", made.bootstrap, topic])
        for _ in range(processes)
    ]
    try:
        return watch(made, "t", marker, processes)
    finally:
        for member in members:
            member.kill()
            member.wait()


def prepare(made: Rig, topic: str) -> None:
    """The control schema as a leading process leaves it: the table streams, from offset 0."""
    with closing(made.open_source()) as source:
        table = read_catalog(source, NAME, ["t"])[SOURCE]
    mapping = mapping_of(table)
    plan = compile_table(mapping, table)
    topics = Topics(KafkaEndpoint(made.bootstrap)).describe([topic])
    with closing(made.open_target()) as conn:
        conn.execute("DELETE FROM dbbridge.pipeline")
        conn.execute("INSERT INTO dbbridge.pipeline (name) VALUES (%s)", [NAME])
        conn.execute("DELETE FROM dbbridge.tables")
        conn.execute(
            "INSERT INTO dbbridge.tables (pipeline, source_schema, source_table, target_schema,"
            " target_table, stage, indexed, mapping, version)"
            " VALUES (%s, %s, 't', 'public', 't', 'streaming', true, %s, %s)",
            [NAME, NAME, Jsonb(to_document(mapping)), plan.version],
        )
        for number in range(PARTITIONS):
            state = PartitionState(
                topic, number, 1, SOURCE, topics[topic].id, 0, 0, "", None, True, ""
            )
            add_partition(conn, NAME, state)
        conn.execute("VACUUM ANALYZE t")


def mapping_of(table: Any) -> TableMapping:
    """What `init` proposes."""
    return propose_table(table, [], target=TableName("public", "t"))


def consume(source: Endpoint, target: Endpoint, bootstrap: str, topic: str) -> None:
    """A process of the product's group, without a lead."""
    sys.setswitchinterval(SWITCH_SECONDS)
    events = EventSettings(schemas=not topic.startswith(("off", "kept")))
    planner = Planner(lambda: mysql.connect(source, database=NAME), dict)
    post = Post(
        NAME,
        f"group-{topic}",
        KafkaEndpoint(bootstrap),
        events,
        lambda: postgres.connect(target, autocommit=True, database=NAME),
        planner,
        host="bench",
        holder=f"bench:{os.getpid()}",
    )
    member = Member(post)
    member.start()
    member.ended.wait()
    if member.failure is not None:
        raise member.failure


def theirs(made: Rig, topic: str, marker: int) -> float:
    """The sink."""
    target = made.target
    config = {
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "tasks.max": "1",
        "topics": topic,
        "connection.url": f"jdbc:postgresql://{target.host}:{target.port}/{NAME}",
        "connection.username": target.user,
        "connection.password": target.password.reveal(),
        "insert.mode": "upsert",
        "delete.enabled": "true",
        "primary.key.mode": "record_key",
        "schema.evolution": "none",
        "collection.name.format": "sink",
        "batch.size": "5000",
        "use.reduction.buffer": "true",
        "consumer.override.max.poll.records": "5000",
        "consumer.override.auto.offset.reset": "earliest",
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "key.converter.schemas.enable": "true",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "true",
    }
    with closing(made.open_target()) as conn:
        conn.execute("VACUUM ANALYZE sink")
    made.connect.put(f"sink-{topic}", config)
    try:
        made.connect.wait(f"sink-{topic}")
        return watch(made, "sink", marker)
    finally:
        made.connect.delete(f"sink-{topic}")


def watch(made: Rig, table: str, marker: int, processes: int = 1) -> float:
    """Seconds from the first change that is seen to the last one of each partition.

    With several `processes` from when each of them has partitions; the seconds are then those that
    all events would have taken, at the pace of those that were left.
    """
    firsts = [ident_of(made, number) for number in range(PARTITIONS)]
    lasts = [ident_of(made, made.events - 1 - number) for number in range(PARTITIONS)]
    query = f"SELECT count(*) FROM {table} WHERE id = ANY(%s) AND flag = %s".encode()
    with closing(made.open_target()) as conn:

        def seen(idents: list[int]) -> int:
            found = conn.execute(query, [idents, marker]).fetchone()
            return int(found[0]) if found else 0

        deadline = time.monotonic() + 600
        while not seen(firsts):
            _wait(deadline)
        done = 0
        if processes > 1:
            while (found := conn.execute(HOLDERS).fetchone()) is None or found[0] < processes:
                _wait(deadline)
            done = int(found[1])
        began = time.perf_counter()
        while seen(lasts) < PARTITIONS:
            _wait(deadline)
        return (time.perf_counter() - began) * made.events / (made.events - done)


def _wait(deadline: float) -> None:
    if time.monotonic() > deadline:
        sys.exit("nothing more arrives")
    time.sleep(0.01)


def limit(made: Rig, update: Update) -> float:
    """PostgreSQL alone: as many rows staged and upserted, as different and in batches as large."""
    with closing(made.open_source()) as source:
        table = read_catalog(source, NAME, ["t"])[SOURCE]
    target = Target(compile_table(mapping_of(table), table), 1, TableName("public", "t"))
    with closing(made.open_target()) as conn:
        conn.execute("VACUUM ANALYZE t")
        conn.execute("SET enable_hashjoin = off; SET enable_mergejoin = off")
        conn.execute(target.create_stages.encode())
        seconds = 0.0
        for first in range(0, made.events, BATCH_ROWS):
            numbers = range(first, min(first + BATCH_ROWS, made.events))
            lines = b"".join(line(ident_of(made, number), update) for number in numbers)
            began = time.perf_counter()
            with conn.transaction():
                with conn.cursor().copy(target.copy_rows.encode()) as stage:
                    stage.write(lines)
                conn.execute(target.upsert_rows.encode())
            seconds += time.perf_counter() - began
        return seconds


def line(ident: int, update: Update) -> bytes:
    """The row as COPY text."""
    values = row(ident, update)
    values["amount"] = f"{(ident + 100 * update.marker) / 100:.2f}"
    values["at"] = f"2023-11-14 22:13:{ident % 60:02d}.5"
    values["ts"] = "2024-01-01 10:00:00.123+00"
    return ("\t".join(map(str, values.values())) + "\n").encode()


def report(made: Rig, found: dict[str, list[float]]) -> None:
    """Each figure, and its ratios."""
    print(f"{made.events:,} updates of a table of {made.rows:,} rows, {PARTITIONS} partitions")
    middle = {name: median(times) for name, times in found.items()}
    for name, seconds in middle.items():
        print(f"  {name}: {made.events / seconds:,.0f} a second")
    print(
        f"one process, embedded, to the sink: {middle['sink'] / middle['embedded (1)']:.2f} times"
    )
    print(f"two processes to one: {middle['embedded (1)'] / middle['two (2)']:.2f} times")
    for one, alone in (("off", ""), ("kept", ", kept")):
        ratio = middle[f"{one} (1)"] / middle[f"PostgreSQL alone{alone}"]
        print(f"PostgreSQL alone to one, {one}: {ratio:.2f} times")


def _url(endpoint: Endpoint) -> str:
    login = f"{endpoint.user}:{endpoint.password.reveal()}"
    return f"{endpoint.kind}://{login}@{endpoint.host}:{endpoint.port}/{endpoint.database}"


if __name__ == "__main__":
    main(sys.argv[1:])
