"""Which side a read goes to, while the target may answer a share of them.

The target answers only for tables that its stream carries, without a row in quarantine, while the
stream is not behind; and after a caller's own write only once that has arrived. Otherwise the
source does. Once the target has authority it alone answers: nothing tells how far the source is.
"""

from __future__ import annotations

import queue
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import psycopg

from bridge.dualwrite.authority import Authority, Closed, Q
from bridge.dualwrite.watchdog import Watchdog
from bridge.errors import BridgeError
from bridge.names import TableName

Place = Literal["source", "target"]
POLL_SECONDS = 0.01
KEEP_SECONDS = 0.5
"""How old the answer may be whether the target has some tables; who waits for a write asks anew."""
SILENT_SECONDS = 10
"""After so long without a word the daemon is not there."""
REST_SECONDS = 1.0
"""Without a try after the target could not be asked."""
LONGEST_SECONDS = 4.0
"""After which a session is cut off whose server says nothing at all."""
MOST_SESSIONS = 16


@dataclass(frozen=True, slots=True)
class After:
    """A write that a read must see: the operation's number and name. Its text can be sent on."""

    number: int
    op_id: UUID

    @classmethod
    def parse(cls, text: str) -> After:
        """Its text; raises ValueError."""
        number, _, name = text.partition(".")
        if len(number) > 19 or not number.isascii():
            raise ValueError(f"“{text}” names no write")
        return cls(int(number), UUID(name))

    def __str__(self) -> str:
        return f"{self.number}.{self.op_id.hex}"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller says of where to read.

    `pin` sends equal texts to the same side; '' draws anew. After a write `after`, the target is
    waited for at most `wait_seconds`. It may be `lag_seconds` behind. `prefer` asks for a side
    instead of the share, and gets it if that may answer.
    """

    pin: str = ""
    after: After | None = None
    prefer: Place | None = None
    lag_seconds: float = 10.0
    wait_seconds: float = 1.0


class Reading:
    """Chooses sides, from any thread, over sessions of the bridge's own on the target."""

    def __init__(self, pipeline: str, open_target: Callable[[], psycopg.Connection[Any]]) -> None:
        self._pipeline = pipeline
        self._open_target = open_target
        self._idle: queue.LifoQueue[psycopg.Connection[Any]] = queue.LifoQueue(MOST_SESSIONS)
        self._watchdog = Watchdog(LONGEST_SECONDS)
        self._not_before = float("-inf")
        self._lock = threading.Lock()
        self._kept: dict[tuple[tuple[TableName, ...], float], tuple[float, bool]] = {}
        self._homes: dict[str, Place] = {}

    def side(
        self, group: str, known: Authority | None, tables: Iterable[TableName], wish: Wish
    ) -> Place:
        """The side for a read of these tables of a group, by its row.

        While a switch has it closed, that is the side which had authority before; raises Closed
        where this instance does not know it.
        """
        if self._home(group, known) == "target":
            return "target"
        side = wish.prefer or _drawn(known.reads_percent if known else 0, wish.pin)
        if side == "target" and not self._fit(tuple(sorted(tables)), wish):
            return "source"
        return side

    def close(self) -> None:
        """Ends the sessions."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _home(self, group: str, known: Authority | None) -> Place:
        if known is None:
            return "source"
        if known.side == "closed":
            if group not in self._homes:
                raise Closed("a switch is under way", "try the read again in a moment")
            return self._homes[group]
        self._homes[group] = known.side
        return known.side

    def _fit(self, tables: tuple[TableName, ...], wish: Wish) -> bool:
        now, key = time.monotonic(), (tables, wish.lag_seconds)
        at, fit = self._kept.get(key, (float("-inf"), False))
        if wish.after is None and now - at <= KEEP_SECONDS:
            return fit
        if now < self._not_before:
            return False
        try:
            fit = self._asked(tables, wish)
        except (psycopg.Error, OSError, BridgeError):
            self._not_before = time.monotonic() + REST_SECONDS
            return False
        if wish.after is None:
            with self._lock:
                self._kept[key] = now, fit
        return fit

    def _asked(self, tables: tuple[TableName, ...], wish: Wish) -> bool:
        """Asks the target, until the write has come; a session that breaks is not kept."""
        deadline = time.monotonic() + wish.wait_seconds
        names = {
            "pipeline": self._pipeline,
            "schemas": [name.schema for name in tables],
            "tables": [name.table for name in tables],
            "silent": SILENT_SECONDS,
            "lag": wish.lag_seconds,
            "number": wish.after.number if wish.after else -1,
            "op": wish.after.op_id if wish.after else None,
        }
        conn = self._borrow()
        try:
            while True:
                with self._watchdog.watching(conn.fileno()):
                    row = conn.execute(Q["readable"], names).fetchone()
                if not row or not row[0]:
                    return False
                if wish.after is None or row[1]:
                    return True
                if time.monotonic() >= deadline:
                    return False
                time.sleep(POLL_SECONDS)
        finally:
            self._give_back(conn)

    def _borrow(self) -> psycopg.Connection[Any]:
        with suppress(queue.Empty):
            return self._idle.get_nowait()
        return self._open_target()

    def _give_back(self, conn: psycopg.Connection[Any]) -> None:
        with suppress(queue.Full):
            if not conn.closed:
                self._idle.put_nowait(conn)
                return
        conn.close()


def _drawn(percent: int, pin: str) -> Place:
    number = zlib.crc32(pin.encode()) % 100 if pin else random.randrange(100)  # noqa: S311
    return "target" if number < percent else "source"
