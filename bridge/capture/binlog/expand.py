"""Events made plain: MySQL's compressed transactions (zstd), MariaDB's single events (zlib).

Memory stays bounded: a compressed transaction is handed out in pieces.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from struct import Struct
from typing import Protocol

import zstandard

from bridge.capture.binlog.events import (
    BODY,
    EXECUTE_LOAD_QUERY,
    MARIADB_QUERY_COMPRESSED,
    MARIADB_ROWS_COMPRESSED,
    QUERY,
    ROW_KIND,
    UPDATE,
    packed_int,
    payload,
    reader,
)
from bridge.errors import ServerUnreachable, SourceError

_SIZE = Struct("<I")
_PIECE = 1 << 20
_ZSTD = 0
_PLAIN = 255


class _Source(Protocol):
    def read(self, size: int) -> bytes: ...


class _Bytes:
    """Uncompressed payload read like a stream."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]


def transaction(event: bytes, limit: int) -> Iterator[list[bytes]]:
    """The events inside TRANSACTION_PAYLOAD, in lists of about `limit` bytes.

    Inner events have no end position of their own and get the payload's: whoever notes a position
    after one of them notes the end of the whole. Raises ServerUnreachable if the payload is
    damaged, since reading it again may help, and SourceError for an unknown compression.
    """
    body, compression, size = reader("a compressed transaction")(payload)(event)
    if compression not in (_ZSTD, _PLAIN):
        raise SourceError(
            f"the source compresses transactions in a way that is not known ({compression})",
            "turn it off: SET GLOBAL binlog_transaction_compression=OFF",
        )
    end_position = event[13:17]
    found: list[bytes] = []
    pending = 0
    for inner in _inner(body, compression == _ZSTD, size):
        found.append(inner[:13] + end_position + inner[17:])
        pending += len(inner)
        if pending >= limit:
            yield found
            found, pending = [], 0
    if found:
        yield found


def _inner(body: bytes, compressed: bool, size: int) -> Iterator[bytes]:
    source: _Source = _Bytes(body)
    if compressed:
        # Frames follow each other where the server flushed its cache.
        source = zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True)
    held = b""
    at = 0
    total = 0
    while True:
        if len(held) - at < BODY or len(held) - at < _SIZE.unpack_from(held, at + 9)[0]:
            wanted = _SIZE.unpack_from(held, at + 9)[0] if len(held) - at >= BODY else 0
            more = _read(source, max(_PIECE, wanted - (len(held) - at)))
            if not more:
                break
            total += len(more)
            held = held[at:] + more
            at = 0
            continue
        length = _SIZE.unpack_from(held, at + 9)[0]
        if length < BODY:
            raise _damaged("an event that is too short")
        yield held[at : at + length]
        at += length
    if at != len(held) or total != size:
        raise _damaged(f"{total} bytes instead of {size}")


def _read(source: _Source, size: int) -> bytes:
    try:
        return source.read(size)
    except zstandard.ZstdError as error:
        raise _damaged(str(error)) from error


def _damaged(what: str) -> ServerUnreachable:
    return ServerUnreachable(
        f"a compressed transaction of the source's binlog is damaged: {what}",
        "it is read again; if this goes on, the source's binlog file is broken",
    )


def plain(event: bytes) -> bytes:
    """The plain query or rows event, with the type code rewritten, of MariaDB's compressed one.

    Also of EXECUTE_LOAD_QUERY, a query event with a file's number and place in the statement.
    """
    code = event[4]
    if code == EXECUTE_LOAD_QUERY:
        return event[:4] + bytes([QUERY]) + event[5:32] + event[45:]
    at = _query_start(event) if code == MARIADB_QUERY_COMPRESSED else _rows_start(event)
    try:
        body = _inflate(event, at)
    except (zlib.error, IndexError, ValueError) as error:
        raise _damaged(str(error)) from error
    plain_code = QUERY if code == MARIADB_QUERY_COMPRESSED else MARIADB_ROWS_COMPRESSED[code]
    return event[:4] + bytes([plain_code]) + event[5:at] + body


def _query_start(event: bytes) -> int:
    return 32 + int.from_bytes(event[30:32], "little") + event[27] + 1


def _rows_start(event: bytes) -> int:
    code = MARIADB_ROWS_COMPRESSED[event[4]]
    at = BODY + 8
    if code >= 30:
        at += int.from_bytes(event[at : at + 2], "little")
    columns, at = packed_int(event, at)
    bitmaps = 2 if ROW_KIND[code] == UPDATE else 1
    return at + bitmaps * ((columns + 7) // 8)


def _inflate(event: bytes, at: int) -> bytes:
    """MariaDB's record: a byte with the width of the length, the length (big-endian), zlib's data.

    Source: sql/log_event.cc, binlog_buf_uncompress.
    """
    head = event[at]
    width = head & 0x07
    if head & 0xF0 != 0x80:
        raise ValueError(f"unknown compression {head:#x}")
    size = int.from_bytes(event[at + 1 : at + 1 + width], "big")
    body = zlib.decompress(event[at + 1 + width :], bufsize=max(size, 1))
    if len(body) != size:
        raise ValueError(f"{len(body)} bytes instead of {size}")
    return body
