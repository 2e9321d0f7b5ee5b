"""Positions: text, order, growth."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.change.position import Position, Progress, file_number, merge_intervals
from bridge.errors import ConfigError

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "4e11fa47-71ca-11e1-9e33-c80aa9429562"


@pytest.mark.parametrize(
    ("text", "kind", "canonical"),
    [
        (f"{A}:1-5", "mysql-gtid", f"{A}:1-5"),
        (f"{A.upper()}:5:1-3:4,\n {B}:7", "mysql-gtid", f"{A}:1-5,{B}:7"),
        (f"{A}:1-5:tag_1:2-3", "mysql-gtid", f"{A}:1-5,{A}:tag_1:2-3"),
        ("0-1-100, 2-1-5", "mariadb-gtid", "0-1-100,2-1-5"),
        ("binlog.000003:1234", "file", "binlog.000003:1234"),
    ],
)
def test_positions_are_read_as_they_are_printed(text: str, kind: str, canonical: str) -> None:
    position = Position.parse(text)
    assert (position.kind, str(position)) == (kind, canonical)
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize("text", ["", "now", f"{A}", f"{A}:x-y", "1-2", "0-1-2,x", "binlog:4"])
def test_what_is_no_position_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        Position.parse(text)
    assert error.value.hint


@given(st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)))
def test_a_set_covers_another_if_it_holds_all_of_it(mine: set[int], other: set[int]) -> None:
    def position(numbers: set[int]) -> Position:
        spans = merge_intervals([(n, n) for n in numbers])
        text = A + "".join(f":{a}-{b}" for a, b in spans) if spans else ""
        return Position("mysql-gtid", text)

    assert position(mine).covers(position(other)) == (other <= mine)


@given(st.lists(st.integers(1, 40), unique=True, min_size=1), st.randoms(use_true_random=False))
def test_a_set_grows_in_any_order(numbers: list[int], rng: random.Random) -> None:
    progress = Progress(Position("mysql-gtid", ""))
    shuffled = list(numbers)
    rng.shuffle(shuffled)
    for number in shuffled:
        progress.add_mysql(A, number)
    spans = merge_intervals([(n, n) for n in numbers])
    assert progress.position().sets == {A: spans}


def test_mariadb_compares_by_domain() -> None:
    position = Position.parse("0-1-10,3-7-2")
    assert position.covers(Position.parse("0-2-10"))
    assert not position.covers(Position.parse("0-1-11"))
    assert not position.covers(Position.parse("1-1-1"))
    assert position.covers(Position("mariadb-gtid", ""))
    progress = Progress(position)
    progress.add_mariadb(3, 8, 5)
    assert str(progress.position()) == "0-1-10,3-8-5"


def test_files_compare_by_number_and_offset() -> None:
    later = Position.parse("binlog.000010:4")
    assert later.covers(Position.parse("binlog.000009:5000000000"))
    assert not later.covers(Position.parse("binlog.000010:5"))
    assert file_number("mysql-bin.1000001") == 1000001


def test_positions_of_different_kinds_do_not_compare() -> None:
    with pytest.raises(ValueError, match="cannot compare"):
        Position.parse("0-1-1").covers(Position.parse("binlog.000001:4"))


@pytest.mark.parametrize(
    ("position", "bound", "past"),
    [
        (Position.parse("0-1-5"), Position.parse("0-1-5"), True),
        (Position.parse("0-1-4", "binlog.000009", 4), Position.parse("0-1-5"), False),
        (Position.parse(f"{A}:1-5", "binlog.000002", 9), Position.at("binlog.000002", 9), True),
        (Position.parse(f"{A}:1-5", "binlog.000002", 8), Position.at("binlog.000002", 9), False),
        (Position.at("binlog.000002", 9), Position.parse("0-1-5", "binlog.000002", 9), True),
        (Position.parse(f"{A}:1-5"), Position.at("binlog.000001", 4), False),
        (Position.at("binlog.000001", 4), Position.parse("0-1-5"), False),
        (Position.parse(f"{A}:1-5"), Position.parse("0-1-1"), False),
    ],
)
def test_what_is_past_a_bound(position: Position, bound: Position, past: bool) -> None:
    """By coordinates where the kinds differ; what cannot be told is not past."""
    assert position.past(bound) is past
