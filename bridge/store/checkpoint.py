"""Where a stream's position is kept: written in the transaction that applied the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bridge.change.position import Position
from bridge.store.lease import Lease
from bridge.store.state import Connection, Q, TableState, bind


class Checkpoint(Protocol):
    """Saves a position in the caller's open transaction; raises LeaseLost."""

    def save(self, conn: Connection, position: Position, source_time: float) -> None:
        """Everything up to `position` is in the target when this transaction commits."""
        ...


class PipelineCheckpoint:
    """The main stream's: one UPDATE both checks the epoch and stores the position."""

    def __init__(self, lease: Lease, source_id: str) -> None:
        self._lease = lease
        self._source_id = source_id

    def save(self, conn: Connection, position: Position, source_time: float) -> None:
        """See Checkpoint."""
        done = conn.execute(
            Q["advance"],
            {
                "pipeline": self._lease.pipeline,
                "epoch": self._lease.epoch,
                "source_id": self._source_id,
                "source_time": source_time or None,
                **bind(position),
            },
        )
        if done.rowcount != 1:
            raise self._lease.lost()


class FrontierCheckpoint:
    """A catch-up stream's: the frontiers of its tables."""

    def __init__(self, lease: Lease, tables: Sequence[TableState]) -> None:
        self._lease = lease
        self._names = {
            "schemas": [table.source.schema for table in tables],
            "tables": [table.source.table for table in tables],
            "generations": [table.generation for table in tables],
        }

    def save(self, conn: Connection, position: Position, source_time: float) -> None:
        """See Checkpoint."""
        self._lease.guard(conn)
        names = {"pipeline": self._lease.pipeline, **self._names, **bind(position)}
        conn.execute(Q["advance_tables"], names)
