"""A stream knows whether it has reached a position, by what the position says."""

from __future__ import annotations

import pytest

from bridge.change.position import Position, Progress

UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
OTHER = "aaaaaaaa-71ca-11e1-9e33-c80aa9429562"


def test_gtids_count_and_not_the_coordinates_of_a_stream_that_has_received_nothing() -> None:
    progress = Progress(Position.parse(f"{UUID}:1-5"))
    progress.file, progress.offset = "binlog.000003", 4
    goal = Position.parse(f"{UUID}:1-7", "binlog.000003", 4)
    assert not progress.covers(goal)
    progress.add_mysql(UUID, 7)
    assert not progress.covers(goal)
    progress.add_mysql(UUID, 6)
    assert progress.covers(goal)
    assert not progress.covers(Position.parse(f"{UUID}:1-7,{OTHER}:1"))


def test_each_domain_of_mariadb_counts() -> None:
    progress = Progress(Position.parse("0-1-5,2-1-9"))
    assert progress.covers(Position.parse("0-3-5", "binlog.000009", 1000))
    assert not progress.covers(Position.parse("0-1-6"))
    assert not progress.covers(Position.parse("0-1-5,3-1-1"))
    progress.add_mariadb(3, 1, 1)
    assert progress.covers(Position.parse("0-1-5,3-1-1"))


def test_coordinates_alone_are_compared_as_coordinates() -> None:
    progress = Progress(Position.parse(f"{UUID}:1-5"))
    progress.file, progress.offset = "binlog.000010", 100
    assert progress.covers(Position.at("binlog.000009", 5000))
    assert progress.covers(Position.at("binlog.000010", 100))
    assert not progress.covers(Position.at("binlog.000010", 101))


def test_positions_of_different_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot compare"):
        Progress(Position.parse("0-1-5")).covers(Position.parse(f"{UUID}:1-5"))
