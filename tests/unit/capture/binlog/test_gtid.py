"""GTID sets as the dump command takes them."""

from __future__ import annotations

from uuid import UUID

from bridge.capture.binlog.gtid import encode_gtid_set
from bridge.change.position import Position

ONE = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
TWO = "3e11fa47-71ca-11e1-9e33-c80aa9429563"


def number(value: int) -> bytes:
    return value.to_bytes(8, "little")


def test_empty() -> None:
    assert encode_gtid_set(Position("mysql-gtid", "")) == bytes(8)


def test_intervals_end_before_their_second_number() -> None:
    position = Position.parse(f"{TWO}:7,{ONE}:1-5:10-11")
    assert encode_gtid_set(position) == (
        number(2)
        + UUID(ONE).bytes + number(2) + number(1) + number(6) + number(10) + number(12)
        + UUID(TWO).bytes + number(1) + number(7) + number(8)
    )  # fmt: skip


def test_tags() -> None:
    position = Position.parse(f"{ONE}:1-5:blue:3")
    assert encode_gtid_set(position) == (
        b"\1\2\0\0\0\0\0\1"
        + UUID(ONE).bytes + b"\0" + number(1) + number(1) + number(6)
        + UUID(ONE).bytes + b"\x08blue" + number(1) + number(3) + number(4)
    )  # fmt: skip
