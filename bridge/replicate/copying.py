"""Copies tables: one thread plans chunks, and several read them, here or in workers elsewhere.

Nothing streams into a table while it is copied. A chunk's rows, its quarantine and its done mark
are one transaction, so a crash repeats whole chunks and nothing else; planned bounds are kept, so
that a resumed copy reads the same chunks.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
import pymysql

from bridge.capture.chunks import next_bound
from bridge.errors import TableStopped
from bridge.replicate.board import Board, Copying
from bridge.replicate.chunk import Chunk, bound, copy_chunk, stored
from bridge.replicate.errands import Caller, Errands
from bridge.replicate.job import Job
from bridge.replicate.points import passing
from bridge.replicate.servers import Servers
from bridge.sink.target import Target
from bridge.store.lease import Lease
from bridge.store.state import Q

CHUNK_BYTES = 12 << 20
"""Aim for a chunk's size, by the catalogue's average row length."""
MOST_ROWS = 100_000
FEWEST_ROWS = 1_000


class Copier:
    """Copies jobs with `readers` threads; `finished` is called for each, in its thread.

    With a `caller`, workers read instead, and one thread what they cannot: tables without a key.
    """

    def __init__(
        self,
        servers: Servers,
        lease: Lease,
        board: Board,
        readers: int,
        finished: Callable[[psycopg.Connection[Any], Job], None],
        caller: Caller | None = None,
    ) -> None:
        self._servers = servers
        self._lease = lease
        self._board = board
        self._readers = 1 if caller else readers
        self._finished = finished
        self._tasks: queue.Queue[tuple[Job, Chunk] | None] = queue.Queue(maxsize=self._readers)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._running = 0
        self.halt = threading.Event()
        self._errands = Errands(servers, lease, board, caller, self.halt) if caller else None
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
        works += [self._tend] if self._errands else []
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
            if self._errands:
                self._errands.forget(conn)
            for job in sorted(jobs, key=lambda job: -job.target.plan.table.bytes):
                try:
                    for chunk in self._chunks(conn, source, job):
                        away = self._errands if job.target.plan.key else None
                        if not (away.offer(conn, job, chunk) if away else self._give((job, chunk))):
                            return
                except TableStopped as stop:
                    self._stop_job(job, stop)
            for _ in range(self._readers):
                self._give(None)
            if self._errands:
                self._errands.close()
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
        old = [(Chunk(n, bound(lower), bound(upper)), done) for n, lower, upper, done in known]
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
                bounds = {"number": number, "lower": stored(lower), "upper": stored(upper)}
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
        names = {"pipeline": self._lease.pipeline, **job.names, "number": chunk.number}
        with conn.transaction():
            self._lease.guard(conn)
            copied = copy_chunk(conn, source, self._servers, job.target, names)
        if copied is None:
            # Under our own epoch nobody else reads it.
            raise RuntimeError(f"chunk {chunk.number} of {job.target.source} is in other hands")
        passing("copy.chunk-committed")
        self._board.copied(job.target.source, *copied)
        self._done(conn, job, {chunk.number})

    # -- workers -----------------------------------------------------------------------------

    def _tend(self) -> None:
        assert self._errands is not None
        conn = self._servers.target()
        try:
            self._errands.tend(conn, self._done, self._stop_job)
        finally:
            conn.close()

    # -- ends --------------------------------------------------------------------------------

    def _done(self, conn: psycopg.Connection[Any], job: Job, numbers: set[int]) -> None:
        with self._lock:
            job.open -= numbers
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
