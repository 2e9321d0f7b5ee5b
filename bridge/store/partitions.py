"""Kafka's partitions in the control schema: offsets, and who may write by them.

Exactly once: whoever is given a partition raises its epoch and reads its offset; each transaction
that applies messages locks the row first and requires that epoch and that offset. So a consumer
that was cut off, and does not know it yet, cannot commit, and nothing is applied twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import psycopg

from bridge.change.batch import Batch, Stretch
from bridge.change.position import Kind, Position
from bridge.databases.postgres import limit_locks
from bridge.errors import BridgeError
from bridge.names import TableName
from bridge.store.checkpoint import Checkpoint
from bridge.store.sql import queries
from bridge.store.state import Connection

Q = queries("bridge.store", "kafka.sql")
LOCK_SECONDS = 2.0
"""How long a consumer that was given a partition waits for its predecessor's transaction."""
TRIES = 10

Place = tuple[str, int]
"""Topic and number of a partition."""


class PartitionLost(BridgeError):
    """A partition was given to another consumer, or its table's state changed; nothing was written.

    `places` are the ones that are in question.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        super().__init__("partitions were given to another consumer", "it goes on with them")
        self.places = tuple(places)


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One row; see the control schema. `base` None: there was no copy."""

    topic: str
    partition: int
    generation: int
    table: TableName
    topic_id: str
    next_offset: int
    epoch: int
    holder: str
    base: Position | None
    past: bool
    snapshot: str
    source_time: float | None = None

    @property
    def place(self) -> Place:
        """Topic and number."""
        return self.topic, self.partition


def read_partitions(conn: Connection, pipeline: str) -> list[PartitionState]:
    """All of them."""
    found = []
    for row in conn.execute(Q["partitions"], {"pipeline": pipeline}):
        topic, partition, generation, schema, table, topic_id, offset, epoch, holder = row[:9]
        kind, text, file, file_offset, past, snapshot, source_time = row[11:]
        base = Position(cast(Kind, kind), text, file, file_offset) if kind else None
        found.append(
            PartitionState(
                topic,
                partition,
                generation,
                TableName(schema, table),
                topic_id,
                offset,
                epoch,
                holder,
                base,
                past,
                snapshot,
                source_time,
            )
        )
    return found


def add_partition(conn: Connection, pipeline: str, state: PartitionState) -> None:
    """Begins a partition at the state's offset; one that is there begins anew, and is fenced."""
    base = state.base
    conn.execute(
        Q["add_partition"],
        {
            **_names(pipeline, state),
            "schema": state.table.schema,
            "table": state.table.table,
            "topic_id": state.topic_id,
            "offset": state.next_offset,
            "kind": base.kind if base else None,
            "text": base.text if base else None,
            "file": base.file if base else "",
            "file_offset": base.offset if base else 0,
            "past": state.past,
            "snapshot": state.snapshot,
        },
    )


def drop_partition(conn: Connection, pipeline: str, state: PartitionState) -> None:
    """Forgets a partition."""
    conn.execute(Q["drop_partition"], _names(pipeline, state))


def take_partition(
    conn: Connection, pipeline: str, state: PartitionState, holder: str
) -> PartitionState | None:
    """Makes `holder` the one who may write; None if the row is gone. `conn` is in autocommit mode.

    Waits for the transaction of the one before; one that does not end is ended with its session (a
    process that stands still holds its locks for ever).
    """
    names = _names(pipeline, state)
    for _ in range(TRIES):
        try:
            with conn.transaction():
                limit_locks(conn, LOCK_SECONDS)
                row = conn.execute(Q["take_partition"], {**names, "holder": holder}).fetchone()
        except psycopg.errors.LockNotAvailable:
            conn.execute(Q["end_holder"], names)
            continue
        if row is None:
            return None
        epoch, offset, past, snapshot = row
        return replace(
            state, next_offset=offset, epoch=epoch, holder=holder, past=past, snapshot=snapshot
        )
    raise PartitionLost([state.place])


def fence_table(conn: Connection, pipeline: str, table: TableName) -> None:
    """No transaction that is under way by the table's partitions can commit any more."""
    names = {"pipeline": pipeline, "schema": table.schema, "table": table.table}
    conn.execute(Q["fence_table"], names)


class OffsetsCheckpoint(Checkpoint):
    """A consumer's: the offsets of the partitions that a batch has messages of."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline

    def begin(self, conn: Connection, batch: Batch) -> None:
        """Locks the rows. Raises PartitionLost."""
        found = conn.execute(Q["lock_partitions"], self._bound(batch.offsets)).fetchall()
        if len(found) != len(batch.offsets) or not all(same for (same,) in found):
            raise self._lost(batch)

    def save(self, conn: Connection, batch: Batch) -> None:
        """See Checkpoint. Raises PartitionLost."""
        time = {"source_time": batch.source_time or None}
        done = conn.execute(Q["move_partitions"], {**self._bound(batch.offsets), **time})
        if done.rowcount != len(batch.offsets):
            raise self._lost(batch)

    def _lost(self, batch: Batch) -> PartitionLost:
        return PartitionLost([(each.topic, each.partition) for each in batch.offsets])

    def _bound(self, offsets: Sequence[Stretch]) -> dict[str, Any]:
        return {
            "pipeline": self._pipeline,
            "topics": [each.topic for each in offsets],
            "numbers": [each.partition for each in offsets],
            "generations": [each.generation for each in offsets],
            "epochs": [each.epoch for each in offsets],
            "starts": [each.start for each in offsets],
            "ends": [each.end for each in offsets],
            "pasts": [each.past for each in offsets],
            "snapshots": [each.snapshot for each in offsets],
        }


def _names(pipeline: str, state: PartitionState) -> dict[str, Any]:
    return {
        "pipeline": pipeline,
        "topic": state.topic,
        "partition": state.partition,
        "generation": state.generation,
    }
