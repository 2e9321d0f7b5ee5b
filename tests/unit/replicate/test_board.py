"""How far behind the target is, by what the streams say of themselves."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from bridge.change.position import Position
from bridge.names import TableName
from bridge.replicate.board import Board
from bridge.replicate.stream import StreamFacts
from bridge.store.partitions import PartitionState

NOW = 1_700_000_000.0
FACTS = StreamFacts(Position.at("f", 4), ("f", 4), False, 0.0, 0, 0, 0)
ROW = PartitionState(
    "t", 0, 1, TableName("s", "items"), "id", 7, 1, "", None, True, "stream", source_time=NOW - 3600
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [NOW]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def test_nothing_is_said_before_anything_is_known() -> None:
    board = Board()
    board.streamed(FACTS)
    assert board.lag_seconds is None


def test_lag_grows_while_nothing_is_applied(clock: list[float]) -> None:
    board = Board()
    board.streamed(replace(FACTS, complete=NOW))
    assert board.lag_seconds == 0.0
    clock[0] += 40
    board.streamed(replace(FACTS, complete=NOW))
    assert board.lag_seconds == 40.0
    board.streamed(FACTS)  # another stream, which has applied nothing yet
    assert board.lag_seconds == 40.0
    board.streamed(replace(FACTS, complete=clock[0] - 1))
    assert board.lag_seconds == 1.0


def test_a_heartbeat_says_more(clock: list[float]) -> None:
    board = Board()
    board.streamed(replace(FACTS, complete=NOW), 3.0)
    assert board.lag_seconds == 3.0
    clock[0] += 40
    board.streamed(FACTS)
    assert board.lag_seconds == 40.0


def test_the_first_message_after_a_quiet_time(clock: list[float]) -> None:
    """The partition was at its end a second ago, whatever its last commit's age."""
    board = Board()
    board.consumed([ROW], {ROW.place: 7})
    assert board.lag_seconds == 0.0
    clock[0] += 1
    board.consumed([ROW], {ROW.place: 8})
    assert board.lag_seconds == 1.0
    other = replace(ROW, partition=1)  # whose end nobody has seen
    board.consumed([ROW, other], {ROW.place: 8, other.place: 8})
    assert board.lag_seconds == 3601.0
    board.consumed([replace(other, source_time=None)], {other.place: 8})
    assert board.lag_seconds == 3601.0
