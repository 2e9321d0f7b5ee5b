"""Chunks that others read: the daemon's side of a copy by workers.

Errands are rows of the control schema. The daemon offers the chunks that it has planned, calls for
workers while some are free, and looks which are done. A call that is lost costs a moment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

import structlog

from bridge.capture.binlog.positions import server_identity
from bridge.errors import BridgeError, ServerUnreachable, TableStopped
from bridge.replicate.board import Board
from bridge.replicate.chunk import Chunk
from bridge.replicate.job import Job
from bridge.replicate.servers import Servers
from bridge.store.lease import Lease
from bridge.store.state import Connection, Q

AHEAD = 256
"""Chunks that are planned and not yet copied."""
LOOK_SECONDS = 0.2
CALL_SECONDS = 0.5
IDLE_SECONDS = 10.0
"""When nobody has taken anything for so long, it is said how to start somebody who does."""
MOST_TRIES = 10
"""A chunk that was begun so often in vain is given up until the daemon has paused."""

log = structlog.get_logger("dbbridge.sync")


class Caller(Protocol):
    """Calls for workers; `command` starts one."""

    @property
    def command(self) -> str:
        """A line for a shell."""
        ...

    def call(self, epoch: int, source_id: str, free: int) -> None:
        """Asks for as many as `free` workers. Raises ServerUnreachable, ServerRefused."""
        ...


class Errands:
    """The errands of one copy; `offer` is called by one thread, `tend` by another."""

    def __init__(
        self,
        servers: Servers,
        lease: Lease,
        board: Board,
        caller: Caller,
        halt: threading.Event,
    ) -> None:
        self._lease = lease
        self._board = board
        self._caller = caller
        self._halt = halt
        self._closed = threading.Event()
        self._away: dict[Job, set[int]] = {}
        self._lock = threading.Lock()
        self._free = 0
        self._refused: BridgeError | None = None
        self._unreachable = False
        self._watch = _Watch(board, caller.command)
        with closing(servers.copy_source()) as source:
            self._source_id = server_identity(source)

    def forget(self, conn: Connection) -> None:
        """Takes back what an earlier daemon, or an earlier copy, has offered.

        What somebody reads stays, so that he is ended if he freezes over it.
        """
        with conn.transaction():
            self._lease.guard(conn)
            conn.execute(Q["drop_free_errands"], {"pipeline": self._lease.pipeline})

    def offer(self, conn: Connection, job: Job, chunk: Chunk) -> bool:
        """Lets workers read the chunk, once not too many wait; False if the copy is halted.

        A chunk of a table that cannot go on is passed over.
        """
        while self._waiting() >= AHEAD:
            if self._halt.wait(LOOK_SECONDS):
                return False
        if job.stopped is not None:
            return not self._halt.is_set()
        with conn.transaction():
            self._lease.guard(conn)
            names = {"pipeline": self._lease.pipeline, "epoch": self._lease.epoch, **job.names}
            conn.execute(Q["add_errand"], {**names, "number": chunk.number})
        with self._lock:
            self._away.setdefault(job, set()).add(chunk.number)
        return not self._halt.is_set()

    def close(self) -> None:
        """Nothing more will be offered."""
        self._closed.set()

    def tend(
        self,
        conn: Connection,
        done: Callable[[Connection, Job, set[int]], None],
        stopped: Callable[[Job, TableStopped], None],
    ) -> None:
        """Until all is done, or the copy is halted; `done` is told chunks that are copied.

        Raises ServerRefused, and ServerUnreachable where a chunk comes to nothing again and again.
        """
        # Not waited for at the end, since a broker that is away may let it wait for long.
        threading.Thread(target=self._call, name="calls", daemon=True).start()
        try:
            while not self._halt.is_set():
                self._look(conn, done, stopped)
                if self._refused is not None:
                    raise self._refused
                if self._closed.is_set() and not self._away:
                    return
                self._halt.wait(LOOK_SECONDS)
        finally:
            self._free = 0
            self._board.message = ""

    def _look(
        self,
        conn: Connection,
        done: Callable[[Connection, Job, set[int]], None],
        stopped: Callable[[Job, TableStopped], None],
    ) -> None:
        rows = conn.execute(Q["errands"], {"pipeline": self._lease.pipeline}).fetchall()
        moved = False
        for job in self._jobs():
            if job.stopped is not None:  # what was being offered when it stopped
                self._drop(conn, job)
                continue
            finished = self._finished(conn, job)
            if finished:
                moved = True
                done(conn, job, finished)
        jobs = {tuple(job.names.values()): job for job in self._jobs()}
        free = held = 0
        for schema, table, generation, number, tries, error, stop, holder in rows:
            mine = jobs.get((schema, table, generation))
            if mine is None or mine.stopped is not None:
                continue
            held += bool(holder)
            if stop is not None:
                stopped(mine, TableStopped(stop["message"], stop["hint"], stop["code"]))
                self._drop(conn, mine)
            elif not holder:
                free += 1
                self._failed(f"{schema}.{table}", number, tries, error)
        self._free = free
        if not self._unreachable:
            self._watch.look(free=free, held=held, moved=moved)

    def _failed(self, table: str, number: int, tries: int, error: str) -> None:
        if error:
            self._watch.failed(table, number, error)
        if tries >= MOST_TRIES:
            raise ServerUnreachable(
                f"chunk {number} of {table} came to nothing {tries} times:"
                f" {error or 'its worker died'}",
                "mend that; it is tried again",
            )

    def _finished(self, conn: Connection, job: Job) -> set[int]:
        """What is copied of the job since the last look."""
        names = {"pipeline": self._lease.pipeline, **job.names}
        with self._lock:
            asked = list(self._away[job])
        found = {row[0] for row in conn.execute(Q["done_chunks"], {**names, "numbers": asked})}
        if found:
            conn.execute(Q["drop_errands"], {**names, "numbers": list(found)})
            (rows, size) = conn.execute(Q["copied_so_far"], names).fetchone() or (0, 0)
            self._board.copied_so_far(job.target.source, rows, size)
            with self._lock:
                self._away[job] -= found
                if not self._away[job]:
                    del self._away[job]
        return found

    def _drop(self, conn: Connection, job: Job) -> None:
        """The job's table cannot go on: nobody shall begin another chunk of it."""
        # In this order, what is offered between the two is found at the next look.
        with self._lock:
            self._away.pop(job, None)
        with conn.transaction():
            self._lease.guard(conn)
            conn.execute(Q["drop_free_errands_of"], {"pipeline": self._lease.pipeline, **job.names})

    def _jobs(self) -> list[Job]:
        with self._lock:
            return list(self._away)

    def _waiting(self) -> int:
        with self._lock:
            return sum(map(len, self._away.values()))

    def _call(self) -> None:
        pause = LOOK_SECONDS
        while not self._halt.wait(pause):
            free, pause = self._free, LOOK_SECONDS
            if not free:
                if self._closed.is_set() and not self._away:
                    return
                continue
            pause = CALL_SECONDS
            try:
                self._caller.call(self._lease.epoch, self._source_id, free)
                self._unreachable = False
            except BridgeError as error:
                if not error.transient:
                    self._refused = error
                    return
                if not self._unreachable:
                    self._unreachable = True
                    self._watch.say(f"{error.message}; chunks that workers have go on", error.hint)


class _Watch:
    """Says, once each, what keeps the copy from going on."""

    def __init__(self, board: Board, command: str) -> None:
        self._board = board
        self._command = command
        self._moved = time.monotonic()
        self._errors: set[str] = set()

    def look(self, *, free: int, held: int, moved: bool) -> None:
        """That nobody works."""
        if moved or held or not free:
            self._moved = time.monotonic()
            self._board.message = ""
        elif time.monotonic() - self._moved >= IDLE_SECONDS and not self._board.message:
            self.say("no worker takes anything", f"start one: {self._command}")

    def failed(self, table: str, number: int, error: str) -> None:
        """What a worker ran into."""
        if error not in self._errors:
            self._errors.add(error)
            log.warning("chunk failed", table=table, chunk=number, reason=error)

    def say(self, what: str, hint: str) -> None:
        """On the log, and for `status`."""
        self._board.message = f"{what}; {hint}" if hint else what
        log.warning("copy waits", reason=what, hint=hint)
