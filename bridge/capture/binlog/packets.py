"""MySQL packets: from the bytes of a connection to the payloads of the dump (pure).

A packet is a length of three bytes, a running number, and the payload. A payload of 2**24 - 1 bytes
goes on in the next packet (MySQL, "Protocol Basics").
"""

from __future__ import annotations

import zlib
from struct import Struct

from bridge.capture.binlog.events import FORMAT_DESCRIPTION
from bridge.errors import ServerUnreachable

MAX_PAYLOAD = 0xFFFFFF
_OK = 0
_U32 = Struct("<I")
_ROOM = 1 << 20


class Control(Exception):
    """A packet that is not an event: an error, or the end of the stream."""

    def __init__(self, payload: bytes) -> None:
        super().__init__(payload)
        self.payload = payload


class PacketBuffer:
    """Bytes as they are received, and the whole events among them.

    Mutable. `room()` is where the next bytes go, `filled(n)` says how many came; `events()` takes
    out what is whole. The buffer grows with the largest packet and shrinks again after it.
    """

    def __init__(self) -> None:
        self._buffer = bytearray(_ROOM)
        self._view = memoryview(self._buffer)
        self._fill = 0
        self._parts: list[bytes] = []
        self._control: bytes | None = None

    def room(self) -> memoryview:
        """Free space for at least one byte."""
        needed = self._wanted()
        if needed > len(self._buffer) or max(needed, self._fill + 1) <= _ROOM < len(self._buffer):
            self._resize(max(_ROOM, needed))
        return self._view[self._fill :]

    def filled(self, count: int) -> None:
        """`count` bytes were written at the beginning of `room()`."""
        self._fill += count

    def events(self, checksum: bool) -> list[bytes]:
        """Whole events without their checksums, up to and with the first format description.

        After that one, events may have checksums or not. Raises ServerUnreachable for a wrong
        checksum, and Control at an error or end packet, when all events before it are handed out.
        """
        self._check_end()
        if self._fill < self._wanted():
            return []
        data = bytes(self._view[: self._fill])
        found, at = self._split(data, checksum)
        rest = self._fill - at
        self._view[:rest] = data[at:]
        self._fill = rest
        if not found:
            self._check_end()
        return found

    def _check_end(self) -> None:
        if self._control is not None:
            raise Control(self._control)

    def _wanted(self) -> int:
        """Bytes of the first packet, its header included, as far as is known."""
        if self._fill < 4:
            return 4
        length: int = _U32.unpack_from(self._buffer)[0] & MAX_PAYLOAD
        return 4 + length

    def _resize(self, size: int) -> None:
        buffer = bytearray(size)
        buffer[: self._fill] = self._view[: self._fill]
        self._buffer = buffer
        self._view = memoryview(buffer)

    def _split(self, data: bytes, checksum: bool) -> tuple[list[bytes], int]:  # noqa: C901
        """The hot loop: about half a microsecond an event."""
        found: list[bytes] = []
        append = found.append
        crc32 = zlib.crc32
        read = _U32.unpack_from
        at = 0
        fill = len(data)
        while fill - at >= 4:
            length = read(data, at)[0] & MAX_PAYLOAD
            end = at + 4 + length
            if end > fill:
                break
            if length == MAX_PAYLOAD or self._parts:
                event = self._join(data[at + 4 : end], length)
                at = end
                if event is None:
                    continue
                if checksum:
                    event = _checked(event)
            elif data[at + 4] != _OK:
                self._control = data[at + 4 : end]
                break
            elif checksum:
                event = data[at + 5 : end - 4]
                if crc32(event) != read(data, end - 4)[0] and not _unchecked(event):
                    raise corrupt()
                at = end
            else:
                event = data[at + 5 : end]
                at = end
            append(event)
            if event[4] == FORMAT_DESCRIPTION:
                if not checksum:
                    # It has room for a checksum even where no event has one.
                    found[-1] = event[:-4]
                break
        return found, at

    def _join(self, part: bytes, length: int) -> bytes | None:
        """A part of an event that spans packets; the event when it is the last part."""
        if not self._parts and part[0] != _OK:
            raise ServerUnreachable("the source sent a packet that is not part of its binlog")
        self._parts.append(part if self._parts else part[1:])
        if length == MAX_PAYLOAD:
            return None
        event = b"".join(self._parts)
        self._parts = []
        return event


def corrupt() -> ServerUnreachable:
    """An event whose checksum is wrong: broken on the way, or in the source's file."""
    return ServerUnreachable(
        "an event of the source's binlog has a wrong checksum",
        "it is read again; if this goes on, the binlog file is damaged on the source's disk",
    )


def _unchecked(event: bytes) -> bool:
    """Whether it is the description of a file without checksums, whose own is not kept right."""
    return event[4] == FORMAT_DESCRIPTION and event[-1] == 0


def _checked(event: bytes) -> bytes:
    body = event[:-4]
    if zlib.crc32(body) != _U32.unpack_from(event, len(body))[0]:
        raise corrupt()
    return body


def gtid_payload(server_id: int, flags: int, data: bytes) -> bytes:
    """Body of COM_BINLOG_DUMP_GTID, from the beginning of whatever file the GTID set asks for."""
    return Struct("<HII").pack(flags, server_id, 0) + Struct("<QI").pack(4, len(data)) + data


def dump_payload(server_id: int, flags: int, file: str, offset: int) -> bytes:
    """Body of COM_BINLOG_DUMP; `offset` has 32 bits."""
    return Struct("<IHI").pack(offset, flags, server_id) + file.encode()


def register_payload(server_id: int, host: str) -> bytes:
    """Body of COM_REGISTER_SLAVE, which makes the reader appear in SHOW REPLICAS."""
    name = host.encode()[:60]
    return _U32.pack(server_id) + bytes([len(name)]) + name + b"\0\0" + bytes(2 + 4 + 4)
