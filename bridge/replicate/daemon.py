"""The daemon: holds the lease, says that it lives, waits for servers that went away.

A server that dies is no reason to stop: all threads end, the connections close, and after a pause
everything starts again from the control schema. The pause grows from one second to thirty while
the work does not get going again, or not for as long as the pause was.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Protocol

import structlog

from bridge.errors import BridgeError, LeaseHeld, LeaseLost
from bridge.replicate.board import Board
from bridge.replicate.servers import Servers, meaning
from bridge.store.lease import Lease, acquire, end_own_sessions
from bridge.store.migrate import migrate

RENEW_SECONDS = 1.0
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
SWITCH_SECONDS = 0.0005
"""Python's thread switch interval: the applier needs the GIL for moments, and soon."""

log = structlog.get_logger("dbbridge.sync")


class Runs(Protocol):
    """What does a pipeline's work under a lease."""

    def run(self) -> None:
        """Until it shall end; raises what is fatal and what is transient."""
        ...


class Daemon:
    """Runs a pipeline until `stop` is called, the goal is reached, or something fatal happens.

    `engine` makes what runs under the lease, until the event that it is given is set. `patient`:
    where another process holds the lease, wait for it.
    """

    def __init__(
        self,
        servers: Servers,
        board: Board,
        engine: Callable[[Lease, threading.Event], Runs],
        *,
        patient: bool = False,
    ) -> None:
        self._servers = servers
        self._engine = engine
        self._patient = patient
        self._stopping = threading.Event()
        self.board = board

    def stop(self) -> None:
        """Asks for an orderly end: at the next commit, the lease released."""
        self._stopping.set()

    def cut(self) -> None:
        """Ends this daemon's sessions in the target, so that none of its threads waits there.

        What is under way is rolled back, and the lease is gone. For use after `stop`, from another
        thread.
        """
        with closing(self._servers.target()) as conn:
            end_own_sessions(conn, self._servers.pipeline)

    def run(self) -> None:
        """Blocks until the end; raises what is fatal."""
        sys.setswitchinterval(SWITCH_SECONDS)
        pause = FIRST_PAUSE
        going = False
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                lease = self._lease()
                going = True
                self._under(lease)
                return
            except Exception as error:
                known = meaning(error)
                stopping = self._stopping.is_set()
                if self._patient and isinstance(known, LeaseHeld | LeaseLost):
                    going = True  # whoever takes over ends our session too
                    self.board.phase, self.board.message = "consuming", known.message
                    if self.stand_by():
                        return
                    self._stopping.wait(RENEW_SECONDS)
                    continue
                if not (isinstance(known, BridgeError) and known.transient and (going or stopping)):
                    raise known from error
                if stopping:
                    return
                if self.board.phase != "waiting" and time.monotonic() - began > pause:
                    # It worked for a while: this is another fault, not the same one still.
                    pause = FIRST_PAUSE
                self.board.phase, self.board.message = "waiting", known.message
                log.warning("waiting", reason=known.message, hint=known.hint, seconds=pause)
                self._stopping.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def stand_by(self) -> bool:
        """Called now and then while another process leads; true: there is nothing to wait for."""
        return False

    def _lease(self) -> Lease:
        conn = self._servers.target()
        try:
            migrate(conn)
            return acquire(conn, self._servers.pipeline)
        except BaseException:
            conn.close()
            raise

    def _under(self, lease: Lease) -> None:
        """One run of the engine; a thread of its own renews the lease."""
        halt = threading.Event()
        lost: list[Exception] = []
        # How near an earlier run was says nothing of now: reads go by it.
        self.board.lag_seconds = None

        def renew() -> None:
            try:
                while not halt.wait(RENEW_SECONDS):
                    lease.renew(self.board.document())
                    lease.end_silent_readers()
            except Exception as error:  # noqa: BLE001 (handed to the thread that waits)
                lost.append(error)
                halt.set()

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            self._engine(lease, _Either(self._stopping, halt)).run()
        finally:
            halt.set()
            thread.join()
            with suppress(Exception):
                lease.release()
            lease.conn.close()
        if lost:
            raise lost[0]


class _Either(threading.Event):
    """An event that counts as set when either of two is."""

    def __init__(self, one: threading.Event, other: threading.Event) -> None:
        super().__init__()
        self._one, self._other = one, other

    def is_set(self) -> bool:
        """Whether one of them is set."""
        return self._one.is_set() or self._other.is_set()
