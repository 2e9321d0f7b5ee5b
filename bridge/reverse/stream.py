"""The target's changes over a replication connection: START_REPLICATION, COPY in both directions.

Source: PostgreSQL's manual, "Streaming Replication Protocol". psycopg has no call for it; its raw
libpq has. A reader needs REPLICATION and nothing else.
"""

from __future__ import annotations

import select
import time
from struct import Struct
from typing import NamedTuple

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from bridge.databases.endpoint import Endpoint
from bridge.databases.postgres import conninfo, target_error
from bridge.errors import ServerUnreachable
from bridge.names import literal_postgres, quote_postgres
from bridge.reverse.pgoutput import ProtocolError, format_lsn

APPLICATION = "dbbridge-reverse"
_EPOCH = 946_684_800
"""Seconds from 1970 to 2000, where PostgreSQL's clock begins."""
_DATA, _KEEPALIVE = b"wk"
_HEAD = 25
"""Bytes before a message: its kind, two positions, a time."""
_TIME = Struct(">q")
_ALIVE = Struct(">QqB")
_STATUS = Struct(">cQQQqB")


class Data(NamedTuple):
    """A message of the plugin's, which begins at `at`; `sent`: the server's µs since 2000."""

    raw: bytes
    at: int
    sent: int


class Alive(NamedTuple):
    """Everything that was committed before `end` has been sent; `asks` for an answer at once."""

    end: int
    sent: int
    asks: bool


class Stream:
    """One replication connection, used by one thread. `read` never waits; `wait` does."""

    def __init__(self, endpoint: Endpoint, slot: str, publication: str, start: int) -> None:
        """Raises ServerUnreachable, ServerRefused (the slot is gone, or another one reads it)."""
        try:
            self._conn = psycopg.connect(
                make_conninfo(conninfo(endpoint, APPLICATION), replication="database"),
                autocommit=True,
            )
        except psycopg.Error as error:
            raise target_error(error, endpoint) from error
        self._pg = self._conn.pgconn
        self._endpoint = endpoint
        self.timeout = 0.0
        """Seconds after which the server ends it if it hears nothing (0: it waits for ever)."""
        try:
            self.timeout = self._wal_sender_timeout()
            self._begin(slot, publication, start)
        except BaseException:
            self.close()
            raise

    def _wal_sender_timeout(self) -> float:
        query = "SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'"
        row = self._conn.execute(query, prepare=False).fetchone()
        return int(row[0]) / 1000 if row else 0.0

    def _begin(self, slot: str, publication: str, start: int) -> None:
        names = literal_postgres(quote_postgres(publication))
        command = (
            f"START_REPLICATION SLOT {quote_postgres(slot)} LOGICAL {format_lsn(start)}"
            f" (proto_version '1', publication_names {names}, messages 'true')"
        )
        result = self._pg.exec_(command.encode())
        if result.status != pq.ExecStatus.COPY_BOTH:
            error = psycopg.errors.error_from_result(result)
            raise target_error(error, self._endpoint) from error
        self._pg.nonblocking = 1

    def fileno(self) -> int:
        """For select."""
        return self._pg.socket

    def read(self) -> Data | Alive | None:
        """The next message that is here; None: none is. Raises the target's errors."""
        try:
            size, view = self._pg.get_copy_data(1)
        except psycopg.Error as error:
            raise target_error(error, self._endpoint) from error
        if size > 0:
            raw = bytes(view)
            if raw[0] == _DATA:
                return Data(raw, _HEAD, _TIME.unpack_from(raw, 17)[0])
            if raw[0] == _KEEPALIVE:
                end, sent, asks = _ALIVE.unpack_from(raw, 1)
                return Alive(end, sent, bool(asks))
            raise ProtocolError(f"PostgreSQL sent {raw[:1]!r} in a replication stream")
        if size == 0:
            return None
        raise self._ended()

    def take(self) -> None:
        """Takes in what has arrived."""
        try:
            self._pg.consume_input()
        except psycopg.Error as error:
            raise target_error(error, self._endpoint) from error

    def _ended(self) -> Exception:
        result = self._pg.get_result()
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            return target_error(psycopg.errors.error_from_result(result), self._endpoint)
        return ServerUnreachable(
            f"{self._endpoint.place} ended the replication stream", "it is opened again"
        )

    def confirm(self, received: int, flushed: int) -> None:
        """Tells how far everything is safe in the source; the slot forgets what is before.

        0: it keeps what it has.
        """
        now = int((time.time() - _EPOCH) * 1_000_000)
        status = _STATUS.pack(b"r", max(received, flushed), flushed, flushed, now, 0)
        try:
            self._pg.put_copy_data(status)
            deadline = time.monotonic() + 10
            while self._pg.flush():
                select.select((), (self._pg.socket,), (), 1)
                if time.monotonic() > deadline:
                    raise ServerUnreachable(
                        f"{self._endpoint.place} does not take what is sent", "it is tried again"
                    )
        except psycopg.Error as error:
            raise target_error(error, self._endpoint) from error

    def close(self) -> None:
        """Ends the connection."""
        self._conn.close()
