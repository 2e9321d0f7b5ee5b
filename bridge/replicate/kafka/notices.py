"""The connector's topic of changed definitions, read by the process that leads.

It has no order against the tables' topics, so that a change of definition may be heard of before
or after rows that were written by the new one. In either case the table's rows are uncertain from
there on: statements that change rows leave no trace in its topic (TRUNCATE PARTITION, say).
"""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, TopicPartition

from bridge.capture.binlog.statements import classify as classify_statement
from bridge.capture.debezium.envelope import SchemaChange, classify
from bridge.capture.topics import Topics, open_consumer
from bridge.databases.kafka import KafkaEndpoint, kafka_error
from bridge.errors import TableStopped
from bridge.names import TableName
from bridge.replicate.kafka.intake import covered
from bridge.store.partitions import Q, read_partitions
from bridge.store.state import Connection, TableState

MOST_MESSAGES = 500
READ_SECONDS = 0.05
_HARMFUL = frozenset({"ddl", "dml", "unknown", "truncate"})
_WIDE = frozenset({"unknown", "drop-database", "alter-database"})


class Notices:
    """Reads the topic `name` on from where it was read; `schemas`: messages embed theirs."""

    def __init__(
        self, endpoint: KafkaEndpoint, topics: Topics, name: str, *, schemas: bool
    ) -> None:
        self._endpoint = endpoint
        self._topics = topics
        self._name = name
        self._schemas = schemas
        self._consumer: Consumer | None = None
        self._read: int | None = None

    def close(self) -> None:
        """Ends the connection."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = self._read = None

    def stops(
        self, conn: Connection, pipeline: str, tables: Sequence[TableState]
    ) -> list[TableStopped]:
        """The tables whose definition was changed after their copies began.

        They are told again until `done` says that they are stopped.
        """
        names = {"pipeline": pipeline, "topic": self._name}
        if self._consumer is None and not self._begin(conn, names):
            return []
        consumer = self._consumer
        assert consumer is not None
        found: list[TableStopped] = []
        last = None
        for message in consumer.consume(MOST_MESSAGES, READ_SECONDS):
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                    self.close()
                    raise kafka_error(error, self._endpoint)
                continue
            last = int(message.offset() or 0)
            place = (self._name, 0, last)
            change = classify(message.value(), place, schemas=self._schemas)
            if isinstance(change, SchemaChange) and not change.source.initial:
                found += _stops(conn, pipeline, change, tables)
        if last is not None:
            self._read = last + 1
        return found

    def done(self, conn: Connection, pipeline: str) -> None:
        """What was told has been seen to."""
        if self._read is not None:
            names = {"pipeline": pipeline, "topic": self._name}
            conn.execute(Q["notice"], {**names, "offset": self._read})
            self._read = None

    def _begin(self, conn: Connection, names: dict[str, str]) -> bool:
        """Whether there is such a topic by now."""
        if self._name not in self._topics.describe([self._name]):
            return False
        row = conn.execute(Q["noticed"], names).fetchone()
        offset = int(row[0]) if row else self._topics.begins([(self._name, 0)])[self._name, 0]
        consumer = open_consumer(self._endpoint, f"{names['pipeline']}-notices", "", _heals)
        consumer.assign([TopicPartition(self._name, 0, offset)])
        self._consumer = consumer
        return True


def _heals(_: KafkaError) -> None:
    """The client tries again by itself; the consumer of the tables tells what is wrong."""


def _stops(
    conn: Connection, pipeline: str, change: SchemaChange, tables: Sequence[TableState]
) -> list[TableStopped]:
    statement = classify_statement(change.ddl, change.database, 0)
    if statement.kind in _WIDE:
        named = {name.schema for name in statement.tables} | {change.database}
        hit = {t.source for t in tables if t.source.schema in named}
    elif statement.kind in _HARMFUL:
        hit = {t.source for t in tables if t.source in {*statement.tables, *change.tables}}
    else:
        return []
    generations: dict[TableName, int] = {}
    for table in tables:
        generations[table.source] = max(table.generation, generations.get(table.source, 0))
    bases = {
        row.table: row.base
        for row in read_partitions(conn, pipeline)
        if generations.get(row.table) == row.generation
    }
    found = []
    for name in sorted(hit):
        base = bases.get(name)
        if base is not None and covered(base, change.source):
            continue
        found.append(_stop(name, change))
    return found


def _stop(name: TableName, change: SchemaChange) -> TableStopped:
    text = " ".join(change.ddl.split())[:200]
    stop = TableStopped(
        f"{name}: the source changed the definition: {text} (at {change.source.file}:"
        f"{change.source.pos})",
        f"bring the mapping up to date with dbbridge init, then: dbbridge tables resync {name}",
        "ddl",
    )
    stop.table = name
    return stop
