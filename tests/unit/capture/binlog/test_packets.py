"""From a connection's bytes to whole events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.capture.binlog.packets import MAX_PAYLOAD, Control, PacketBuffer
from bridge.errors import ServerUnreachable
from tests.unit.capture.binlog.recorded import (
    SOURCES,
    checked,
    event,
    events_of,
    packets,
    pour,
    recorded,
    stream,
)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("piece", [1, 2, 3, 7, 100, 1000])
def test_pieces_of_any_size_give_the_same_events(source: str, piece: int) -> None:
    assert events_of(stream(source), piece=piece) == recorded(source)


@pytest.mark.parametrize("source", SOURCES)
def test_every_flipped_bit_of_an_event_is_noticed(source: str) -> None:
    data = stream(source)
    events = recorded(source)
    at = data.index(events[-2])
    for place in range(at, at + len(events[-2])):
        broken = bytearray(data)
        broken[place] ^= 0x10
        with pytest.raises(ServerUnreachable, match="checksum"):
            events_of(bytes(broken))


def test_events_without_checksum() -> None:
    events = [event(16, b"a" * 8), event(4, b"b" * 20)]
    assert events_of(packets(*(b"\0" + each for each in events)), checksum=False) == events


def description(algorithm: int, *, right: bool = True) -> bytes:
    body = b"\4\0" + b"9.7.4".ljust(50, b"\0") + bytes(10) + bytes([algorithm])
    payload = checked(event(15, body))
    return payload if right else payload[:-1] + bytes([payload[-1] ^ 1])


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("algorithm", [0, 1])
def test_a_description_always_has_room_for_a_checksum(checksum: bool, algorithm: int) -> None:
    (found,) = events_of(packets(description(algorithm)), checksum=checksum)
    assert found[-1] == algorithm


def test_events_behind_a_description_wait_for_what_it_says() -> None:
    buffer = PacketBuffer()
    pour(buffer, packets(description(0, right=False), b"\0" + event(16, bytes(8))))
    assert [each[4] for each in buffer.events(True)] == [15]
    assert [each[4] for each in buffer.events(False)] == [16]


@pytest.mark.parametrize("size", [MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 2 * MAX_PAYLOAD])
def test_an_event_over_several_packets(size: int) -> None:
    large = event(30, bytes(range(256)) * ((size - 24) // 256) + bytes((size - 24) % 256))
    assert len(checked(large)) == size
    small = event(16, bytes(8))
    data = packets(checked(small), checked(large), checked(small))
    assert events_of(data, piece=3 << 20) == [small, large, small]


def test_a_damaged_event_over_several_packets() -> None:
    data = bytearray(packets(checked(event(30, bytes(MAX_PAYLOAD)))))
    data[1000] ^= 1
    with pytest.raises(ServerUnreachable, match="checksum"):
        events_of(bytes(data))


def test_the_buffer_shrinks_after_a_large_event() -> None:
    buffer = PacketBuffer()
    small = len(buffer.room())
    data = packets(checked(event(30, bytes(5 << 20))))
    while data:
        size = min(len(data), len(buffer.room()))
        pour(buffer, data[:size])
        data = data[size:]
        buffer.events(True)
    assert len(buffer.room()) == small


@pytest.mark.parametrize("payload", [b"\xff\xd4\x04#HY000gone", b"\xfe\0\0\2\0"])
def test_an_end_comes_after_the_events_before_it(payload: bytes) -> None:
    buffer = PacketBuffer()
    pour(buffer, packets(checked(event(16, bytes(8))), payload))
    assert len(buffer.events(True)) == 1
    for _ in range(2):
        with pytest.raises(Control) as caught:
            buffer.events(True)
        assert caught.value.payload == payload


@given(st.lists(st.binary(max_size=60), max_size=8), st.integers(1, 50))
def test_any_bodies_come_back(bodies: list[bytes], piece: int) -> None:
    events = [event(16, body) for body in bodies]
    assert events_of(packets(*map(checked, events)), piece=piece) == events
