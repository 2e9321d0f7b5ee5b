"""Who has authority, as one application instance knows it, and how it looks again.

What it knows may be old: each commit is checked by itself. So while one thread asks, the others go
by what is known, and nobody waits for a server that says nothing, but who does not know anything
yet, or was just told by a server that what he knows is no more so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pymysql

from bridge.dualwrite.authority import Authority, Side, read_source, read_target
from bridge.dualwrite.watchdog import Watchdog
from bridge.errors import BridgeError, ServerUnreachable

LOOK_SECONDS = 1.0
"""How old what is known of the authority may be when a transaction begins."""
CLOSED_SECONDS = 0.05
"""The same while nobody has it: whoever waits is to go on as soon as somebody does."""
LONGEST_SECONDS = 4.0
"""After which a session with the target is cut off whose server says nothing at all."""
RESTS = 5.0
"""How many times as long as it took in vain a side is left alone then."""

Rows = dict[str, Authority]
NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Sides:
    """How both sides are reached: sessions of the bridge's own, in autocommit mode."""

    pipeline: str
    database: str
    open_source: Callable[[], pymysql.Connection[Any]]
    open_target: Callable[[], psycopg.Connection[Any]]


class Lookout:
    """The groups' rows, from any thread, over a session of its own on each side."""

    def __init__(self, sides: Sides) -> None:
        self._sides = sides
        self._known: Rows = {}
        self.looked = NEVER
        """When somebody asked last (time.monotonic)."""
        self._lock = threading.Lock()
        self._source: pymysql.Connection[Any] | None = None
        self._target: psycopg.Connection[Any] | None = None
        self._watchdog = Watchdog(LONGEST_SECONDS)
        self._not_before: dict[Side, float] = {}

    def known(self) -> Rows | None:
        """What need not be asked for; None where this thread has to ask."""
        free = self._fresh() or (self._usable and self._lock.locked())
        return self._known if free else None

    def rows(self) -> Rows:
        """At most `LOOK_SECONDS` old while a side can be asked, and nobody else asks just then.

        None: not set up. Raises ServerUnreachable where nothing is known.
        """
        if self._fresh() or not self._lock.acquire(blocking=not self._usable):
            return self._known
        try:
            if not self._fresh():
                found = self._look()
                if found is None and not self._known:
                    raise ServerUnreachable(
                        "neither side can be asked who has authority", "try again when one is back"
                    )
                self._known = self._known if found is None else found
                self.looked = time.monotonic()
            return self._known
        finally:
            self._lock.release()

    def forget(self) -> None:
        """A server said otherwise: everybody asks, or waits for who does."""
        self.looked = NEVER
        self._not_before = {}

    def close(self) -> None:
        """Ends the sessions."""
        with self._lock:
            for conn in (self._source, self._target):
                if conn is not None:
                    conn.close()
            self._source = self._target = None

    def _fresh(self) -> bool:
        closed = any(one.side == "closed" for one in self._known.values())
        return time.monotonic() - self.looked <= (CLOSED_SECONDS if closed else LOOK_SECONDS)

    @property
    def _usable(self) -> bool:
        return self.looked > NEVER

    def _look(self) -> Rows | None:
        """The rows of the side that has authority over all, else the later of both.

        None: nobody tells. The side that had it last is asked first, so that nothing depends on the
        other one, which may be gone for good.
        """
        order: tuple[Side, Side] = ("source", "target")
        if self._known and _all(self._known, "target"):
            order = ("target", "source")
        found: dict[Side, Rows | None] = {}
        for side in order:
            found[side] = rows = self._asked(side)
            # The target's lack of a row does not tell, as the source's does, who has the group.
            whole = side == "source" or (rows or {}).keys() >= self._known.keys()
            if rows and whole and _all(rows, side):
                return rows
        here, there = found["source"], found["target"]
        if here is None or there is None:
            return there if here is None else here
        return {name: _later(here.get(name), there.get(name)) for name in here | there}

    def _asked(self, side: Side) -> Rows | None:
        """None where it does not answer, and for some time after that took long."""
        began = time.monotonic()
        if began < self._not_before.get(side, NEVER):
            return None
        try:
            return self._ask_source() if side == "source" else self._ask_target()
        except (pymysql.Error, psycopg.Error, OSError, BridgeError):
            now = time.monotonic()
            self._not_before[side] = now + RESTS * (now - began)
            return None

    def _ask_source(self) -> Rows:
        conn, self._source = self._source or self._sides.open_source(), None
        rows = read_source(conn, self._sides.database)
        self._source = conn
        return rows

    def _ask_target(self) -> Rows:
        conn, self._target = self._target or self._sides.open_target(), None
        with self._watchdog.watching(conn.fileno()):
            rows = read_target(conn, self._sides.pipeline)
        self._target = conn
        return rows


def _all(rows: Rows, side: Side) -> bool:
    return all(one.side == side for one in rows.values())


def _later(here: Authority | None, there: Authority | None) -> Authority:
    if here is None or there is None:
        known = here or there
        assert known is not None
        return known
    if there.side == here.side:  # each side's writers are held by its own epoch
        return there if there.side == "target" else here
    return there if there.epoch > here.epoch else here
