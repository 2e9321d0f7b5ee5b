"""Where a stream's position is kept: written in the transaction that applied the rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from bridge.change.batch import Batch
from bridge.change.position import Position
from bridge.store.lease import Lease
from bridge.store.state import Connection, Q, TableState, bind


class Checkpoint(ABC):
    """Writes down, in the transaction that applies a batch, how far the target is by it."""

    def begin(self, conn: Connection, batch: Batch) -> None:  # noqa: B027 (most need nothing)
        """The transaction has begun; raises where the batch may not be applied."""

    @abstractmethod
    def save(self, conn: Connection, batch: Batch) -> None:
        """The batch is in the target when the transaction commits. Raises LeaseLost."""


class PipelineCheckpoint(Checkpoint):
    """The main stream's: one UPDATE both checks the epoch and stores the position."""

    def __init__(self, lease: Lease, source_id: str) -> None:
        self._lease = lease
        self._source_id = source_id

    def save(self, conn: Connection, batch: Batch) -> None:
        """See Checkpoint."""
        assert batch.position is not None
        self.write(conn, batch.position, batch.source_time)

    def write(self, conn: Connection, position: Position, source_time: float) -> None:
        """Everything up to `position` is in the target. Raises LeaseLost."""
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


class FrontierCheckpoint(Checkpoint):
    """A catch-up stream's: the frontiers of its tables."""

    def __init__(self, lease: Lease, tables: Sequence[TableState]) -> None:
        self._lease = lease
        self._names = {
            "schemas": [table.source.schema for table in tables],
            "tables": [table.source.table for table in tables],
            "generations": [table.generation for table in tables],
        }

    def save(self, conn: Connection, batch: Batch) -> None:
        """See Checkpoint."""
        assert batch.position is not None
        self._lease.guard(conn)
        names = {"pipeline": self._lease.pipeline, **self._names, **bind(batch.position)}
        conn.execute(Q["advance_tables"], names)
