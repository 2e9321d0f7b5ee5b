"""Heartbeats: a row written in the source, to see how long changes take to arrive.

Commits carry the source's clock, in whole seconds on MariaDB, and a source that nobody writes to
has none. Where the operator allows one small table to be written (``pipeline: heartbeat``), lag is
the time from a heartbeat's commit until the stream has applied everything up to it, by one clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pymysql
import structlog

from bridge.capture.binlog.positions import upper_bound
from bridge.change.position import Position
from bridge.databases.mysql import limit_locks
from bridge.errors import BridgeError
from bridge.names import TableName
from bridge.replicate.servers import meaning

LOOK_SECONDS = 0.01
"""How often the stream is asked whether it has passed a heartbeat."""
LOCK_SECONDS = 2
"""A source under FLUSH TABLES WITH READ LOCK must not hold up the daemon's end."""
AGAIN_SECONDS = 30.0
"""After a source that refused a heartbeat."""

log = structlog.get_logger("dbbridge.heartbeat")


def definition(table: TableName) -> str:
    """The statement that makes the heartbeats' table."""
    return (
        f"CREATE TABLE IF NOT EXISTS {table.mysql}"
        " (pipeline varchar(63) NOT NULL PRIMARY KEY, at datetime(6) NOT NULL)"
    )


class Heartbeat:
    """Beats in a thread of its own until `stop`; a source that refuses costs a warning.

    `passed` tells whether the stream has applied everything up to a position.
    """

    def __init__(
        self,
        open_source: Callable[[], pymysql.Connection[Any]],
        table: TableName,
        seconds: float,
        pipeline: str,
        passed: Callable[[Position], bool],
    ) -> None:
        self._open_source = open_source
        self._table = table
        self._seconds = seconds
        self._pipeline = pipeline
        self._passed = passed
        self._stopping = threading.Event()
        self._last: float | None = None
        self._sent: float | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begins to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the statement under way; does nothing if it was never started."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def lag(self) -> float | None:
        """Seconds that the last beat took, or that the one under way takes; None: none arrived."""
        last, sent = self._last, self._sent
        if sent is None:
            return last
        age = time.monotonic() - sent
        return age if last is None else max(last, age)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with closing(self._open_source()) as source:
                    source.autocommit(True)
                    limit_locks(source, LOCK_SECONDS)
                    with source.cursor() as cursor:
                        cursor.execute(definition(self._table))
                    while not self._stopping.is_set():
                        self._beat(source)
            except Exception as error:  # noqa: BLE001 (a heartbeat must not end the stream)
                self._last = self._sent = None
                known = meaning(error)
                reason = known.message if isinstance(known, BridgeError) else str(known)
                log.warning("no-heartbeat", table=str(self._table), reason=reason)
                self._stopping.wait(AGAIN_SECONDS)

    def _beat(self, source: pymysql.Connection[Any]) -> None:
        sent = time.monotonic()
        with source.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {self._table.mysql} VALUES (%s, UTC_TIMESTAMP(6))"
                " ON DUPLICATE KEY UPDATE at = UTC_TIMESTAMP(6)",
                (self._pipeline,),
            )
        self._sent = sent
        position = upper_bound(source)
        while not self._passed(position):
            if self._stopping.wait(LOOK_SECONDS):
                return
        self._last = time.monotonic() - sent
        self._sent = None
        self._stopping.wait(max(0.0, self._seconds - self._last))
