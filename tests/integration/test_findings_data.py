"""Scanning rows for what decides target types and policies."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from pymysql.cursors import Cursor

from bridge.capture.catalog import read_catalog
from bridge.capture.findings import Finding, scan_table
from bridge.names import TableName

if TYPE_CHECKING:
    import pymysql

    Conn = pymysql.Connection[Cursor]


@pytest.fixture
def conn(source_db: Any) -> Iterator[Conn]:
    with source_db.connect() as connection:
        run(connection, "SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'")
        yield connection


def run(conn: Conn, statement: str, *values: object) -> None:
    with conn.cursor(Cursor) as cursor:
        cursor.execute(statement, values or None)


def scan(conn: Conn, source_db: Any, **limits: Any) -> dict[tuple[str, str], Finding]:
    (table,) = read_catalog(conn, source_db.name).values()
    return {(f.code, f.column): f for f in scan_table(conn, table, **limits)}


def test_impossible_dates_are_counted_per_column(conn: Conn, source_db: Any) -> None:
    run(conn, "CREATE TABLE t (id int PRIMARY KEY, d date, dt datetime(3), ts timestamp NULL)")
    for row in (
        (1, "0000-00-00", "2020-00-15", "0000-00-00"),
        (2, "2020-02-31", "2020-02-28 00:00:00.001", "2020-01-01"),
        (3, None, None, None),
        (4, "0000-05-05", "2020-01-31 23:59:59", "2020-01-01"),
    ):
        run(conn, "INSERT INTO t VALUES (%s, %s, %s, %s)", *row)
    found = scan(conn, source_db)
    assert {key: f.count for key, f in found.items()} == {
        ("D017", "d"): 3,
        ("D017", "dt"): 1,
        ("D017", "ts"): 1,
    }
    one = found["D017", "d"]
    assert (one.slug, one.severity, one.table) == ("zero-date", "warning", f"{source_db.name}.t")
    assert one.message == "3 rows hold dates that no calendar has"
    assert "as-null" in one.hint


def test_what_decides_types_is_said_even_if_nothing_speaks_against_it(
    conn: Conn, source_db: Any
) -> None:
    run(
        conn,
        "CREATE TABLE t (id bigint unsigned PRIMARY KEY AUTO_INCREMENT, yes tinyint(1),"
        " many tinyint(1), early time(3), late time, big bigint unsigned)",
    )
    run(conn, "INSERT INTO t VALUES (7, 1, 2, '23:59:59.999', '24:00:00', 18446744073709551615)")
    run(conn, "INSERT INTO t VALUES (8, NULL, -1, '00:00:00', '-00:00:01', 5)")
    run(conn, "ALTER TABLE t AUTO_INCREMENT = 1000")
    found = scan(conn, source_db)
    assert found["D012", "yes"].count == 0
    assert found["D012", "yes"].message == "no row holds something other than 0 and 1"
    assert found["D012", "many"].count == 2
    assert found["D014", "early"].count == 0
    assert found["D014", "late"].count == 2
    assert found["D011", "id"].fact == 999
    assert found["D011", "big"].fact == 2**64 - 1
    assert "does not fit" in found["D011", "big"].message
    assert not any(f.sampled for f in found.values())


def test_texts(conn: Conn, source_db: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(20), b text CHARACTER SET utf16, doc json,"
        " e enum('x','y'))",
    )
    run(conn, "SET SESSION sql_mode = ''")
    run(conn, "INSERT INTO t VALUES (1, 'abc', 'abc', '{\"a\": \"x\"}', 'x')")
    run(conn, "INSERT INTO t VALUES (2, %s, %s, %s, 'z')", "a\0", "Ā\0", '{"a": "\\u0000"}')
    run(conn, "INSERT INTO t VALUES (3, NULL, NULL, NULL, NULL)")
    found = scan(conn, source_db)
    assert {key: f.count for key, f in found.items()} == {
        ("D015", "a"): 1,
        ("D015", "b"): 1,
        ("D016", "doc"): 1,
        ("D020", "e"): 1,
    }


def test_binary_that_looks_like_uuids(conn: Conn, source_db: Any) -> None:
    run(conn, "CREATE TABLE t (id binary(16) PRIMARY KEY, other binary(16), none binary(16))")
    for _ in range(5):
        run(conn, "INSERT INTO t VALUES (%s, %s, NULL)", uuid.uuid4().bytes, bytes(16))
    assert {key: f.count for key, f in scan(conn, source_db).items()} == {("D018", "id"): 5}


def test_keys_wider_than_a_page_takes(conn: Conn, source_db: Any) -> None:
    run(conn, "CREATE TABLE t (a varchar(750) CHARACTER SET utf8mb4, b int, KEY wide (a, b))")
    run(conn, "INSERT INTO t VALUES (%s, 1), (%s, 2), (NULL, 3)", "a" * 750, "😀" * 750)
    found = scan(conn, source_db)
    assert set(found) == {("D022", "")}
    assert (found["D022", ""].count, found["D022", ""].fact) == (1, 3000)
    assert "wide" in found["D022", ""].message


def test_large_tables_are_sampled_and_say_so(conn: Conn, source_db: Any) -> None:
    run(conn, "CREATE TABLE `t%s` (`i%d` bigint unsigned PRIMARY KEY, `d%` date)")
    values = ", ".join(f"({i}, '0000-00-00')" for i in range(1000))
    run(conn, f"INSERT INTO `t%s` VALUES {values}")
    run(conn, "ANALYZE TABLE `t%s`")
    found = scan(conn, source_db, max_rows=10)
    assert found["D017", "d%"].sampled
    assert found["D017", "d%"].count == 1000
    assert "looked at 1,000 of about" in found["D017", "d%"].message
    assert not found["D011", "i%d"].sampled
    assert found["D011", "i%d"].fact == 999


def test_a_sample_is_of_the_whole_table(conn: Conn, source_db: Any) -> None:
    run(conn, "CREATE TABLE t (id int PRIMARY KEY, d date)")
    for start in range(0, 300_000, 10_000):
        values = ", ".join(f"({i}, '2020-01-01')" for i in range(start, start + 10_000))
        run(conn, f"INSERT INTO t VALUES {values}")
    run(conn, "UPDATE t SET d = 0 WHERE id >= 280000")
    run(conn, "ANALYZE TABLE t")
    one = scan(conn, source_db, max_rows=1000)["D017", "d"]
    assert 0 < (one.count or 0) < 20_000


def test_keyless_and_empty_tables(conn: Conn, source_db: Any) -> None:
    run(conn, "CREATE TABLE t (a tinyint(1), b bigint unsigned)")
    (table,) = read_catalog(conn, source_db.name).values()
    assert table.name == TableName(source_db.name, "t")
    for limits in ({}, {"max_rows": -1}):
        found = scan(conn, source_db, **limits)
        assert found["D012", "a"].count == 0
        assert found["D011", "b"].fact == 0


def test_a_scan_that_takes_too_long_is_sampled(conn: Conn, source_db: Any) -> None:
    run(conn, "CREATE TABLE t (id int PRIMARY KEY, a mediumtext, flag tinyint(1))")
    for i in range(20):
        run(conn, "INSERT INTO t VALUES (%s, REPEAT('x', 2000000), 1)", i)
    assert not scan(conn, source_db)["D012", "flag"].sampled
    assert scan(conn, source_db, seconds=0.002)["D012", "flag"].sampled
