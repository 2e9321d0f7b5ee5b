"""Recorded connections, and packets made by hand."""

from __future__ import annotations

import zlib
from pathlib import Path

from bridge.capture.binlog.packets import MAX_PAYLOAD, PacketBuffer

DATA = Path(__file__).parents[3] / "data" / "binlog"
SOURCES = ("mysql-9.7", "mariadb-10.11")


def stream(source: str) -> bytes:
    """What the server sent, see record.py there."""
    return (DATA / f"{source}.bin").read_bytes()


def pour(buffer: PacketBuffer, data: bytes) -> None:
    """All bytes into the buffer, as far as there is room at once."""
    room = buffer.room()
    room[: len(data)] = data
    buffer.filled(len(data))


def events_of(data: bytes, *, checksum: bool = True, piece: int = 1 << 30) -> list[bytes]:
    """The whole events of a stream that arrives in pieces of that many bytes."""
    buffer = PacketBuffer()
    found: list[bytes] = []
    while data:
        size = min(piece, len(buffer.room()))
        pour(buffer, data[:size])
        data = data[size:]
        while events := buffer.events(checksum):
            found += events
    return found


def recorded(source: str) -> list[bytes]:
    """The events of a recording, still compressed."""
    return events_of(stream(source))


def only(source: str, code: int) -> list[bytes]:
    """The events of one type."""
    return [event for event in recorded(source) if event[4] == code]


def event(code: int, body: bytes, *, end: int = 0, flags: int = 0) -> bytes:
    """An event without checksum."""
    head = (0).to_bytes(4, "little") + bytes([code]) + (1).to_bytes(4, "little")
    size = (19 + len(body) + 4).to_bytes(4, "little")
    return head + size + end.to_bytes(4, "little") + flags.to_bytes(2, "little") + body


def packets(*payloads: bytes) -> bytes:
    """Payloads as packets; what is too long goes on in the next one."""
    found = b""
    for payload in payloads:
        rest = payload
        while True:
            part, rest = rest[:MAX_PAYLOAD], rest[MAX_PAYLOAD:]
            found += len(part).to_bytes(3, "little") + b"\0" + part
            if len(part) < MAX_PAYLOAD:
                break
    return found


def checked(event: bytes) -> bytes:
    """The payload of an event with its checksum."""
    return b"\0" + event + zlib.crc32(event).to_bytes(4, "little")
