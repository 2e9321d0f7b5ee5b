"""Reverse replication of a table group, as threads of the daemon.

One thread reads, decodes and makes statements; another applies them (`bridge.reverse.working`), so
that the source works while the next batch is built.

What is confirmed to the target is what the source's position row says,
and some seconds less: what a failover of the source loses is sent again. Only a slot that is about
to be lost is brought forward at once.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psycopg
import pymysql
import structlog

from bridge.databases.endpoint import Endpoint
from bridge.databases.postgres import target_error
from bridge.errors import BridgeError, ServerUnreachable
from bridge.mapping.plan import TablePlan
from bridge.reverse.apply import meaning
from bridge.reverse.working import Job, Session

KEEP_SECONDS = 30.0
"""How long the slot keeps what the source has committed: a failover of the source may lose it."""
LEAST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
RATE_SECONDS = 5.0
log = structlog.get_logger("dbbridge.reverse")


@dataclass(frozen=True, slots=True)
class Facts:
    """How reverse replication of a group stands; positions are PostgreSQL's, as numbers.

    `applied`: every transaction of the target whose commit record stands before is in the source.
    `lag_seconds` is the age of the oldest commit that is not (0: there is none, None: not
    connected, or it does not know yet). `unrepresentable`: rows that the source cannot hold.
    `error` is what it met last, None while it works; with `stopped` it does not go on by itself.
    `known`: it has got anywhere, or failed; until then the others say nothing.
    """

    received: int = 0
    applied: int = 0
    lag_seconds: float | None = None
    rows: int = 0
    rows_per_second: float = 0.0
    unrepresentable: int = 0
    error: BridgeError | None = None
    stopped: bool = False
    known: bool = True

    @property
    def rollback_available(self) -> bool:
        """Whether the source holds, or will hold, every row of the target."""
        return not self.unrepresentable and not self.stopped


class Reverse:
    """Replicates the tables of a group from the target to the source, until `stop`.

    `epoch` is that of the switch that gave the target authority, `flip` the target's position at
    that moment: transactions that committed before it came from the source. A process that has a
    later epoch ends the others'.
    """

    def __init__(
        self,
        source: Endpoint,
        target: Endpoint,
        pipeline: str,
        group: str,
        plans: Sequence[TablePlan],
        *,
        epoch: int,
        flip: int,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        self._job = Job(
            source, target, pipeline, group, {plan.target: plan for plan in plans},
            epoch, flip, keep_seconds,
        )  # fmt: skip
        self._stopping = threading.Event()
        self._pressed = threading.Event()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._thread = threading.Thread(target=self._run, name=f"reverse-{group}", daemon=True)
        self._session: Session | None = None
        self._facts = Facts(applied=flip, known=False)
        self._rows = 0
        self._rates: deque[tuple[float, int]] = deque(maxlen=64)

    def start(self) -> None:
        """Begins in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the source transaction under way; what it did not apply comes again."""
        self._stopping.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join()
        self._wake_read.close()
        self._wake_write.close()

    def press(self, pressed: bool) -> None:
        """Whether the slot is in danger of being lost, so that it must keep as little as it can.

        That gives up the seconds which a failover of the source needs: it may not come, and a slot
        that is lost is lost for certain. From any thread.
        """
        if pressed != self._pressed.is_set():
            (self._pressed.set if pressed else self._pressed.clear)()
            self._wake()

    @property
    def running(self) -> bool:
        """Whether its thread is there."""
        return self._thread.is_alive()

    def facts(self) -> Facts:
        """How it stands; from any thread.

        What it met last counts until a session gets further: what stopped one may stop the next.
        """
        session = self._session
        if session is None or not session.settled:
            return self._facts
        return Facts(
            session.received,
            session.applied,
            session.lag,
            self._rows + session.rows,
            self._rate(self._rows + session.rows),
            session.unrepresentable,
        )

    def _rate(self, rows: int) -> float:
        now = time.monotonic()
        self._rates.append((now, rows))
        while len(self._rates) > 1 and self._rates[0][0] < now - RATE_SECONDS:
            self._rates.popleft()
        then, before = self._rates[0]
        return (rows - before) / (now - then) if now > then else 0.0

    def _wake(self) -> None:
        with suppress(OSError):
            self._wake_write.send(b"x")

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        pause = LEAST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            error = self._attempt()
            if error is None or not error.transient:
                return
            if time.monotonic() - began > LONGEST_PAUSE:
                pause = LEAST_PAUSE
            self._stopping.wait(pause * random.uniform(0.5, 1))  # noqa: S311
            pause = min(2 * pause, LONGEST_PAUSE)

    def _attempt(self) -> BridgeError | None:
        """Works until it is stopped (None), or something goes wrong."""
        session = Session(self._job, self._stopping, self._pressed, self._wake_read, self._wake)
        error: BridgeError | None = None
        try:
            session.open()
            self._session = session
            session.work()
        except BridgeError as ours:
            error = ours
        except pymysql.Error as theirs:
            error = meaning(theirs)
        except psycopg.Error as theirs:
            error = target_error(theirs, self._job.target)
        except OSError as theirs:
            error = ServerUnreachable(f"the connection broke: {theirs}", "is the network well?")
        except Exception as defect:
            log.exception("reverse-failed", group=self._job.group)
            error = BridgeError(f"reverse replication failed: {defect!r}", "this is a defect")
        finally:
            session.close()
            self._ended(session, error)
        return error

    def _ended(self, session: Session, error: BridgeError | None) -> None:
        """The log has it before anybody is told; then the session is nobody's any more."""
        stopped = error is not None and not error.transient
        if error is not None:
            say, event = (
                (log.error, "reverse-stopped") if stopped else (log.warning, "reverse-waits")
            )
            say(event, group=self._job.group, reason=error.message)
        self._facts = Facts(
            session.received, max(session.applied, self._facts.applied), None,
            self._rows + session.rows, 0.0, session.unrepresentable, error, stopped,
        )  # fmt: skip
        self._session = None
        self._rows += session.rows
