"""One span of reverse replication: from connecting until something breaks or it is to end."""

from __future__ import annotations

import queue
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pymysql

from bridge.databases import postgres
from bridge.databases.endpoint import Endpoint
from bridge.errors import BridgeError, ServerRefused, ServerUnreachable
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.reverse.apply import Applier
from bridge.reverse.batch import Batch
from bridge.reverse.builder import Builder
from bridge.reverse.ledger import Ledger
from bridge.reverse.position import Position, make_table
from bridge.reverse.session import open_session
from bridge.reverse.slots import SlotLost, check_slot, slot_name
from bridge.reverse.stream import Alive, Data, Stream
from bridge.reverse.writer import dialect_of

STATUS_SECONDS = 10.0
"""How often the server hears from us, and an idle position moves.

More often where wal_sender_timeout (60 s) is short: a server that has to ask gets all confirmed."""
PRESSED_SECONDS = 0.5
"""The same while the slot is in danger."""
_BURST = 2_000
"""Messages after which it is looked whether something else is to be done."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is replicated; see `bridge.reverse.run.Reverse`. `plans` by the target's tables."""

    source: Endpoint
    target: Endpoint
    pipeline: str
    group: str
    plans: Mapping[TableName, TablePlan]
    epoch: int
    flip: int
    keep_seconds: float


