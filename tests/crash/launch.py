"""`dbbridge` with something put into it: ``python -m tests.crash.launch VARIANT sync …``.

``copying``: has a point inside each COPY of a consumer's applier. ``pausing``: a table named
``other`` is paused right before a consumer takes its partitions. ``unfenced``: a consumer as many
are written; it commits its offsets to Kafka after PostgreSQL's commit, and goes on from there.
``holding``: a row that is tried again, once it is read, waits as long as there is a file `HOLD`.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Consumer, TopicPartition

from bridge.capture.topics import ANSWER_SECONDS, open_consumer
from bridge.change.batch import Batch
from bridge.cli.main import main
from bridge.replicate import requests
from bridge.replicate.kafka import shift, writer
from bridge.replicate.points import passing
from bridge.store.partitions import (
    OffsetsCheckpoint,
    PartitionState,
    fence_table,
    take_partition,
)
from bridge.store.state import Connection, leave_stream, read_tables

COPYING = "stream.copying"
"""The point inside a COPY."""
HOLD, READ = Path("hold"), Path("read")
"""In the folder of the process; it makes the second one when it has read a row, and waits."""


def copying() -> None:
    """Half of the lines are sent before the point, half after it."""
    write = psycopg.Copy.write

    def halves(self: psycopg.Copy, buffer: Any) -> None:
        if threading.current_thread().name != "applier":
            write(self, buffer)
            return
        middle = len(buffer) // 2
        write(self, buffer[:middle])
        passing(COPYING)
        write(self, buffer[middle:])

    psycopg.Copy.write = halves  # type: ignore[method-assign]


def pausing() -> None:
    """Once: the consumer takes it, since it was followed when the consumer looked."""
    left = ["other"]

    def take(
        conn: Connection, pipeline: str, state: PartitionState, holder: str
    ) -> PartitionState | None:
        if state.table.table in left:
            left.clear()
            (mine,) = [t for t in read_tables(conn, pipeline) if t.source == state.table]
            with conn.transaction():
                leave_stream(conn, pipeline, mine, paused=True)
                fence_table(conn, pipeline, state.table)
        return take_partition(conn, pipeline, state, holder)

    shift.take_partition = take  # type: ignore[attr-defined]


def holding() -> None:
    """Between the reading of a row and its writing."""
    read_row = requests.read_row  # type: ignore[attr-defined]

    def read(*about: Any) -> Any:
        row = read_row(*about)
        while HOLD.exists():
            READ.touch()
            time.sleep(0.02)
        return row

    requests.read_row = read  # type: ignore[assignment,attr-defined]


class Told(OffsetsCheckpoint):
    """Asks nothing; writes the offsets down for the process that leads."""

    def begin(self, conn: Connection, batch: Batch) -> None:
        """Nothing is locked."""
        passing("stream.locked")

    def save(self, conn: Connection, batch: Batch) -> None:
        """Whoever has the partitions now."""
        for each in batch.offsets:
            conn.execute(
                "UPDATE dbbridge.partitions SET next_offset = %s, past = %s, snapshot = %s"
                " WHERE (pipeline, topic, partition, generation) = (%s, %s, %s, %s)",
                (
                    each.end,
                    each.past,
                    each.snapshot,
                    self._pipeline,
                    each.topic,
                    each.partition,
                    each.generation,
                ),
            )
        passing("stream.saved")


def unfenced() -> None:
    """Offsets are committed as soon as something is applied, and asked for on an assignment."""
    opened: list[Consumer] = []

    def open_(*about: Any) -> Consumer:
        opened.append(open_consumer(*about))
        return opened[-1]

    def take(conn: Connection, pipeline: str, state: PartitionState, holder: str) -> PartitionState:
        (found,) = opened[-1].committed([TopicPartition(*state.place)], ANSWER_SECONDS)
        conn.execute(
            "UPDATE dbbridge.partitions SET holder = %s"
            " WHERE (pipeline, topic, partition) = (%s, %s, %s)",
            (holder, pipeline, *state.place),
        )
        return replace(state, next_offset=max(found.offset, 0), holder=holder)

    writer._Checkpoint = Told  # type: ignore[misc,assignment]
    shift.open_consumer = open_  # type: ignore[assignment,attr-defined]
    shift.take_partition = take  # type: ignore[attr-defined]
    shift.COMMIT_SECONDS = 0.0


if __name__ == "__main__":
    variants = {
        "copying": copying,
        "holding": holding,
        "pausing": pausing,
        "unfenced": unfenced,
    }
    variants[sys.argv.pop(1)]()
    sys.exit(main())
