"""Brings groups to rest that an operator left in the middle: nobody stays fenced for good.

An operator who was killed, or who stands still past his deadline, undoes nothing by himself. The
daemon does it for him, as whoever comes next would by `dbbridge cutover cancel`. Whether it could,
with its own settings and passwords, it tells all the time, so that a switch may ask before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pymysql
import structlog

from bridge.config import Settings
from bridge.cutover.journal import GRACE_SECONDS, Busy, Journal, Record, Superseded, whoami
from bridge.cutover.opening import Opener, account_of, sessions
from bridge.cutover.operator import Operator
from bridge.cutover.transitions import TABLE, State
from bridge.errors import BridgeError
from bridge.replicate.board import Board
from bridge.store.state import add_event

LOOK_SECONDS = 0.5
PAUSE_SECONDS, LONGEST_PAUSE = 1.0, 30.0
"""Between two tries of what fails."""
STOP_SECONDS = 5.0
TRY_SECONDS = 20.0
"""How often it is looked whether it could be done."""
UNHURRIED: frozenset[State] = frozenset({"arming", "disarming", "completing"})
"""Nobody is kept out in these, and they may take hours: only who is gone has left them."""

log = structlog.get_logger("dbbridge.sync")


@dataclass
class Watch:
    """Tells which groups were left. `grace`: seconds without an operator, or past his deadline.

    An operator who undoes what failed opens new sessions for it, so a moment without any is none.
    """

    grace: float = GRACE_SECONDS
    alone: dict[str, tuple[int, float]] = field(default_factory=dict)

    def left(self, record: Record, now: float, overdue: Callable[[Record], bool]) -> bool:
        """Whether the group waits for somebody; to be asked again and again."""
        if TABLE[record.state].resting:
            self.alone.pop(record.group, None)
            return False
        if record.holder is not None:
            self.alone.pop(record.group, None)
            return record.state not in UNHURRIED and overdue(record)
        attempt, since = self.alone.get(record.group, (-1, now))
        if attempt != record.attempt:
            since = now
        self.alone[record.group] = record.attempt, since
        return now - since >= self.grace


@dataclass
class Tries:
    """Of one group, each in a thread of its own; after one that failed there is a pause."""

    thread: threading.Thread | None = None
    pause: float = PAUSE_SECONDS
    again: float = float("-inf")

    def due(self, now: float) -> bool:
        """Whether there may be another one."""
        ended = self.thread is None or not self.thread.is_alive()
        return ended and now >= self.again

    def failed(self) -> None:
        """The next one waits, longer each time."""
        self.again = time.monotonic() + self.pause
        self.pause = min(2 * self.pause, LONGEST_PAUSE)

    def done(self) -> None:
        """The next one is about something else."""
        self.pause = PAUSE_SECONDS


class Settler:
    """Threads of the daemon's; `open_target`: a session in autocommit mode, as the daemon's are.

    What goes wrong is tried again, and hinders nothing else: neither a group that cannot be brought
    to rest nor one that takes hours keeps another one fenced. The board says whether it can.
    """

    def __init__(
        self, settings: Settings, open_target: Callable[[], psycopg.Connection[Any]], board: Board
    ) -> None:
        self._settings = settings
        self._open_target = open_target
        self._board = board
        self._tried = float("-inf")
        self._watch = Watch()
        self._tries: dict[str, Tries] = {}
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, name="settler", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; a try under way is left to the next one, if it takes too long."""
        self._halt.set()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in (self._thread, *(tries.thread for tries in [*self._tries.values()])):
            if thread is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        pause = PAUSE_SECONDS
        while not self._halt.is_set():
            try:
                with closing(self._open_target()) as conn:
                    while not self._halt.wait(LOOK_SECONDS):
                        self._look(conn)
                        self._try()
                        pause = PAUSE_SECONDS
            except Exception as error:  # noqa: BLE001 (a fence must come off after any failure)
                log.warning("cutover-settling-waits", reason=str(error) or repr(error))
                self._halt.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _look(self, conn: psycopg.Connection[Any]) -> None:
        journal = Journal(conn, self._settings.name)
        for record in journal.read_all().values():
            now = time.monotonic()
            tries = self._tries.setdefault(record.group, Tries())
            if self._watch.left(record, now, journal.overdue) and tries.due(now):
                tries.thread = threading.Thread(
                    target=self._settle,
                    args=(record, tries),
                    name=f"settle-{record.group}",
                    daemon=True,
                )
                tries.thread.start()

    def _try(self) -> None:
        """Opens what settling would need, now and then, and tells whether that can be had."""
        if time.monotonic() - self._tried < TRY_SECONDS:
            return
        found = {"account": "", "error": "", "hint": ""}
        try:
            with sessions(self._settings) as (source, _):
                found["account"] = str(account_of(source))
        except BridgeError as error:
            found.update(error=error.message, hint=error.hint)
        except (psycopg.Error, pymysql.Error, OSError) as error:
            found.update(error=str(error) or repr(error))
        if found["error"] and found != self._board.settling:
            log.warning("cutover-not-settleable", reason=found["error"])
        self._board.could_settle(found)
        self._tried = time.monotonic()

    def _settle(self, left: Record, tries: Tries) -> None:
        """A try, in its thread."""
        who = left.operator or "somebody"
        log.warning("cutover-left", group=left.group, state=left.state, operator=who)
        try:
            after = self._rested(left, who)
            if after is not None:
                log.warning("cutover-settled", group=left.group, state=after)
                said = f"{who} left it while {left.state}; it is {after} again"
                with closing(self._open_target()) as conn:
                    add_event(conn, self._settings.name, "cutover-settled", left.group, said)
        except (Busy, Superseded) as error:  # somebody came meanwhile
            log.info("cutover-taken", group=left.group, reason=error.message)
        except Exception as error:  # noqa: BLE001 (a fence must come off after any failure)
            log.warning("cutover-not-settled", group=left.group, reason=str(error) or repr(error))
            tries.failed()
        else:
            tries.done()

    def _rested(self, left: Record, who: str) -> State | None:
        """Where the group rests now; None if somebody else brought it to rest before."""
        with Opener(self._settings, left.group)() as work:
            attempt = work.attempt
            if TABLE[attempt.state].resting:
                return None
            reason = f"{who} left it while {left.state}; {whoami()} brings it to rest"
            attempt.record = attempt.journal.fail(attempt.record, reason)
            Operator(work, lambda _: (), 0.0).settle()
            return attempt.state
