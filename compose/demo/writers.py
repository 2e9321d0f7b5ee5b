"""The shop's users: threads that keep changing the database until they are stopped.

They wait for a source that restarts, and who loses a deadlock does something else.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from random import Random
from types import TracebackType
from typing import Self

import pymysql

from compose.demo.acts import ACTS, Act, ChangedMind, Clerk, NothingThere
from compose.demo.databases import connect_source

THREADS = 4
RETRY_SECONDS = 0.2
_CONFLICTS = frozenset({1020, 1062, 1205, 1213, 1451, 1452})
"""Changed since read, duplicate, lock wait, deadlock, and the two of foreign keys."""
_AWAY = frozenset({0, 1053, 1927, 2003, 2006, 2013})
"""The server shuts down, or the connection to it is gone."""


@dataclass
class Counts:
    """What was done: transactions committed, rolled back on purpose, and given up in conflicts."""

    transactions: int = 0
    rollbacks: int = 0
    conflicts: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


class Writers:
    """Users of the shop that `url` names, `rate` transactions a second together.

    The same seed makes the same choices, though not in the same order among threads. A context
    manager that starts and stops them.
    """

    def __init__(self, url: str, seed: int = 1, rate: float = 300.0) -> None:
        self._url = url
        self._seconds = THREADS / rate
        self._halt = threading.Event()
        self._counts = [Counts() for _ in range(THREADS)]
        self._failure: Exception | None = None
        self._threads = [
            threading.Thread(
                target=self._guarded, args=(Random(f"{seed}/{i}"), counts), daemon=True
            )
            for i, counts in enumerate(self._counts)
        ]

    @property
    def counts(self) -> Counts:
        """What they have done so far."""
        return sum(self._counts, Counts())

    def start(self) -> None:
        """Lets them begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Waits until the last transaction is over; raises what one of them stumbled on."""
        self._halt.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.stop()

    def _guarded(self, chance: Random, counts: Counts) -> None:
        try:
            while not self._halt.is_set():
                try:
                    self._work(chance, counts)
                except pymysql.Error as error:
                    if _number(error) not in _AWAY:
                        raise
                    self._halt.wait(RETRY_SECONDS)
        except Exception as error:  # noqa: BLE001 (stop raises it)
            self._failure = error
            self._halt.set()

    def _work(self, chance: Random, counts: Counts) -> None:
        """Over one connection, until it breaks or the end."""
        conn = connect_source(self._url, autocommit=False)
        acts, weights = list(ACTS), list(ACTS.values())
        due = time.monotonic()
        try:
            while not self._halt.is_set():
                act = chance.choices(acts, weights)[0]
                _try(act, Clerk(conn, chance), counts)
                # Who falls behind does not catch up by a burst.
                due = max(due + self._seconds, time.monotonic() - self._seconds)
                self._halt.wait(max(0.0, due - time.monotonic()))
        finally:
            with suppress(pymysql.Error, OSError):
                conn.close()


def _try(act: Act, clerk: Clerk, counts: Counts) -> None:
    """One act to its end, whichever that is. Raises what is no everyday matter."""
    conn = clerk.conn
    try:
        act(clerk)
        conn.commit()
        counts.transactions += 1
    except (ChangedMind, NothingThere):
        conn.rollback()
        counts.rollbacks += 1
    except pymysql.Error as error:
        if _number(error) not in _CONFLICTS:
            raise
        conn.rollback()
        counts.conflicts += 1


def _number(error: pymysql.Error) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else -1
