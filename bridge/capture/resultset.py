"""Results read straight from PyMySQL's socket: COPY lines as blocks, or rows of raw bytes.

PyMySQL makes Python objects of every row; a copy needs none of them. In the text protocol a row is
one packet (three bytes of length, one of sequence) of length-prefixed values, and a row of 16 MB or
more goes on in further packets; NULL is the prefix 0xfb, an error the packet 0xff, the end the
packet 0xfe (MySQL Internals, "Text Resultset"; PyMySQL does not negotiate CLIENT_DEPRECATE_EOF).
"""
# PyMySQL has no public way to its packets.
# ruff: noqa: SLF001

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from struct import Struct
from typing import Any

import pymysql
from pymysql.constants import COMMAND, CR
from pymysql.err import OperationalError

BLOCK = 256 << 10
"""Bytes that a block aims at."""
LONGEST_LINE = 64 << 20
"""Bytes of a line that is taken as the server writes it; a longer one counts as NULL."""

ABANDONED = 64 << 20
"""Bytes of an unread result that are still read to keep the connection."""
_NULL, _TWO, _THREE, _EIGHT, _ERROR = 0xFB, 0xFC, 0xFD, 0xFE, 0xFF
_WHOLE_PACKET = 0xFFFFFF
_EOF_SIZE = 9
_U32 = Struct("<I")


class LineReader:
    """The result of a query that selects one column: a COPY line, or NULL where there is none.

    Iterating gives blocks: put together they are the lines, each with a newline. A block ends at a
    line's end unless the line is long; a block that ends with a newline always ends a line. When
    the iteration is over, `nulls` is the number of rows without a line and `warnings` what the
    server counts. A line that holds a NUL or is no UTF-8 counts as none, unless it is so long that
    it is handed out in pieces. When it is given up, the rest is read, or (if it is long) the
    connection dropped. Raises pymysql's errors.
    """

    def __init__(self, conn: pymysql.Connection[Any], query: str) -> None:
        self.nulls = 0
        self.warnings = 0
        self._conn: Any = conn
        self._buffer = b""
        self._over = False
        self._long = False
        self._left = 0
        self._packet = 0
        start_query(conn, query)

    def __iter__(self) -> Iterator[bytes]:
        try:
            while not self._over:
                if block := self._sound(self._short_lines()):
                    yield block
                if self._long:
                    yield from self._long_line()
        finally:
            self._leave()

    def _short_lines(self) -> list[bytes]:
        """About one block of lines; ends early at the end, or before a long line (`_long`)."""
        lines: list[bytes] = []
        add, unpack = lines.append, _U32.unpack_from
        taken = 0
        while taken < BLOCK:
            buffer = self._buffer
            position, size = 0, len(buffer)
            end = 0
            # The end of the result takes nine bytes, so a shorter rest always grows.
            last = size - _EOF_SIZE
            while position <= last:
                end = position + 4 + (unpack(buffer, position)[0] & _WHOLE_PACKET)
                if end > size:
                    break
                prefix = buffer[position + 4]
                if prefix < _NULL:
                    add(buffer[position + 5 : end])
                elif prefix == _TWO:
                    add(buffer[position + 7 : end])
                elif prefix == _THREE:
                    add(buffer[position + 8 : end])
                elif prefix == _NULL:
                    self.nulls += 1
                else:
                    self._finish(buffer[position + 4 : end])
                    return lines
                position = end
            taken += position
            self._buffer = buffer[position:]
            if end - position > BLOCK:
                self._long = True
                break
            self._receive()
        return lines

    def _sound(self, lines: list[bytes]) -> bytes:
        """The lines as a block, without those that no PostgreSQL takes; b'' if none are left."""
        if not lines:
            return b""
        count = len(lines)
        lines.append(b"")
        block = b"\n".join(lines)
        if is_text(block):
            return block
        sound = [line for line in lines[:-1] if is_text(line)]
        self.nulls += count - len(sound)
        return b"\n".join([*sound, b""]) if sound else b""

    def _long_line(self) -> Iterator[bytes]:
        """The row at the buffer's beginning in pieces as they arrive, then a newline."""
        self._long = False
        self._next_packet()
        length, width = _length(self._buffer)
        self._buffer = self._buffer[width:]
        self._left -= width
        if length > LONGEST_LINE:
            while self._piece():
                pass
            self.nulls += 1
            return
        while piece := self._piece():
            yield piece
        yield b"\n"

    def _piece(self) -> bytes:
        """The next bytes of the long row that is being read; b'' at its end."""
        while not self._left:
            if self._packet < _WHOLE_PACKET:
                return b""
            self._next_packet()
        if not self._buffer:
            self._receive()
        piece = self._buffer[: self._left]
        self._buffer = self._buffer[len(piece) :]
        self._left -= len(piece)
        return piece

    def _next_packet(self) -> None:
        # A long row's packet is followed by others, or by the end, of nine bytes.
        while len(self._buffer) < _EOF_SIZE + 4:
            self._receive()
        self._left = self._packet = _U32.unpack_from(self._buffer)[0] & _WHOLE_PACKET
        self._buffer = self._buffer[4:]

    def _finish(self, packet: bytes) -> None:
        """An EOF packet (0xfe, warnings, status), or an error, which is raised."""
        self._over = True
        if packet[0] == _ERROR:
            pymysql.err.raise_mysql_exception(packet)
        self.warnings = int.from_bytes(packet[1:3], "little")

    def _receive(self) -> None:
        try:
            # read1 hands out what PyMySQL has buffered, then one recv (under TLS: one record).
            data = self._conn._rfile.read1(BLOCK)
        except OSError as error:
            raise self._lost(f"Lost connection to MySQL server during query ({error})") from error
        if not data:
            raise self._lost("Lost connection to MySQL server during query")
        self._buffer += data

    def _lost(self, text: str) -> OperationalError:
        self._over = True
        self._conn._force_close()
        return OperationalError(CR.CR_SERVER_LOST, text)

    def _leave(self) -> None:
        """After an iteration that was given up: reads the rest, or drops the connection."""
        unread = ABANDONED
        with contextlib.suppress(pymysql.Error):
            while not self._over and unread > 0:
                while piece := self._piece():
                    unread -= len(piece)
                self._packet = 0
                unread -= BLOCK
                self._short_lines()
                if self._long:
                    self._long = False
                    self._next_packet()
        if not self._over:
            self._over = True
            self._conn._force_close()


