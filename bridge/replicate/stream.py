"""One running stream: a thread that reads and builds batches, a thread that applies them.

Two threads because libpq releases the GIL while PostgreSQL works. A batch is handed over at once
when the applier is idle, and grows while it is busy: single transactions arrive within
milliseconds, a backlog goes many transactions at a time.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from bridge.capture.binlog.connection import BinlogConnection
from bridge.change.batch import Batch
from bridge.change.position import Position
from bridge.replicate.builder import Builder
from bridge.replicate.points import passing
from bridge.sink.apply import Applier

IDLE_SECONDS = 0.25
"""How long a read waits before the thread looks whether it shall end."""
BUSY_SECONDS = 0.001
"""The same while changes are pending and the applier is about to become idle."""
STOP_SECONDS = 5.0
"""How long a batch that is being applied may take when the stream shall end."""
POSITION_SECONDS = 1.0
"""How often a position that moved without changes of followed tables is written."""


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """How a stream does, for `status`.

    `position` is applied; `received` is the coordinate that was read (file, offset); `at_end` says
    that the source had nothing more; `complete` is the time (seconds since 1970) up to which all
    that was committed is applied; 0: not known.
    """

    position: Position
    received: tuple[str, int]
    at_end: bool
    complete: float
    rows: int
    transactions: int
    bytes: int


class Stream:
    """Reads from `start` and applies until it is stopped, fails, or `builder.reached`.

    Everything that raises ends both threads; `failure` holds the first error.
    """

    def __init__(
        self,
        open_source: Callable[[Position], BinlogConnection],
        start: Position,
        builder: Builder,
        applier: Applier,
    ) -> None:
        self._open_source = open_source
        self._builder = builder
        self._applier = applier
        self._batches: queue.Queue[Batch | None] = queue.Queue(maxsize=1)
        self._stopping = threading.Event()
        self._outstanding = 0
        self._lock = threading.Lock()
        self._connection: BinlogConnection | None = None
        self._position = start
        self._source_time = 0.0
        """The source's clock at the last commit that was applied."""
        self._ended_at = 0.0
        """When the source was last seen to have nothing more."""
        self._rows = 0
        self._transactions = 0
        self.failure: Exception | None = None
        self.ended = threading.Event()
        self._reader = threading.Thread(target=self._run_reader, name="reader", daemon=True)
        self._writer = threading.Thread(target=self._run_writer, name="applier", daemon=True)

    def start(self) -> None:
        """Begins to read and to apply."""
        self._reader.start()
        self._writer.start()

    def stop(self) -> Position:
        """Ends at the last source commit that is handed over; returns the applied position.

        What was applied of an unfinished transaction is rolled back, and so is a batch that takes
        longer than `STOP_SECONDS`. Raises what made the stream fail.
        """
        self._stopping.set()
        self._writer.join(STOP_SECONDS)
        cancelled = self._writer.is_alive()
        if cancelled:
            self._applier.cancel()
        self._reader.join()
        self._writer.join()
        by_us = cancelled and isinstance(self.failure, psycopg.errors.QueryCanceled)
        if self.failure is not None and not by_us:
            raise self.failure
        return self._position

    def facts(self) -> StreamFacts:
        """A consistent enough view of a moving thing."""
        at_end = self._at_end()
        progress = self._builder.progress
        connection = self._connection
        return StreamFacts(
            position=self._position,
            received=(progress.file, progress.offset),
            at_end=at_end,
            complete=max(self._source_time, self._ended_at),
            rows=self._rows,
            transactions=self._transactions,
            bytes=connection.bytes_received if connection else 0,
        )

    def _at_end(self) -> bool:
        """Whether all is applied that the source had; when it was seen to be so is remembered.

        After a quiet night the last commit's time says nothing of how near the stream is.
        """
        builder = self._builder
        at_end = builder.at_end and self._outstanding == 0 and not builder.pending
        if at_end:
            self._ended_at = time.time()
        return at_end

    def passed(self, position: Position) -> bool:
        """Whether everything up to `position` (an upper bound) is applied."""
        builder = self._builder
        if self._outstanding == 0 and not builder.pending:
            return builder.progress.covers(position)
        return self._position.past(position)

    # -- reading -----------------------------------------------------------------------------

    def _run_reader(self) -> None:
        try:
            with self._open_source(self._position) as connection:
                self._connection = connection
                self._read(connection)
        except Exception as error:  # noqa: BLE001 (handed to the thread that waits)
            self._fail(error)
        finally:
            self._put(None)

    def _read(self, connection: BinlogConnection) -> None:
        builder = self._builder
        written = time.monotonic()
        while not self._stopping.is_set():
            events = connection.read(BUSY_SECONDS if builder.pending else IDLE_SECONDS)
            passing("stream.read")
            for batch in builder.feed(events):
                self._put(batch)
            self._at_end()
            if builder.reached:
                self._flush(position_only=True)
                return
            if self._outstanding == 0:
                due = time.monotonic() - written > POSITION_SECONDS
                if self._flush(position_only=due):
                    written = time.monotonic()

    def _flush(self, *, position_only: bool) -> bool:
        batch = self._builder.flush(position_only=position_only)
        if batch is not None:
            self._put(batch)
        return batch is not None

    def _put(self, batch: Batch | None) -> None:
        """Hands over, and gives up when the applier has ended."""
        if batch is not None:
            with self._lock:
                self._outstanding += 1
        while not self.ended.is_set():
            with contextlib.suppress(queue.Full):
                self._batches.put(batch, timeout=IDLE_SECONDS)
                return

    # -- applying ----------------------------------------------------------------------------

    def _run_writer(self) -> None:
        try:
            while True:
                batch = self._batches.get()
                if batch is None:
                    break
                passing("stream.apply")
                self._applier.apply(batch)
                if batch.position is not None:
                    passing("stream.committed")
                    self._position = batch.position
                    self._source_time = batch.source_time
                self._rows += sum(sum(counts) for counts in batch.counts.values())
                self._transactions += batch.transactions
                with self._lock:
                    self._outstanding -= 1
            self._applier.abandon()
        except Exception as error:  # noqa: BLE001 (handed to the thread that waits)
            self._fail(error)
        finally:
            self.ended.set()

    def _fail(self, error: Exception) -> None:
        with self._lock:
            if self.failure is None:
                self.failure = error
        self._stopping.set()
