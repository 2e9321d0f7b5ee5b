"""Chunks read from real sources and copied into PostgreSQL."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pymysql
import pytest

from bridge.capture.resultset import BLOCK, LineReader, read_rows
from bridge.capture.snapshot import read_chunk, read_row
from bridge.change.batch import BadRow
from bridge.errors import ServerRefused, TableStopped
from bridge.names import quote_mysql
from bridge.types.base import Policy
from tests.integration.copied import (
    chunks_of,
    copy_table,
    create_target,
    lines_of,
    plan_of,
    run,
    session,
)

MB = 1 << 20


@pytest.fixture
def conn(source_db: Any) -> Iterator[Any]:
    with closing(session(source_db)) as opened:
        yield opened


@pytest.fixture
def target(target_db: Any) -> Iterator[Any]:
    with closing(target_db.connect()) as opened:
        opened.execute("SET TimeZone = 'UTC'")
        yield opened


def _codes(bad: list[BadRow]) -> list[tuple[bytes, str, str]]:
    return sorted((row.key, row.code, row.column) for row in bad)


def test_values_arrive_as_they_are_and_null_stays_null(
    source_db: Any, conn: Any, target: Any
) -> None:
    run(
        conn,
        "CREATE TABLE t (id int PRIMARY KEY, a int, b decimal(9,3), c double, d varchar(50),"
        " e text, f varbinary(9), g longblob, h datetime(3), i date, j time(1), k bit(5),"
        " l enum('x','y'), m set('p','q'), n json, o year, p timestamp(2) NULL, q float)",
        "INSERT INTO t (id) VALUES (1)",
        "INSERT INTO t VALUES (2, -3, 1.500, 1e-7, 'tab\\tnew\\nline\\\\N\\r', '', x'00ff5c',"
        " x'', '2024-02-29 12:34:56.789', '1000-01-01', '-01:02:03.4', b'10101', 'y', 'p,q',"
        " '{\"a\": [1, null]}', 2024, '2024-03-31 01:30:00.12', 16777217)",
        "INSERT INTO t (id, d, e) VALUES (3, '\\\\N', '😀')",
    )
    plan = plan_of(source_db, "t")
    create_target(target, plan)
    assert copy_table(conn, target, plan, 2) == []
    rows = target.execute("SELECT row(t.*)::text FROM t ORDER BY id").fetchall()
    assert rows[0][0] == "(1,,,,,,,,,,,,,,,,,)"
    assert target.execute("SELECT d, e, f, g FROM t WHERE id = 2").fetchone() == (
        "tab\tnew\nline\\N\r", "", b"\x00\xff\\", b"",
    )  # fmt: skip
    assert target.execute("SELECT h::text, c, q, d IS NULL FROM t WHERE id = 2").fetchone() == (
        "2024-02-29 12:34:56.789", 1e-7, 16777216.0, False,
    )  # fmt: skip
    assert target.execute("SELECT d, e, f FROM t WHERE id = 3").fetchone() == ("\\N", "😀", None)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_tables_of_few_rows(source_db: Any, conn: Any, target: Any, count: int) -> None:
    run(conn, "CREATE TABLE t (id int PRIMARY KEY, v int)")
    for number in range(count):
        run(conn, f"INSERT INTO t VALUES ({number}, {number})")
    plan = plan_of(source_db, "t")
    create_target(target, plan)
    assert copy_table(conn, target, plan, 2) == []
    assert target.execute("SELECT count(*) FROM t").fetchone() == (count,)


@pytest.mark.parametrize(
    "name", ["o'clock", "a b", "tick`s", "100%s", '"quoted"', "таблица" * 9 + "x", "back\\slash"]
)
def test_odd_names(source_db: Any, conn: Any, target: Any, name: str) -> None:
    quoted = quote_mysql(name)
    column = name[:60].strip()
    run(
        conn,
        f"CREATE TABLE {quoted} ({quote_mysql(column)} varchar(10) PRIMARY KEY, `%s` int)",
        f"INSERT INTO {quoted} VALUES ('a', 1), ('b', 2), ('c', 3)",
    )
    plan = plan_of(source_db, name)
    assert len(column.encode()) <= 63 or len(name) == 64
    if len(column.encode()) > 63:
        assert [line[:1] for line in lines_of(conn, plan)] == [b"a", b"b", b"c"]
        return
    create_target(target, plan)
    assert copy_table(conn, target, plan, 1) == []
    found = target.execute(f"SELECT * FROM {plan.target.postgres} ORDER BY 1".encode()).fetchall()
    assert found == [("a", 1), ("b", 2), ("c", 3)]


def test_rows_that_the_target_cannot_hold_are_set_aside(
    source_db: Any, conn: Any, target: Any
) -> None:
    run(
        conn,
        "CREATE TABLE t (id int, part varchar(9), day date, note text, raw blob,"
        " PRIMARY KEY (id, part))",
        "INSERT INTO t VALUES (1, 'a', '2024-01-01', 'fine', 'x'),"
        " (2, 'tab\\t', '0000-00-00', 'null day', x'ff'), (3, 'c', NULL, 'n\\0l', NULL),"
        " (4, 'd', '2024-01-02', 'fine too', ''), (5, 'e', '2020-00-15', 'both\\0', '')",
    )
    plan = plan_of(source_db, "t")
    create_target(target, plan)
    bad = copy_table(conn, target, plan, 2)
    assert target.execute("SELECT id FROM t ORDER BY id").fetchall() == [(1,), (4,)]
    assert _codes(bad) == [
        (b"2\ttab\\t", "zero-date", "day"),
        (b"3\tc", "nul-character", "note"),
        (b"5\te", "zero-date", "day"),
    ]
    two = next(row for row in bad if row.key.startswith(b"2"))
    assert json.loads(two.raw) == {
        "id": "2", "part": "tab\t", "day": "0000-00-00", "note": "null day", "raw": {"hex": "ff"},
    }  # fmt: skip
    assert two.text == "0000-00-00"
    assert two.at == "copy to (2, tab\t)"


def test_text_that_is_none_is_seen_in_short_and_long_lines(
    source_db: Any, conn: Any, target: Any
) -> None:
    run(
        conn,
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(20), w varchar(20), raw longblob)"
        " CHARACTER SET utf8mb4",
        "INSERT INTO t VALUES (1, 'a\0b', 'x', ''), (2, 'ä', 'ö', ''), (3, '', 'x\0', ''),"
        f" (4, 'c', 'd\0', REPEAT('y', {BLOCK})), (5, 'e', 'f', REPEAT('z', {BLOCK}))",
    )
    places = ((b"1", "v"), (b"3", "w"), (b"4", "w"))
    expected = [(key, "nul-character", column) for key, column in places]
    if source_db.server.kind == "mariadb":
        run(conn, "INSERT INTO t VALUES (6, 'g', x'EDA080', '')")
        expected.append((b"6", "invalid-text", "w"))
    plan = plan_of(source_db, "t")
    create_target(target, plan)
    bad = copy_table(conn, target, plan, 9)
    assert target.execute("SELECT id FROM t ORDER BY id").fetchall() == [(2,), (5,)]
    assert _codes(bad) == expected


def test_policies_turn_bad_values_into_others(source_db: Any, conn: Any, target: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (id int PRIMARY KEY, day date, note text)",
        "INSERT INTO t VALUES (1, '0000-00-00', 'a\\0b')",
    )
    policies = {"day": Policy(zero_date="as-null"), "note": Policy(nul="strip")}
    plan = plan_of(source_db, "t", policies=policies)
    create_target(target, plan)
    assert copy_table(conn, target, plan) == []
    assert target.execute("SELECT day, note FROM t").fetchone() == (None, "ab")


def test_a_bad_value_in_the_key_stops_the_table(source_db: Any, conn: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (day date PRIMARY KEY, v int)",
        "INSERT INTO t VALUES ('0000-00-00', 1), ('2024-01-01', 2)",
    )
    plan = plan_of(source_db, "t")
    with pytest.raises(TableStopped) as stopped:
        lines_of(conn, plan)
    assert stopped.value.code == "bad-key"
    assert stopped.value.table == plan.source
    assert run(conn, "SELECT 1") == [(1,)]


def test_the_row_filter(source_db: Any, conn: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (id int PRIMARY KEY, tenant int)",
        "INSERT INTO t VALUES (1, 0), (2, 7), (3, NULL), (4, 8), (5, 0)",
    )
    plan = plan_of(source_db, "t", where="`tenant` <> 0 OR `id` = 5")
    chunks = chunks_of(conn, plan, 2)
    assert len(chunks) == 3
    found = [line for chunk in chunks for line in lines_of(conn, plan, *chunk)]
    assert found == [b"2\t7", b"4\t8", b"5\t0"]
    assert read_row(conn, plan, b"3") is None


def test_a_warning_stops_the_table(source_db: Any, conn: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(9))",
        "INSERT INTO t VALUES (1, '5'), (2, 'five')",
    )
    plan = plan_of(source_db, "t", where="v = 5")
    with pytest.raises(TableStopped, match="five") as stopped:
        lines_of(conn, plan)
    assert stopped.value.code == "source-warning"


@pytest.mark.parametrize(
    "change",
    ["ALTER TABLE t DROP COLUMN v", "DROP TABLE t", "ALTER TABLE t DROP PRIMARY KEY"],
)
def test_another_definition_stops_the_table(source_db: Any, conn: Any, change: str) -> None:
    run(conn, "CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 2)")
    plan = plan_of(source_db, "t")
    run(conn, change)
    with pytest.raises(TableStopped) as stopped:
        lines_of(conn, plan, *chunks_of(conn, plan, 5)[0])
    assert stopped.value.code == "definition-changed"


def test_changes_at_the_bounds_while_chunks_are_read(source_db: Any, conn: Any) -> None:
    """Rows that nobody touches are read exactly once, however their neighbours come and go."""
    run(
        conn,
        "CREATE TABLE t (k varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v int)",
        "INSERT INTO t VALUES "
        + ", ".join(f"('{chr(97 + n % 26)}{n:04}{'Ä' * (n % 3)}', {n})" for n in range(2000)),
    )
    plan = plan_of(source_db, "t")
    over = threading.Event()

    def disturb() -> None:
        with closing(session(source_db)) as other:
            while not over.is_set():
                for number in range(0, 2000, 7):
                    run(other, f"DELETE FROM t WHERE v = {number}")
                    run(other, f"INSERT IGNORE INTO t VALUES ('{chr(65 + number % 26)}!', -1)")

    chunks = chunks_of(conn, plan, 13)
    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        found = [line for chunk in chunks for line in lines_of(conn, plan, *chunk)]
    finally:
        over.set()
        thread.join()
    keys = [line.split(b"\t")[0] for line in found]
    assert len(keys) == len(set(keys))
    numbers = [int(line.rpartition(b"\t")[2]) for line in found]
    assert {n for n in range(2000) if n % 7} <= set(numbers)


def test_long_rows(source_db: Any, conn: Any, target: Any) -> None:
    """Rows over 16 MB span packets; 40 MB in hexadecimal pass max_allowed_packet; 75 MB are bad."""
    run(
        conn,
        "CREATE TABLE t (id int PRIMARY KEY, a longblob, b longtext)",
        "INSERT INTO t VALUES (1, 'x', 'y')",
        f"INSERT INTO t VALUES (2, NULL, REPEAT('a\\tö', {6 * MB}))",
        f"INSERT INTO t VALUES (3, REPEAT(x'00ff', {20 * MB}), 'long')",
        f"INSERT INTO t VALUES (4, REPEAT('z', {45 * MB}), REPEAT('b', {30 * MB}))",
        f"INSERT INTO t VALUES (5, REPEAT('z', {34 * MB}), 'n\\0l')",
        "INSERT INTO t VALUES (6, 'x', 'y')",
    )
    plan = plan_of(source_db, "t")
    create_target(target, plan)
    bad = copy_table(conn, target, plan, 100)
    assert target.execute("SELECT id FROM t ORDER BY id").fetchall() == [(1,), (2,), (3,), (6,)]
    assert _codes(bad) == [(b"4", "row-too-large", ""), (b"5", "nul-character", "b")]
    assert max(len(row.raw) for row in bad) < 5 * MB
    two = "SELECT b = repeat(E'a\\tö', %s) FROM t WHERE id = 2"
    assert target.execute(two, [6 * MB]).fetchone() == (True,)
    three = "SELECT encode(a, 'hex') = repeat('00ff', %s) FROM t WHERE id = 3"
    assert target.execute(three, [20 * MB]).fetchone() == (True,)


def test_lines_of_every_length(source_db: Any, conn: Any) -> None:
    """Around the limits of length prefixes, blocks and packets."""
    edges = [0, 1, 4, 250, 65_535, BLOCK - 8, BLOCK, 3 * BLOCK, 16 * MB - 5, 32 * MB - 11]
    lengths = [max(0, edge + off) for edge in edges for off in (-1, 0, 1, 2)]
    for many in (lengths, [0, 7 * MB, 3, 3]):
        query = " UNION ALL ".join(f"SELECT REPEAT('{n % 10}', {n})" for n in many)
        reader = LineReader(conn, query + " UNION ALL SELECT NULL")
        found: list[int] = []
        size = 0
        for block in reader:
            lines = block.split(b"\n")
            for line in lines[:-1]:
                found.append(size + len(line))
                size = 0
            size += len(lines[-1])
        assert size == 0
        assert found == many
        assert reader.nulls == 1


def test_an_iteration_given_up_leaves_the_connection_usable(source_db: Any, conn: Any) -> None:
    run(conn, "CREATE TABLE t (id int PRIMARY KEY, v longtext)")
    run(conn, f"INSERT INTO t VALUES (1, REPEAT('x', {20 * MB})), (2, 'y')")
    run(conn, "INSERT INTO t SELECT id + 2, v FROM t")
    plan = plan_of(source_db, "t")
    for blocks in (0, 1, 5):
        iterator = read_chunk(conn, plan, None, None, [])
        for _ in range(blocks):
            next(iterator)
        iterator.close()  # type: ignore[attr-defined]
        assert run(conn, "SELECT 17") == [(17,)]
    rows = read_rows(conn, "SELECT id FROM t")
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert run(conn, "SELECT 18") == [(18,)]


def test_a_very_long_result_given_up_costs_the_connection(source_db: Any, conn: Any) -> None:
    query = " UNION ALL ".join(f"SELECT REPEAT('x', {20 * MB})" for _ in range(5))
    iterator = iter(LineReader(conn, query))
    next(iterator)
    iterator.close()  # type: ignore[attr-defined]
    assert not conn.open
    run(session(source_db), "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    assert lines_of(conn, plan_of(source_db, "t")) == [b"1"]


def test_an_error_among_the_rows_is_raised(source_db: Any, conn: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (id int PRIMARY KEY, v longtext)",
        f"INSERT INTO t VALUES (1, REPEAT('x', {9 * MB})), (2, 'y')",
    )
    for number in (2, 4, 8):
        run(conn, f"INSERT INTO t SELECT id + {number}, v FROM t")
    plan = plan_of(source_db, "t")
    iterator = read_chunk(conn, plan, None, None, [])
    assert any(len(block) > 100 for block in iterator)
    with closing(session(source_db)) as other:
        run(other, f"KILL QUERY {conn.thread_id()}")
    with pytest.raises(pymysql.Error):
        list(iterator)
    assert run(conn, "SELECT 19") == [(19,)]


def test_a_connection_that_breaks_is_an_error(source_db: Any, conn: Any) -> None:
    query = " UNION ALL ".join(f"SELECT REPEAT('x', {9 * MB})" for _ in range(8))
    iterator = iter(LineReader(conn, query))
    next(iterator)
    with closing(session(source_db)) as other:
        run(other, f"KILL {conn.thread_id()}")
    with pytest.raises(pymysql.OperationalError):
        list(iterator)
    assert not conn.open


def test_over_tls(source_db: Any) -> None:
    try:
        conn = session(type("Url", (), {"url": source_db.url + "?tls=required"}))
    except ServerRefused as error:
        pytest.skip(f"the server does without TLS: {error}")
    with closing(conn):
        query = f"SELECT REPEAT('x', {BLOCK}) UNION ALL SELECT 'y' UNION ALL SELECT NULL"
        reader = LineReader(conn, query)
        assert b"".join(reader) == b"x" * BLOCK + b"\ny\n"
        assert reader.nulls == 1


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("int", ["1", "-5", "2147483647"]),
        ("bigint unsigned", ["18446744073709551615"]),
        ("decimal(9,3)", ["1.500", "-0.001"]),
        ("double", ["1e-7", "0.1"]),
        ("varchar(20)", ["'a'", "'tab\\tand\\\\'", "''", "'日本'"]),
        ("varchar(20) COLLATE utf8mb4_general_ci", ["'a'", "'ab'", "'Ä'"]),
        ("varchar(20) CHARACTER SET latin1", ["'é'", "'€'"]),
        ("varbinary(9)", ["x'00ff'", "x''", "'\\\\'"]),
        ("date", ["'2024-02-29'"]),
        ("datetime(6)", ["'2024-02-29 01:02:03.000001'"]),
        ("timestamp(3)", ["'2024-02-29 01:02:03.001'"]),
        ("time", ["'-12:00:00'"]),
        ("enum('a','b')", ["'b'"]),
        ("bit(9)", ["b'101'"]),
    ],
)
def test_one_row_by_its_key(source_db: Any, conn: Any, kind: str, values: list[str]) -> None:
    run(conn, f"CREATE TABLE t (k {kind} NOT NULL, v int, PRIMARY KEY (v, k))")
    for number, value in enumerate(values):
        run(conn, f"INSERT INTO t VALUES ({value}, {number})")
    plan = plan_of(source_db, "t")
    for line in lines_of(conn, plan):
        assert read_row(conn, plan, line) == line
    assert read_row(conn, plan, b"77" + lines_of(conn, plan)[0][1:]) is None


def test_one_row_is_exactly_that_key(source_db: Any, conn: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (k varchar(9) COLLATE utf8mb4_general_ci PRIMARY KEY, day date)",
        "INSERT INTO t VALUES ('ABC', '2024-01-01'), ('bad', '0000-00-00')",
    )
    plan = plan_of(source_db, "t")
    assert read_row(conn, plan, b"ABC") == b"ABC\t2024-01-01"
    assert read_row(conn, plan, b"abc") is None
    assert read_row(conn, plan, b"ABC ") is None
    bad = read_row(conn, plan, b"bad")
    assert isinstance(bad, BadRow)
    assert (bad.code, bad.key) == ("zero-date", b"bad")


def test_limits_set_for_other_sessions_do_not_cut_a_chunk(source_db: Any, conn: Any) -> None:
    run(conn, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2), (3)")
    plan = plan_of(source_db, "t")
    run(conn, "SET SESSION sql_select_limit = 1, max_join_size = 1, sql_big_selects = 0")
    assert lines_of(conn, plan) == [b"1", b"2", b"3"]


def test_long_text_with_characters_to_escape(source_db: Any, conn: Any, target: Any) -> None:
    """The same whether the server or the client escapes it."""
    run(conn, "CREATE TABLE t (id int PRIMARY KEY, v mediumtext, w varchar(3000))")
    pieces = ["ä\n", "a\\b\t", "\r\u0001\u007f", "plain", '"quoted"\b\f', "\\N", "\n\\.\n"]
    lengths = [0, 900, 999, 1000, 1001, 1999, 2000, 2001, 2999, 65_530, 65_540, 300_000]
    texts = [
        (piece * (length // len(piece) + 1))[:length] for piece in pieces for length in lengths
    ]
    with conn.cursor() as cursor:
        for number, text in enumerate(texts):
            cursor.execute("INSERT INTO t VALUES (%s, %s, %s)", (number, text, text[:3000]))
    plan = plan_of(source_db, "t")
    create_target(target, plan)
    assert copy_table(conn, target, plan, 10) == []
    found = target.execute("SELECT v, w FROM t ORDER BY id").fetchall()
    assert [v == text and w == text[:3000] for (v, w), text in zip(found, texts, strict=True)] == (
        [True] * len(texts)
    )
