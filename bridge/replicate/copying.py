"""Copies tables: one thread plans chunks, several read them and put them straight into the target.

Nothing streams into a table while it is copied. A chunk's rows, its quarantine and its done mark
are one transaction, so a crash repeats whole chunks and nothing else; planned bounds are kept, so
that a resumed copy reads the same chunks.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pymysql

from bridge.capture.chunks import Bound, next_bound
from bridge.capture.snapshot import keyless_snapshot, read_chunk
from bridge.change.batch import BadRow
from bridge.change.position import Position
from bridge.errors import TableStopped
from bridge.replicate.board import Board, Copying
from bridge.replicate.points import passing
from bridge.replicate.servers import Servers
from bridge.sink.copy import copy_blocks
from bridge.sink.quarantine import Quarantine
from bridge.sink.target import Target
from bridge.store.lease import Lease
from bridge.store.state import Q, TableState, bind

CHUNK_BYTES = 12 << 20
"""Aim for a chunk's size, by the catalogue's average row length."""
MOST_ROWS = 100_000
FEWEST_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Chunk:
    """Keys after `lower` up to and with `upper`; None: from the beginning, to the end."""

    number: int
    lower: Bound | None
    upper: Bound | None


@dataclass(eq=False)
class Job:
    """One table's copy."""

    target: Target
    state: TableState
    open: set[int] = field(default_factory=set)
    planned: bool = False
    finished: bool = False
    stopped: TableStopped | None = None

    @property
    def names(self) -> dict[str, Any]:
        """Bindings that name the table in the control schema (without the pipeline)."""
        return self.state.key