class Session:
    """The reader is the thread that calls `work`; another one applies.

    While `pressed` is set all that the source has is confirmed at once. `wake` becomes readable
    when there is something to look at, which `rouse` does.
    """

    def __init__(
        self,
        job: Job,
        stopping: threading.Event,
        pressed: threading.Event,
        wake: socket.socket,
        rouse: Callable[[], None],
    ) -> None:
        self._job = job
        self._stopping = stopping
        self._pressed = pressed
        self._wake = wake
        self._rouse = rouse
        self._queue: queue.Queue[Batch | None] = queue.Queue(1)
        self._failed: Exception | None = None
        self._handed = self._done = 0
        self._waiting: deque[float] = deque()
        """Since when each batch waits that is handed over and not applied."""
        self._recorded: deque[tuple[float, int]] = deque()
        self._safe = self._confirmed = 0
        self._first = self._end = 0
        """Where it begins, and where the target's log ended then."""
        self._asked = False
        self._every = STATUS_SECONDS
        self._told = self._noted = time.monotonic()
        self._stream: Stream | None = None
        self._conn: pymysql.Connection[Any] | None = None
        self._ledger: Ledger | None = None
        self._thread: threading.Thread | None = None
        self.received = self.applied = self.rows = self.unrepresentable = 0

    @property
    def _busy(self) -> bool:
        """Whether the applier has something to do."""
        return self._handed != self._done

    @property
    def settled(self) -> bool:
        """Whether it got further than another one before, if there was anything to be applied."""
        return self.applied > self._first or self.applied >= self._end

    @property
    def lag(self) -> float | None:
        """Seconds since the oldest commit that is not applied.

        None: it has all that came, but not yet all that was there when it began.
        """
        near = self._builder.reached >= self._end
        # What is handed over is in both for a moment, and is found whichever thread is quick.
        oldest = self._builder.batch.since
        with suppress(IndexError):
            oldest = self._waiting[0]
        if oldest:
            return time.monotonic() - oldest
        return 0.0 if near else None

    def open(self) -> None:
        """Connects, and reads how far the source is."""
        job = self._job
        place = (job.pipeline, job.group)
        self._conn = conn = open_session(job.source)
        make_table(conn, job.source.database)
        slot = slot_name(job.target.database, *place)
        position = Position(job.source.database, job.group, slot, job.epoch)
        position.read(conn, job.flip)
        self._ledger = ledger = Ledger(
            *place, lambda: postgres.connect(job.target, autocommit=True)
        )
        ledger.load(position.lsn)
        with postgres.connect(job.target, autocommit=True) as target:
            self._end = check_slot(target, slot, position.lsn)
        with conn.cursor() as cursor:
            cursor.execute("SELECT VERSION(), @@max_allowed_packet")
            version, packet = cursor.fetchone() or ("", 0)
        conn.rollback()
        dialect = dialect_of(str(version), int(packet))
        self._builder = Builder(job.plans, dialect, position.lsn)
        self._applier = Applier(conn, position, ledger)
        self._position = position
        self.received = self.applied = self._first = position.lsn
        self._recorded.append((time.monotonic(), position.lsn))
        self.unrepresentable = len(ledger)
        self._stream = stream = _opened(job.target, slot, position.lsn)
        if stream.timeout:
            self._every = min(STATUS_SECONDS, stream.timeout / 4)
        self._thread = threading.Thread(
            target=self._apply, args=(ledger,), name=f"reverse-apply-{job.group}", daemon=True
        )
        self._thread.start()

    def work(self) -> None:
        """Reads until it is to stop, or either thread fails."""
        stream, stopping = self._stream, self._stopping
        assert stream is not None
        while not stopping.is_set():
            more = self._read(stream)
            self._hand_over(force=not more)
            if self._failed is not None:
                raise self._failed
            self._confirm(stream)
            if not more:
                self._wait(stream)

    def close(self) -> None:
        """Ends the applier at its batch, and the sessions."""
        if self._thread is not None:
            with suppress(queue.Empty):
                self._queue.get_nowait()
            self._queue.put(None)
            self._thread.join()
        if self._stream is not None:
            if self._failed is None:
                with suppress(BridgeError, OSError):
                    self._stream.confirm(self.received, self._safe)
            self._stream.close()
        if self._conn is not None:
            with suppress(pymysql.Error, OSError):
                self._conn.close()
        if self._ledger is not None:
            self._ledger.close()

    # -- reading -----------------------------------------------------------------------------

    def _read(self, stream: Stream) -> bool:
        """Takes what is here; whether there may be more."""
        builder = self._builder
        for _ in range(_BURST):
            message = stream.read()
            if message is None:
                return False
            if type(message) is Data:
                builder.add(message.raw, message.at, message.sent)
                if builder.full:
                    return True
            elif type(message) is Alive:
                self._asked = self._asked or message.asks
                if builder.between:
                    builder.reached = max(builder.reached, message.end)
        return True

    def _hand_over(self, *, force: bool) -> None:
        """Gives the batch to the applier if that is free; waits for it only if it is full."""
        builder = self._builder
        self.received = max(self.received, builder.reached)
        if not builder.pending:
            self._pass_idle()
            return
        if not builder.full and (not force or not builder.between or self._busy):
            return
        self._waiting.append(builder.batch.since)
        batch = builder.taken()
        self._handed += 1
        while self._failed is None:
            try:
                self._queue.put(batch, timeout=0.2)
                return
            except queue.Full:
                if self._stopping.is_set():
                    return
                self._confirm(self._stream)

    def _pass_idle(self) -> None:
        """What is of no concern is applied as soon as all before it is."""
        builder = self._builder
        if self._busy or not builder.between:
            return
        builder.batch.since = 0.0
        if builder.reached > self.applied:
            self.applied = builder.reached
        due = self._asked or builder.marked or self._due(self._noted)
        builder.marked = False
        if due and self.applied > self._position.lsn and self._failed is None:
            self._noted = time.monotonic()
            self._handed += 1
            self._queue.put(Batch(position=self.applied, statements=[]))

    def _confirm(self, stream: Stream | None) -> None:
        now = time.monotonic()
        recorded = self._recorded
        keep = 0.0 if self._pressed.is_set() else self._job.keep_seconds
        while recorded and (recorded[0][0] <= now - keep or self._asked):
            self._safe = max(self._safe, recorded.popleft()[1])
        # A server that asks is about to end, and waits until nothing is left to be confirmed.
        answer = self._asked and not self._busy
        if stream is not None and (answer or self._due(self._told)):
            self._told = now
            self._asked = self._asked and not answer
            stream.confirm(self.received, self._safe)
            self._confirmed = self._safe

    def _due(self, since: float) -> bool:
        every = PRESSED_SECONDS if self._pressed.is_set() else STATUS_SECONDS
        return time.monotonic() - since >= min(every, self._every)

    def _wait(self, stream: Stream) -> None:
        # No longer than until the server is to hear from us: it asks after half its patience.
        seconds = min(1.0, max(0.0, self._told + self._every - time.monotonic()))
        ready, _, _ = select.select([stream.fileno(), self._wake.fileno()], (), (), seconds)
        if self._wake.fileno() in ready:
            with suppress(BlockingIOError):
                self._wake.recv(4096)
        if stream.fileno() in ready:
            stream.take()

    # -- applying ----------------------------------------------------------------------------

    def _apply(self, ledger: Ledger) -> None:
        try:
            while (batch := self._queue.get()) is not None:
                self._applier.apply(batch)
                self.rows += len(batch.changes)
                if batch.since:
                    self._waiting.popleft()
                if batch.whole:
                    ledger.settle(self._confirmed)
                    self.unrepresentable = len(ledger)
                    self._recorded.append((time.monotonic(), batch.position))
                    self.applied = max(self.applied, batch.position)
                self._done += 1
                self._rouse()
        except Exception as error:  # noqa: BLE001 (it is raised in the reader's thread)
            self._failed = error
            self._rouse()


def _opened(target: Endpoint, slot: str, lsn: int) -> Stream:
    """The stream; a slot that somebody reads still is waited for (an ended session of our own)."""
    try:
        return Stream(target, slot, slot, lsn)
    except ServerRefused as error:
        if "55006" in error.message:
            raise ServerUnreachable(
                error.message, "another session still reads the slot"
            ) from error
        if "55000" in error.message or "42704" in error.message:
            raise SlotLost(error.message, "see `dbbridge cutover status`") from error
        raise
