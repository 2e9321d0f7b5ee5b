"""A connection on which a MySQL or MariaDB server sends its binlog.

PyMySQL logs in (TLS included) and asks for the dump; from then on the socket is read here.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Any

import pymysql
from pymysql.constants import COMMAND

from bridge.capture.binlog.events import (
    EXECUTE_LOAD_QUERY,
    FORMAT_DESCRIPTION,
    IGNORABLE_FLAG,
    MARIADB_QUERY_COMPRESSED,
    MARIADB_ROWS_COMPRESSED,
    MARIADB_START_ENCRYPTION,
    TRANSACTION_PAYLOAD,
    format_description,
)
from bridge.capture.binlog.expand import plain, transaction
from bridge.capture.binlog.gtid import encode_gtid_set
from bridge.capture.binlog.packets import (
    Control,
    PacketBuffer,
    dump_payload,
    gtid_payload,
    register_payload,
)
from bridge.change.position import Position
from bridge.databases.mysql import source_error
from bridge.errors import BridgeError, PositionPurged, ServerUnreachable, SourceError

LIMIT = 4 << 20
"""Bytes that one `read` hands out at most, one larger event apart."""

_HEARTBEAT_V2 = 2
_THROUGH_GTID = 4
_NET_TIMEOUT = 86_400
"""Seconds that the server waits for a reader that is held back by its target."""
_REGISTER = COMMAND.COM_REGISTER_SLAVE
_NOT_PLAIN = frozenset(
    {
        TRANSACTION_PAYLOAD,
        EXECUTE_LOAD_QUERY,
        MARIADB_QUERY_COMPRESSED,
        MARIADB_START_ENCRYPTION,
    }
    | MARIADB_ROWS_COMPRESSED.keys()
)
"""What is looked at again before it is handed out."""
_ERROR = 0xFF
_PURGED = ("have been purged", "purged required binary logs", "find first log file name")
"""What servers say of a position before their oldest file: MariaDB, MySQL, and both by file."""
_U16 = Struct("<H")


class BinlogConnection:
    """The stream of events from one position on. Not thread-safe, but for `close`."""

    def __init__(
        self, connection: pymysql.Connection[Any], server_id: int, heartbeat: float
    ) -> None:
        """Use `open`; this takes over a connection on which the dump was asked for."""
        self._connection = connection
        self._socket: socket.socket = connection._sock  # type: ignore[attr-defined] # noqa: SLF001
        self._server_id = server_id
        self._patience = max(3 * heartbeat, heartbeat + 20) if heartbeat else 0.0
        self._silence = 0.0
        self._timeout: float | None = -1.0
        self._checksum = True
        self._buffer = PacketBuffer()
        self._pending: Iterator[list[bytes]] = iter(())
        self._waiting: list[bytes] = []
        self._closed = threading.Event()
        self.bytes_received = 0

    @classmethod
    def open(
        cls,
        connect: Callable[[], pymysql.Connection[Any]],
        start: Position,
        server_id: int,
        heartbeat_seconds: float,
    ) -> BinlogConnection:
        """Logs in as a replica and asks for everything after `start`.

        `server_id` must be used by no replica of this source, nor by the source. Raises
        ServerUnreachable, ServerRefused and SourceError; what the server says of the position
        itself is raised by the first `read`.
        """
        connection = connect()
        try:
            _prepare(connection, start, heartbeat_seconds)
            _ask(connection, start, server_id)
        except (pymysql.Error, OSError) as error:
            _drop(connection)
            raise source_error(error) from error
        except BridgeError:
            _drop(connection)
            raise
        return cls(connection, server_id, heartbeat_seconds)

    def read(self, timeout: float) -> list[bytes]:
        """The next events, whole, without checksums; [] if none came in `timeout` seconds.

        Compressed transactions and events come expanded: the events inside carry the end position
        of the event that held them. The size in an event's header is the log's, checksum and
        compression included. Raises ServerUnreachable (broken connection, damaged event: open
        again) and SourceError (purged, refused).
        """
        found = next(self._pending, None)
        if found is None:
            found = self._whole(timeout)
            if any(event[4] in _NOT_PLAIN for event in found):
                self._pending = self._expanded(found)
                found = next(self._pending, [])
        return found

    def close(self) -> None:
        """Ends the connection; a `read` blocked in another thread raises ServerUnreachable."""
        self._closed.set()
        # Not SSLSocket.shutdown, which would take the TLS state away from under the reading thread.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        _drop(self._connection)

    def __enter__(self) -> BinlogConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _whole(self, timeout: float) -> list[bytes]:
        """Whole events as they are in the log."""
        events = self._take()
        if events:
            return events
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            if not self._receive(max(left, 0.0)):
                return []
            events = self._take()
            if events:
                return events

    def _take(self) -> list[bytes]:
        try:
            events = self._buffer.events(self._checksum)
        except Control as control:
            raise _refusal(control.payload, self._server_id) from None
        if events and events[-1][4] == FORMAT_DESCRIPTION:
            self._checksum = format_description(events[-1]).checksum
        return events

    def _receive(self, timeout: float) -> bool:
        """Whether bytes came within `timeout` seconds."""
        if self._closed.is_set():
            raise _closed()
        started = time.monotonic()
        try:
            if timeout != self._timeout:
                self._socket.settimeout(timeout)
                self._timeout = timeout
            count = self._socket.recv_into(self._buffer.room())
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            self._check_silence(time.monotonic() - started)
            return False
        except (OSError, ValueError) as error:
            raise _closed() if self._closed.is_set() else source_error(error) from error
        if not count:
            if self._closed.is_set():
                raise _closed()
            raise ServerUnreachable(
                "the source closed the connection of its binlog",
                "it may be restarting; the stream goes on where it stopped",
            )
        self._buffer.filled(count)
        self.bytes_received += count
        self._silence = 0.0
        return True

    def _check_silence(self, waited: float) -> None:
        self._silence += waited
        if self._patience and self._silence > self._patience:
            raise ServerUnreachable(
                f"the source has been silent for {self._silence:.0f} s, heartbeats included",
                "the network between may have dropped the connection; it is opened again",
            )

    def _expanded(self, events: list[bytes]) -> Iterator[list[bytes]]:
        found: list[bytes] = []
        for event in events:
            code = event[4]
            if code not in _NOT_PLAIN:
                found.append(event)
            elif code == TRANSACTION_PAYLOAD:
                if found:
                    yield found
                    found = []
                yield from transaction(event, LIMIT)
            elif code == MARIADB_START_ENCRYPTION:
                _check_readable(event)
                found.append(event)
            else:
                found.append(plain(event))
        if found:
            yield found


def _check_readable(event: bytes) -> None:
    """MariaDB decrypts an encrypted file for its replicas, and says so by a flag of this event."""
    if not event[17] & IGNORABLE_FLAG:
        raise SourceError(
            "the source sends its binlog encrypted",
            "a server decrypts it for its replicas; is a binlog server or proxy between?",
        )


def _closed() -> ServerUnreachable:
    return ServerUnreachable("the connection to the source's binlog was closed")


def _drop(connection: pymysql.Connection[Any]) -> None:
    """Closes without a word to the server, which would have to wait for its answer."""
    with contextlib.suppress(Exception):
        connection._force_close()  # type: ignore[attr-defined] # noqa: SLF001


def _prepare(connection: pymysql.Connection[Any], start: Position, heartbeat: float) -> None:
    """The session variables that a replica sets before its dump."""
    mariadb = "mariadb" in _version(connection)
    if start.kind == ("mysql-gtid" if mariadb else "mariadb-gtid"):
        raise SourceError(
            f"the source cannot be read from {start}: the position is of another kind of server",
            "was the source replaced? copy its tables again: `dbbridge tables resync`",
        )
    period = int(heartbeat * 1e9)
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION net_write_timeout={_NET_TIMEOUT}")
        # The events of each file have checksums or not as its description says; what is said
        # here holds for the made-up event before the first description.
        cursor.execute("SET @master_binlog_checksum='CRC32', @source_binlog_checksum='CRC32'")
        cursor.execute(
            "SET @master_heartbeat_period=%s, @source_heartbeat_period=%s", (period, period)
        )
        if mariadb:
            cursor.execute("SET @mariadb_slave_capability=4")
            if start.kind == "mariadb-gtid":
                cursor.execute(
                    "SET @slave_connect_state=%s, @slave_gtid_strict_mode=0,"
                    " @slave_gtid_ignore_duplicates=0",
                    (start.text,),
                )


def _ask(connection: pymysql.Connection[Any], start: Position, server_id: int) -> None:
    """Sends the dump command; the answer is the stream itself."""
    _command(connection, _REGISTER, register_payload(server_id, socket.gethostname()))
    connection._read_ok_packet()  # type: ignore[attr-defined] # noqa: SLF001
    if start.kind == "mysql-gtid":
        flags = _THROUGH_GTID | (_HEARTBEAT_V2 if _knows_heartbeat_v2(connection) else 0)
        body = gtid_payload(server_id, flags, encode_gtid_set(start))
        _command(connection, COMMAND.COM_BINLOG_DUMP_GTID, body)
        return
    if start.kind == "mariadb-gtid":
        _command(connection, COMMAND.COM_BINLOG_DUMP, dump_payload(server_id, 0, "", 4))
        return
    if start.offset >= 1 << 32:
        raise SourceError(
            f"the server cannot be asked for {start}: its protocol ends at 4 GiB of a file",
            "turn on GTIDs on the source, or copy the tables again: `dbbridge tables resync`",
        )
    flags = _HEARTBEAT_V2 if _knows_heartbeat_v2(connection) else 0
    body = dump_payload(server_id, flags, start.file, start.offset)
    _command(connection, COMMAND.COM_BINLOG_DUMP, body)


def _command(connection: pymysql.Connection[Any], command: int, body: bytes) -> None:
    connection._execute_command(command, body)  # type: ignore[attr-defined] # noqa: SLF001


def _version(connection: Any) -> str:
    return str(connection.get_server_info()).lower()


def _knows_heartbeat_v2(connection: pymysql.Connection[Any]) -> bool:
    """MySQL 8.0.26 and later send 64-bit offsets in heartbeats when asked."""
    version = _version(connection)
    if "mariadb" in version:
        return False
    numbers = tuple(int(part) for part in version.split("-")[0].split(".")[:3] if part.isdigit())
    return numbers >= (8, 0, 26)


def _refusal(payload: bytes, server_id: int) -> BridgeError:
    """What an error packet, or the end of the stream, means."""
    if payload[0] != _ERROR:
        return ServerUnreachable(
            "the source ended the stream of its binlog",
            "it may be shutting down, or an operator ended the dump; it is opened again",
        )
    code = _U16.unpack_from(payload, 1)[0]
    text = payload[9:] if payload[3:4] == b"#" else payload[3:]
    message = text.decode("utf-8", "replace")
    if "same server_uuid/server_id" in message or "same server_id" in message:
        return SourceError(
            f"another replica of the source took over the stream with the server id {server_id}",
            "give each reader of this source an id of its own",
        )
    if code in (1236, 1373, 1789) and any(words in message for words in _PURGED):
        return PositionPurged(
            f"the source has purged the binlog that is needed: {message}",
            "copy the tables again: `dbbridge tables resync NAME…`",
        )
    if code in (1236, 1373, 1789):
        return SourceError(
            f"the source cannot send its binlog from there: {message}",
            "was its log reset, or the server replaced? point the pipeline at the old one, or copy"
            " every table again: `dbbridge tables resync NAME…`",
        )
    return source_error(pymysql.err.OperationalError(code, message))