class Copier:
    """Copies jobs with `readers` threads; `finished` is called for each, in its thread."""

    def __init__(
        self,
        servers: Servers,
        lease: Lease,
        board: Board,
        readers: int,
        finished: Callable[[psycopg.Connection[Any], Job], None],
    ) -> None:
        self._servers = servers
        self._lease = lease
        self._board = board
        self._readers = readers
        self._finished = finished
        self._quarantine = Quarantine(lease.pipeline)
        self._tasks: queue.Queue[tuple[Job, Chunk] | None] = queue.Queue(maxsize=readers)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._running = 0
        self.halt = threading.Event()
        self.ended = threading.Event()
        self.failure: Exception | None = None

    def start(self, jobs: Sequence[Job]) -> None:
        """Begins; `ended` is set when all are copied, halted, or one thing failed."""
        for job in jobs:
            state = job.state
            self._board.copying[state.source] = Copying(
                state.rows_copied, state.bytes_copied, state.rows_estimated
            )
        works: list[Callable[[], None]] = [lambda: self._plan(jobs)]
        works += [self._read] * self._readers
        self._running = len(works)
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), daemon=True) for work in works
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends after the chunks that are being read; raises what failed."""
        self.halt.set()
        for thread in self._threads:
            thread.join()
        if self.failure is not None:
            raise self.failure

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 (handed to the thread that waits)
            with self._lock:
                self.failure = self.failure or error
            self.halt.set()
        finally:
            with self._lock:
                self._running -= 1
                if self._running == 0:
                    self.ended.set()

    # -- planning ----------------------------------------------------------------------------

    def _plan(self, jobs: Sequence[Job]) -> None:
        """Largest tables first, so that the last chunks are small ones."""
        conn = self._servers.target()
        source = self._servers.copy_source()
        try:
            for job in sorted(jobs, key=lambda job: -job.target.plan.table.bytes):
                try:
                    for chunk in self._chunks(conn, source, job):
                        if not self._give((job, chunk)):
                            return
                except TableStopped as stop:
                    self._stop_job(job, stop)
            for _ in range(self._readers):
                self._give(None)
        finally:
            source.close()
            conn.close()

    def _give(self, task: tuple[Job, Chunk] | None) -> bool:
        while not self.halt.is_set():
            try:
                self._tasks.put(task, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def _chunks(
        self,
        conn: psycopg.Connection[Any],
        source: pymysql.Connection[Any],
        job: Job,
    ) -> Iterator[Chunk]:
        names = {"pipeline": self._lease.pipeline, **job.names}
        known = conn.execute(Q["chunks"], names).fetchall()
        old = [(Chunk(n, _bound(lower), _bound(upper)), done) for n, lower, upper, done in known]
        job.open = {chunk.number for chunk, done in old if not done}
        yield from (chunk for chunk, done in old if not done)
        number, lower = len(old), old[-1][0].upper if old else None
        more = not old or lower is not None
        while more and job.stopped is None:
            upper = None
            if job.target.plan.key:
                upper = next_bound(source, job.target.plan, lower, chunk_rows(job.target))
            chunk = Chunk(number, lower, upper)
            with conn.transaction():
                self._lease.guard(conn)
                bounds = {"number": number, "lower": _stored(lower), "upper": _stored(upper)}
                conn.execute(Q["add_chunk"], {**names, **bounds})
            passing("copy.planned-chunk")
            with self._lock:
                job.open.add(number)
                job.planned = upper is None
            yield chunk
            number, lower, more = number + 1, upper, upper is not None
        with self._lock:
            job.planned = job.stopped is None
        self._finish(conn, job)

    # -- reading -----------------------------------------------------------------------------

    def _read(self) -> None:
        conn = self._servers.target()
        source = self._servers.copy_source()
        try:
            while not self.halt.is_set():
                try:
                    task = self._tasks.get(timeout=0.1)
                except queue.Empty:
                    continue
                if task is None:
                    return
                job, chunk = task
                if job.stopped is None:
                    try:
                        self._copy(conn, source, job, chunk)
                    except TableStopped as stop:
                        self._stop_job(job, stop)
        finally:
            source.close()
            conn.close()

    def _copy(
        self,
        conn: psycopg.Connection[Any],
        source: pymysql.Connection[Any],
        job: Job,
        chunk: Chunk,
    ) -> None:
        names = {"pipeline": self._lease.pipeline, **job.names}
        plan, target = job.target.plan, job.target
        bad: list[BadRow] = []
        with conn.transaction():
            self._lease.guard(conn)
            position: Position | None = None
            if plan.key:
                blocks = read_chunk(source, plan, chunk.lower, chunk.upper, bad)
            else:
                position, blocks = keyless_snapshot(self._servers.copy_source, plan)
            passing("copy.chunk-read")
            rows, size = copy_blocks(conn, plan, target.relation, blocks, bad)
            if position is not None:
                # Only now, since the lock on the table's row keeps operators waiting.
                if self._servers.replica:
                    position = replace(position, file="", offset=0)
                conn.execute(Q["exact_frontier"], {**names, **bind(position)})
            self._quarantine.add(conn, target, bad)
            conn.execute(Q["chunk_done"], {**names, "number": chunk.number})
            conn.execute(Q["copied_more"], {**names, "rows": rows, "bytes": size})
        passing("copy.chunk-committed")
        self._board.copied(target.source, rows, size)
        with self._lock:
            job.open.discard(chunk.number)
        self._finish(conn, job)

    def _finish(self, conn: psycopg.Connection[Any], job: Job) -> None:
        """Says once that the job is done, when the last chunk is planned and copied."""
        with self._lock:
            over = job.planned and not job.open and not job.finished and job.stopped is None
            job.finished = job.finished or over
        if over:
            self._finished(conn, job)

    def _stop_job(self, job: Job, stop: TableStopped) -> None:
        stop.table = job.target.source
        with self._lock:
            job.stopped = stop


def chunk_rows(target: Target) -> int:
    """Rows a chunk, so that it is about `CHUNK_BYTES`."""
    table = target.plan.table
    average = table.bytes / table.rows if table.rows else 100.0
    return max(FEWEST_ROWS, min(MOST_ROWS, int(CHUNK_BYTES / max(average, 1.0))))


def _bound(stored: list[bytes] | None) -> Bound | None:
    return None if stored is None else tuple(stored)


def _stored(bound: Bound | None) -> list[bytes] | None:
    return None if bound is None else list(bound)
