"""A till of the shop that writes where it may, and remembers what was committed.

It writes to the source, once it is refused there to PostgreSQL, and back.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import psycopg
import pymysql

from compose.demo import databases

if TYPE_CHECKING:
    from compose.demo.databases import Source, Target

Side = Literal["source", "target"]
PAUSE_SECONDS = 0.02
"""Between two customers: a busy evening that leaves the planner's statistics fresh for a while."""
_CUSTOMER = "INSERT INTO shop.customers (email, name, registered_at) VALUES (%s, 'Evening', {now})"
_ADDRESS = (
    "INSERT INTO shop.addresses (customer_id, kind, street, zip, city, country)"
    " VALUES (%s, 'billing', 'Am Abend 1', '01067', 'Dresden', 'DE')"
)


class Till:
    """Signs customers up, one after the other. A context manager."""

    def __init__(self, source: str, target: str) -> None:
        self._source, self._target = source, target
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._guarded, daemon=True)
        self._failure: Exception | None = None
        self.done: dict[Side, list[str]] = {"source": [], "target": []}
        """E-mail addresses that were committed, by side."""
        self.longest = 0.0
        """Seconds between two commits, at most."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._halt.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def count(self, side: Side) -> int:
        """How many customers were signed up on a side so far."""
        return len(self.done[side])

    def _guarded(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 (raised at the end)
            self._failure = error

    def _work(self) -> None:
        number, last, side = 0, time.monotonic(), "source"
        with (
            closing(databases.connect_source(self._source, autocommit=False)) as here,
            closing(databases.connect_target(self._target)) as there,
        ):
            while not self._halt.wait(PAUSE_SECONDS):
                number += 1
                email = f"evening{number}@example.org"
                try:
                    if side == "source":
                        _sign_up_here(here, email)
                        self.done["source"].append(email)
                    else:
                        _sign_up_there(there, email)
                        self.done["target"].append(email)
                except (pymysql.OperationalError, psycopg.errors.InsufficientPrivilege):
                    here.ping(reconnect=True)
                    here.rollback()
                    side = "target" if side == "source" else "source"
                    continue
                now = time.monotonic()
                self.longest, last = max(self.longest, now - last), now


def _sign_up_here(conn: Source, email: str) -> None:
    with conn.cursor() as cursor:
        cursor.execute(_CUSTOMER.format(now="NOW()"), (email,))
        cursor.execute(_ADDRESS, (cursor.lastrowid,))
    conn.commit()


def _sign_up_there(conn: Target, email: str) -> None:
    with conn.transaction():
        row = conn.execute(_CUSTOMER.format(now="now()") + " RETURNING id", (email,)).fetchone()
        assert row is not None
        conn.execute(_ADDRESS, (row[0],))
