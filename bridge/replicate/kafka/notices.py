"""The connector's topic of changed definitions, read by the process that leads.

It has no order against the tables' topics, so that a change of definition may be heard of before
or after rows that were written by the new one. In either case the table's rows are uncertain from
there on: statements that change rows leave no trace in its topic (TRUNCATE PARTITION, say).

A connector that has lost its offsets begins anew, and its topic tells all definitions once more, at
the position where it goes on. What was logged between its end and there is not in Kafka, whether
its snapshot brings rows or not, and tables whose rows are all gone by then would never show it.

Where the topic itself has lost what comes next (it was deleted, or its messages expired), nobody
knows which definitions changed: that stops every table that has begun, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from confluent_kafka import Consumer, KafkaError, TopicPartition

from bridge.capture.binlog.statements import classify as classify_statement
from bridge.capture.debezium.envelope import SchemaChange, classify
from bridge.capture.topics import ANSWER_SECONDS, Topic, Topics, open_consumer
from bridge.databases.kafka import KafkaEndpoint, kafka_error
from bridge.errors import TableStopped
from bridge.names import TableName
from bridge.replicate.kafka.lanes import covered
from bridge.replicate.readying import table_stopped
from bridge.store.partitions import Q, read_partitions
from bridge.store.state import Connection, TableState

MOST_MESSAGES = 500
READ_SECONDS = 0.05
_HARMFUL = frozenset({"ddl", "dml", "unknown", "truncate"})
_ANEW = "snapshot-restarted"
_LOST = "definitions-lost"
_WIDE = frozenset({"unknown", "drop-database", "alter-database"})

_Read = tuple[str | None, int, str]
"""The topic's identity (None: nothing was read; '': it was not noted), the next offset, and the
connector's latest snapshot."""


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
        self._place = (name, 0)
        self._id: str | None = None
        self._next = 0
        self._snapshot = ""
        self._done: _Read | None = None
        self.complete = False
        """Whether all was read that the topic had at the last look."""

    def close(self) -> None:
        """Ends the connection."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def stops(
        self, conn: Connection, pipeline: str, tables: Sequence[TableState]
    ) -> list[TableStopped]:
        """The tables whose definition was changed, or all if nobody knows which were.

        Everything that the topic has now is read. What is found is told again until `done` says
        that the tables are stopped.
        """
        if self._done is None:
            self._recall(conn, pipeline)
        topic = self._topics.describe([self._name]).get(self._name)
        end = self._topics.ends([self._place]).get(self._place) if topic else None
        self.complete = topic is None
        found: list[TableStopped] = []
        if self._lost(topic, end):
            self.close()
            self._id, self._next, self._snapshot = None, 0, ""
            found += [_lost(name, self._name) for name in _besides(tables, _LOST)]
        if topic is None or end is None:
            return found
        if self._consumer is None:
            self._begin(pipeline, topic, end)
        for change in self._changes(end):
            if change.source.initial:
                found += self._restarted(change, tables)
            else:
                found += _stops(conn, pipeline, change, tables)
        self.complete = self._next >= end
        return found

    def done(self, conn: Connection, pipeline: str) -> None:
        """What was told has been seen to."""
        read = self._id, self._next, self._snapshot
        if self._done is None or read == self._done:
            return
        names = {"pipeline": pipeline, "topic": self._name, "topic_id": self._id}
        query = Q["forget_notices"] if self._id is None else Q["notice"]
        conn.execute(query, {**names, "offset": self._next, "snapshot": self._snapshot})
        self._done = read

    def _recall(self, conn: Connection, pipeline: str) -> None:
        row = conn.execute(Q["noticed"], {"pipeline": pipeline, "topic": self._name}).fetchone()
        if row is not None:
            self._id, self._next, self._snapshot = str(row[0]), int(row[1]), str(row[2])
        self._done = self._id, self._next, self._snapshot

    def _lost(self, topic: Topic | None, end: int | None) -> bool:
        """Whether the topic that was read is gone, or has not what comes next."""
        if self._id is None:
            return False
        if topic is None or self._id not in ("", topic.id):
            return True
        if end is None or self._next == end:
            return False
        begins = self._topics.begins([self._place])
        return self._next > end or self._next < begins.get(self._place, 0)

    def _begin(self, pipeline: str, topic: Topic, end: int) -> None:
        """Opens the topic where it was read to, or at its beginning."""
        self._consumer = open_consumer(self._endpoint, f"{pipeline}-notices", "", _heals)
        if self._id is None:
            self._next = begin = self._topics.begins([self._place]).get(self._place, 0)
            self._consumer.assign([TopicPartition(*self._place, begin)])
            snapshots = [_generation(each) for each in self._changes(end) if each.source.initial]
            self._next, self._snapshot = begin, f"?{snapshots[-1]}" if snapshots else ""
        self._id = topic.id
        self._consumer.assign([TopicPartition(*self._place, self._next)])

    def _changes(self, end: int) -> Iterator[SchemaChange]:
        """All up to the topic's end."""
        consumer = self._consumer
        assert consumer is not None
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._next < end and time.monotonic() < deadline:
            for message in consumer.consume(MOST_MESSAGES, READ_SECONDS):
                offset = int(message.offset() or 0)
                error = message.error()
                if error is None:
                    self._next = offset + 1
                    at = (*self._place, offset)
                    change = classify(message.value(), at, schemas=self._schemas)
                    if isinstance(change, SchemaChange):
                        yield change
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    self._next = max(self._next, offset)
                else:
                    self.close()
                    raise kafka_error(error, self._endpoint)

    def _restarted(self, change: SchemaChange, tables: Sequence[TableState]) -> list[TableStopped]:
        """All tables if the connector's snapshot is another one than that which is known."""
        generation, known = _generation(change), self._snapshot
        if known.startswith("?"):  # older ones come first
            self._snapshot = known if known != f"?{generation}" else generation
            return []
        self._snapshot = generation
        if known in ("", generation):
            return []
        return [_anew(name, generation) for name in _besides(tables, _ANEW)]


def _besides(tables: Sequence[TableState], code: str) -> set[TableName]:
    """Those that do not stand still for this reason; with another one they might yet go on."""
    return {t.source for t in tables if not (t.fault and t.fault.code == code)}


def _generation(change: SchemaChange) -> str:
    return f"{change.source.file}:{change.source.pos}"


def _anew(name: TableName, generation: str) -> TableStopped:
    return table_stopped(
        name,
        _ANEW,
        f"Debezium's connector began anew at {generation}, and nobody knows what changed before it",
        f"copy the table again: dbbridge tables resync {name.word}",
    )


def _lost(name: TableName, topic: str) -> TableStopped:
    return table_stopped(
        name,
        _LOST,
        f"the topic {topic} does not have the next changes of definitions any more, so that nobody"
        " knows whether this one changed",
        "keep messages for longer (retention.ms), bring the mapping up to date with dbbridge init,"
        f" then: dbbridge tables resync {name.word}",
    )


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
    return table_stopped(
        name,
        "ddl",
        f"the source changed the definition: {text} (at {change.source.file}:{change.source.pos})",
        "bring the mapping up to date with dbbridge init, then:"
        f" dbbridge tables resync {name.word}",
    )
