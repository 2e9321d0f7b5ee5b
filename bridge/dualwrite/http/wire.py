"""A session of MySQL or MariaDB that an event loop waits for, for texts that give no rows.

PyMySQL logs in; then packets are sent and read without blocking, also through TLS (manual,
"MySQL Client/Server Protocol": COM_QUERY, OK_Packet, ERR_Packet).
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from contextlib import suppress
from typing import Any

import pymysql
from pymysql.err import raise_mysql_exception

_QUERY = b"\x03"
_OK, _ERROR = 0x00, 0xFF
_WIDTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}
"""Bytes of a number that does not fit into the one that says so."""
_MORE = 0x0008
"""SERVER_MORE_RESULTS_EXISTS: another statement of the same text is answered after this one."""
_NOT_YET = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_READ = 65536

Answers = list[tuple[int, int]]
"""(Rows, insert id) of each statement."""


class Lost(Exception):
    """The connection is gone, or nothing was heard for too long: nobody knows what was done."""


class Refused(Exception):
    """A statement failed, and those after it were not executed; the cause is PyMySQL's error.

    `done`: how many were executed before it.
    """

    def __init__(self, done: int) -> None:
        super().__init__()
        self.done = done


class Session:
    """One session, in the hands of one task at a time. `seconds`: the longest wait for an answer.

    `alive` is False once it is of no use, the server's having hung up between two texts included.
    """

    def __init__(self, conn: pymysql.Connection[Any], seconds: float) -> None:
        self.cursor = conn.cursor()
        self.alive = True
        self._conn = conn
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._sock = vars(conn)["_sock"]
        self._sock.setblocking(False)
        self._received = bytearray()
        self._unsent = b""
        self._answers: Answers = []
        self._done: asyncio.Future[Answers] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.thread = int(conn.thread_id())  # type: ignore[no-untyped-call]
        """What its server knows it by."""
        self._loop.add_reader(self._sock.fileno(), self._readable)

    async def execute(self, text: bytes) -> Answers:
        """Executes the statements of a text of less than 16 MiB; raises Refused and Lost."""
        self._answers = []
        self._done = self._loop.create_future()
        self._unsent = (len(text) + 1).to_bytes(3, "little") + b"\0" + _QUERY + text
        self._wait()
        self._writable()
        done = self._done
        try:
            return await done
        except Refused:
            if self._unsent:  # what comes next would go into the middle of it
                self.close()
            raise
        except BaseException:
            self.close()
            if done.done() and not done.cancelled():
                done.exception()  # nobody asks for it any more, and no log shall show its values
            raise
        finally:
            self._done = None
            self._wait(stop=True)

    def close(self) -> None:
        """Hangs up; the server rolls back what is under way."""
        if self.alive:
            self.alive = False
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            # PyMySQL's close says farewell, for which it waits where a server takes nothing more.
            with suppress(OSError):
                self._sock.close()
            vars(self._conn).update(_sock=None, _rfile=None)

    def _wait(self, *, stop: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if stop else self._loop.call_later(self._seconds, self._lose)

    def _lose(self) -> None:
        if self._done is None or self._done.done():
            self.close()
        else:
            self._done.set_exception(Lost())

    def _writable(self) -> None:
        try:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except _NOT_YET:
            pass
        except OSError:
            self._lose()
            return
        if self._unsent:
            self._loop.add_writer(self._sock.fileno(), self._writable)
        else:
            self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        while True:
            try:
                data = self._sock.recv(_READ)
            except _NOT_YET:
                return
            except OSError:
                data = b""
            if not data:
                self._lose()
                return
            self._received += data
            self._take()
            # What TLS has decrypted already is told by no selector.
            if not self.alive or not isinstance(self._sock, ssl.SSLSocket):
                return

    def _take(self) -> None:
        """Takes the packets that are there."""
        received = self._received
        while len(received) >= 4:
            end = 4 + int.from_bytes(received[:3], "little")
            if len(received) < end:
                return
            packet = bytes(received[4:end])
            del received[:end]
            if self._done is None or self._done.done():
                self.close()  # a server's farewell
                return
            self._answered(packet, self._done)

    def _answered(self, packet: bytes, done: asyncio.Future[Answers]) -> None:
        if packet[0] == _ERROR:
            refused = Refused(len(self._answers))
            try:
                raise_mysql_exception(packet)
            except pymysql.MySQLError as error:
                refused.__cause__ = error
            done.set_exception(refused)
            return
        if packet[0] != _OK:
            done.set_exception(Lost())
            return
        rows, at = _number(packet, 1)
        insert_id, at = _number(packet, at)
        self._answers.append((rows, insert_id))
        (status,) = struct.unpack_from("<H", packet, at)
        if status & _MORE:
            self._wait()
        else:
            done.set_result(self._answers)


def _number(packet: bytes, at: int) -> tuple[int, int]:
    """A length-encoded integer, and where the next field begins."""
    width = _WIDTHS.get(packet[at])
    if width is None:
        return packet[at], at + 1
    end = at + 1 + width
    return int.from_bytes(packet[at + 1 : end], "little"), end
