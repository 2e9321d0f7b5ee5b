"""The thread of a consumer that applies batches, over a session of its own."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Protocol

from bridge.change.batch import Batch
from bridge.replicate.points import passing
from bridge.sink.apply import COUNT_SECONDS, Applier
from bridge.sink.quarantine import Quarantine
from bridge.sink.target import Target
from bridge.store.partitions import OffsetsCheckpoint, Place, Q
from bridge.store.state import Connection

IDLE_TRANSACTION_SECONDS = 5.0
"""A process that stands still inside a transaction loses it, and its locks with it."""
STOP_SECONDS = 5.0
POLL_SECONDS = 0.05


class Rows(Protocol):
    """Where row changes that were applied are counted."""

    rows: int


class _Checkpoint(OffsetsCheckpoint):
    """Says that the transaction has its locks, and that only its commit is left."""

    def begin(self, conn: Connection, batch: Batch) -> None:
        super().begin(conn, batch)
        passing("stream.locked")

    def save(self, conn: Connection, batch: Batch) -> None:
        super().save(conn, batch)
        passing("stream.saved")


class Writer:
    """Applies batches in the order in which they are offered, until it is stopped or fails.

    `failure` is what ended it. What was applied is told by `applied`: offsets by partition.
    """

    def __init__(
        self,
        open_target: Callable[[], Connection],
        pipeline: str,
        holder: str,
        targets: Sequence[Target],
        told: Rows,
    ) -> None:
        self._open_target = open_target
        self._pipeline = pipeline
        self._holder = holder
        self._targets = targets
        self._told = told
        self._batches: queue.Queue[Batch | None] = queue.Queue(maxsize=1)
        self._lock = threading.Lock()
        self._outstanding = 0
        self._applier: Applier | None = None
        self.applied: dict[Place, int] = {}
        self.failure: Exception | None = None
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="applier", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether everything that was offered is applied."""
        return self._outstanding == 0

    def offer(self, batch: Batch, seconds: float) -> bool:
        """Hands a batch over if there is room within so many seconds."""
        with self._lock:
            self._outstanding += 1
        with contextlib.suppress(queue.Full):
            self._batches.put(batch, timeout=seconds)
            return True
        with self._lock:
            self._outstanding -= 1
        return False

    def stop(self) -> None:
        """Ends the thread; what is being applied may end first, for a while."""
        deadline = time.monotonic() + STOP_SECONDS
        while not self.ended.is_set():
            with contextlib.suppress(queue.Full):
                self._batches.put_nowait(None)
            # Again and again: between two statements there is nothing that could be cancelled.
            if not self.ended.wait(POLL_SECONDS) and time.monotonic() > deadline and self._applier:
                self._applier.cancel()
        self._thread.join()

    def _run(self) -> None:
        try:
            with closing(self._open_target()) as conn:
                limit = int(IDLE_TRANSACTION_SECONDS * 1000)
                conn.execute(f"SET idle_in_transaction_session_timeout = {limit}".encode())
                # So that whoever comes after a process that stands still can end its transaction.
                names = {"pipeline": self._pipeline, "holder": self._holder}
                conn.execute(Q["sign_partitions"], names)
                checkpoint = _Checkpoint(self._pipeline)
                quarantine = Quarantine(self._pipeline)
                self._applier = Applier(conn, self._targets, checkpoint, quarantine)
                while (batch := self._next(self._applier)) is not None:
                    passing("stream.apply")
                    self._applier.apply(batch)
                    passing("stream.committed")
                    self._note(batch)
        except Exception as error:  # noqa: BLE001 (handed to the thread that reads)
            self.failure = error
        finally:
            self.ended.set()

    def _next(self, applier: Applier) -> Batch | None:
        while True:
            try:
                return self._batches.get(timeout=COUNT_SECONDS)
            except queue.Empty:
                applier.tell()

    def _note(self, batch: Batch) -> None:
        self._told.rows += sum(sum(counts) for counts in batch.counts.values())
        for each in batch.offsets:
            self.applied[each.topic, each.partition] = each.end
        with self._lock:
            self._outstanding -= 1