def start_query(conn: pymysql.Connection[Any], query: str) -> int:
    """Sends a query and reads the head of its result; the number of columns.

    What follows on the connection are the row packets. Raises pymysql's errors.
    """
    private: Any = conn
    private._execute_command(COMMAND.COM_QUERY, query)
    columns = int(private._read_packet().read_length_encoded_integer())
    for _ in range(columns + 1):
        private._read_packet()
    return columns


def read_rows(conn: pymysql.Connection[Any], query: str) -> Iterator[list[bytes | None]]:
    """The rows of a query, each value as the bytes that the server sent; one row in memory.

    Raises pymysql's errors. When the iteration is given up, the rest is read, or (if it is long)
    the connection dropped.
    """
    private: Any = conn
    columns = start_query(conn, query)
    unread = ABANDONED
    over = False
    try:
        while True:
            packet = private._read_packet()
            over = packet.is_eof_packet()
            if over:
                return
            yield [packet.read_length_coded_string() for _ in range(columns)]
    except pymysql.Error:
        over = True
        raise
    finally:
        with contextlib.suppress(pymysql.Error):
            while not over and unread > 0:
                packet = private._read_packet()
                over = packet.is_eof_packet()
                unread -= len(packet.get_all_data())
        if not over:
            private._force_close()


def is_text(block: bytes) -> bool:
    """Whether PostgreSQL takes the bytes: UTF-8 (which has no surrogates) without NUL."""
    if 0 in block:
        return False
    try:
        return block.isascii() or block.decode() is not None
    except UnicodeDecodeError:
        return False


def _length(buffer: bytes) -> tuple[int, int]:
    """A length-encoded number: its value and how many bytes it takes."""
    first = buffer[0]
    if first < _NULL:
        return first, 1
    width = {_TWO: 2, _THREE: 3, _EIGHT: 8}[first]
    return int.from_bytes(buffer[1 : 1 + width], "little"), width + 1
