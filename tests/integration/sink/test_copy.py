"""Blocks of lines into PostgreSQL, and what becomes of lines that it refuses."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import psycopg
import pytest

from bridge.change.batch import BadRow
from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan
from bridge.sink import copy
from bridge.sink.copy import copy_blocks
from tests.plans import create, plan


@pytest.fixture(scope="module")
def database(postgres: Any) -> Iterator[str]:
    """One database for all tests of the module: making one takes longer than they do."""
    name = f"t_{secrets.token_hex(5)}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'".encode())
        yield postgres.url(name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def target(database: str) -> Iterator[psycopg.Connection[Any]]:
    with closing(psycopg.connect(database, autocommit=True)) as opened:
        yield opened
        opened.execute("DROP TABLE t; DROP FUNCTION IF EXISTS gone")


def _copied(
    target: psycopg.Connection[Any],
    made: TablePlan,
    blocks: Sequence[bytes],
    most_bad: int = 1000,
) -> tuple[int, int, list[BadRow]]:
    bad: list[BadRow] = []
    with target.transaction():
        rows, size = copy_blocks(target, made, made.target, blocks, bad, most_bad)
    return rows, size, bad


def _ids(target: psycopg.Connection[Any]) -> list[int]:
    return [row[0] for row in target.execute("SELECT id FROM t ORDER BY id").fetchall()]


def test_blocks_in_units_that_end_with_a_line(
    target: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy, "UNIT", 50)
    made = plan("t", [("id", "integer"), ("v", "text")])
    target.execute(create(made).encode())
    rng = random.Random(1)
    lines = [b"%d\t%b\n" % (n, b"x" * rng.randint(0, 120)) for n in range(500)]
    blocks = []
    for line in lines:
        cut = rng.randint(0, len(line))
        blocks += [line[:cut], line[cut:]]
    rows, size, bad = _copied(target, made, [*blocks, b""])
    assert (rows, size, bad) == (500, sum(map(len, lines)), [])
    assert _ids(target) == list(range(500))


def test_nothing(target: psycopg.Connection[Any]) -> None:
    made = plan("t", [("id", "integer")])
    target.execute(create(made).encode())
    assert _copied(target, made, []) == (0, 0, [])


@pytest.mark.parametrize(
    ("kind", "good", "refused", "state"),
    [
        ("smallint", b"7", b"40000", "22003"),
        ("jsonb", b'{"a":1}', b"{", "22P02"),
        ("jsonb", b'"x"', b'"\\\\u0000"', "22P05"),
        ("varchar(3)", b"abc", b"abcd", "22001"),
        ("text", b"abc", b"\xff", "22021"),
        ("text CHECK (v <> 'no')", b"yes", b"no", "23514"),
        ("text NOT NULL", b"yes", b"\\N", "23502"),
        ("timestamp", b"2024-02-29 00:00:00", b"2024-02-30 00:00:00", "22008"),
    ],
)
@pytest.mark.parametrize("unit", [60, 1 << 20])
def test_exactly_the_refused_rows_are_set_aside(
    target: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    good: bytes,
    refused: bytes,
    state: str,
    unit: int,
) -> None:
    monkeypatch.setattr(copy, "UNIT", unit)
    made = plan("t", [("id", "integer"), ("v", kind)])
    target.execute(create(made).encode())
    wrong = {0, 17, 18, 63, 99}
    lines = [b"%d\t%b\n" % (n, refused if n in wrong else good) for n in range(100)]
    rows, size, bad = _copied(target, made, [b"".join(lines[:50]), *lines[50:]])
    assert _ids(target) == [n for n in range(100) if n not in wrong]
    assert rows == 95
    assert size == sum(len(line) for n, line in enumerate(lines) if n not in wrong)
    assert {(row.key, row.code) for row in bad} == {(b"%d" % n, f"refused-{state}") for n in wrong}
    assert {row.raw + b"\n" for row in bad} == {lines[n] for n in wrong}


def test_a_key_of_two_columns_in_quarantine(target: psycopg.Connection[Any]) -> None:
    made = plan("t", [("id", "integer"), ("part", "text"), ("v", "smallint")], key=2)
    target.execute(create(made).encode())
    _, _, bad = _copied(target, made, [b"1\ta\\tb\t2\n1\tb\\\\\t99999\n"])
    assert [(row.key, row.code) for row in bad] == [(b"1\tb\\\\", "refused-22003")]


def test_too_many_refused_rows_stop_the_table(target: psycopg.Connection[Any]) -> None:
    made = plan("t", [("id", "integer"), ("v", "smallint")])
    target.execute(create(made).encode())
    lines = b"".join(b"%d\t99999\n" % n for n in range(300))
    with pytest.raises(TableStopped) as stopped:
        _copied(target, made, [lines], 100)
    assert stopped.value.code == "too-many-bad-rows"
    assert stopped.value.table == made.source
    assert _ids(target) == []


def test_two_rows_of_one_key_stop_the_table(target: psycopg.Connection[Any]) -> None:
    made = plan("t", [("id", "integer"), ("v", "text")])
    target.execute(create(made).encode())
    target.execute("INSERT INTO t VALUES (5, 'old')")
    with pytest.raises(TableStopped, match=r"\(id\)=\(5\)") as stopped:
        _copied(target, made, [b"4\ta\n5\tb\n6\tc\n"])
    assert stopped.value.code == "duplicate-key"
    assert _ids(target) == [5]


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES t (id)", ""),
        ("ALTER TABLE t ADD up integer, ADD FOREIGN KEY (v) REFERENCES t (id)", "refused-23503"),
        (
            """CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
            CREATE TRIGGER gone BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.id = 2)
            EXECUTE FUNCTION gone()""",
            "rows-swallowed",
        ),
    ],
)
def test_what_is_not_a_row_s_fault(
    target: psycopg.Connection[Any], statement: str, code: str
) -> None:
    made = plan("t", [("id", "integer"), ("v", "integer")])
    target.execute(create(made).encode())
    target.execute(statement.encode())
    blocks = [b"1\t7\n2\t7\n3\t7\n"]
    if not code:
        assert _copied(target, made, blocks)[0] == 3
        return
    with pytest.raises(TableStopped) as stopped:
        _copied(target, made, blocks)
    assert stopped.value.code == code
    assert _ids(target) == []


@pytest.mark.parametrize("line", [b"1\n", b"1\t2\t3\n"])
def test_lines_of_other_columns_stop_the_table(
    target: psycopg.Connection[Any], line: bytes
) -> None:
    made = plan("t", [("id", "integer"), ("v", "integer")])
    target.execute(create(made).encode())
    with pytest.raises(TableStopped) as stopped:
        _copied(target, made, [line])
    assert stopped.value.code == "refused-22P04"


def test_a_table_without_a_key_takes_every_row_or_stops(
    target: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy, "UNIT", 8)
    made = plan("t", [("id", "integer"), ("v", "smallint")], key=0)
    target.execute(create(made).encode())
    rows, _, bad = _copied(target, made, [b"1\t1\n1\t1\n", b"1\t1\n"])
    assert (rows, bad) == (3, [])
    with pytest.raises(TableStopped) as stopped:
        _copied(target, made, [b"2\t1\n3\t99999\n", b"4\t1\n"])
    assert stopped.value.code == "refused-22003"
    assert _ids(target) == [1, 1, 1]


def test_an_error_of_the_source_leaves_nothing(target: psycopg.Connection[Any]) -> None:
    made = plan("t", [("id", "integer"), ("v", "integer")])
    target.execute(create(made).encode())
    closed = []

    def blocks() -> Iterator[bytes]:
        try:
            yield b"1\t2\n"
            raise OSError("the source is gone")
        finally:
            closed.append(True)

    with pytest.raises(OSError, match="gone"), target.transaction():
        copy_blocks(target, made, made.target, blocks(), [])
    assert _ids(target) == []
    assert closed == [True]


def test_blocks_are_closed_when_the_table_stops(target: psycopg.Connection[Any]) -> None:
    made = plan("t", [("id", "integer"), ("v", "smallint")], key=0)
    target.execute(create(made).encode())
    closed = []

    def blocks() -> Iterator[bytes]:
        try:
            for _ in range(1000):
                yield b"1\t99999\n" * 100_000
        finally:
            closed.append(True)

    with pytest.raises(TableStopped):
        _copied(target, made, blocks())  # type: ignore[arg-type]
    assert closed == [True]


def test_it_belongs_into_a_transaction(target: psycopg.Connection[Any]) -> None:
    made = plan("t", [("id", "integer")])
    target.execute(create(made).encode())
    with pytest.raises(ValueError, match="transaction"):
        copy_blocks(target, made, made.target, [b"1\n"], [])
