"""The comparison that judges the other tests: what is equal passes, each planted change shows."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.endtoend.compare import assert_same, compare, document
from tests.fix_servers import SourceDatabase, TargetDatabase

SOURCE = """CREATE TABLE t (
    id int PRIMARY KEY, u bigint unsigned, flag tinyint(1), d decimal(9,3), f float, r double,
    name varchar(20), b binary(3), bits bit(11), tags set('a','b'), doc json, day date,
    at datetime(6), ts timestamp(3) NULL, span time(2), since year)"""
TARGET = """CREATE TABLE t (
    id integer PRIMARY KEY, u numeric(20,0), flag boolean, d numeric(9,3), f real,
    r double precision, name varchar(20), b bytea, bits bit(11), tags text[], doc jsonb, day date,
    at timestamp(6), ts timestamptz(3), span interval, since smallint)"""
ROWS_OF_SOURCE = """INSERT INTO t VALUES
    (1, 18446744073709551615, 1, -1.5, 0.1, 0.1, 'ä€😀\\\\', x'00ff00', b'10000000001', 'a,b',
     '{"b": [1, true, 2.50], "a": null}', '1000-01-01', '9999-12-31 23:59:59.999999',
     '2024-02-29 12:00:00.123', '-838:59:59', 0),
    (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, 0, 0, 0, -0.0, 16777217, '', x'000000', 0, '', '[]', '2024-01-01', '2024-01-01', NULL,
     '00:00:00.25', 2155)"""
ROWS_OF_TARGET = r"""INSERT INTO t VALUES
    (1, 18446744073709551615, true, -1.5, 0.1, 0.1, 'ä€😀\', '\x00ff00', B'10000000001', '{a,b}',
     '{"a": null, "b": [1, true, 2.5]}', '1000-01-01', '9999-12-31 23:59:59.999999',
     '2024-02-29 12:00:00.123+00', '-838:59:59', 0),
    (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, 0, false, 0, 0, 16777217, '', '\x000000', B'00000000000', '{}', '[]', '2024-01-01',
     '2024-01-01', NULL, '00:00:00.25', 2155)"""
CHANGES = [
    "u = u - 1 WHERE id = 1",
    "flag = false WHERE id = 1",
    "d = -1.501 WHERE id = 1",
    "f = 0.10000002 WHERE id = 1",
    "r = 0.1::real::double precision WHERE id = 1",
    "name = name || ' ' WHERE id = 1",
    "name = NULL WHERE id = 3",
    r"b = '\x00ff' WHERE id = 1",
    "bits = B'00000000001' WHERE id = 1",
    "tags = '{b,a}' WHERE id = 1",
    "tags = NULL WHERE id = 3",
    """doc = '{"a": null, "b": [true, 1, 2.5]}' WHERE id = 1""",
    """doc = '{"a": null, "b": [1, 1, 2.5]}' WHERE id = 1""",
    "day = '1000-01-02' WHERE id = 1",
    "at = '9999-12-31 23:59:59.999998' WHERE id = 1",
    "ts = ts + interval '1 hour' WHERE id = 1",
    "span = interval '-838:59:58' WHERE id = 1",
    "since = 1 WHERE id = 1",
    "id = 4 WHERE id = 2",
]


@pytest.fixture
def filled(source_db: SourceDatabase, target_db: TargetDatabase) -> None:
    """Both sides hold the same."""
    with closing(source_db.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode=''")
        cursor.execute(SOURCE)
        cursor.execute(ROWS_OF_SOURCE)
    with target_db.connect() as there:
        schema = f'"{source_db.name}"'
        there.execute(f"CREATE SCHEMA {schema}".encode())
        there.execute(f"SET search_path = {schema}".encode())
        there.execute(TARGET.encode())
        there.execute(ROWS_OF_TARGET.encode())


def test_equal_rows_pass_and_each_change_shows(
    filled: None, source_db: SourceDatabase, target_db: TargetDatabase
) -> None:
    assert assert_same(source_db, target_db) == 3
    with target_db.connect(autocommit=False) as conn:
        conn.execute(f'SET search_path = "{source_db.name}"'.encode())
        conn.commit()
        for change in CHANGES:
            conn.execute(f"UPDATE t SET {change}".encode())
            conn.commit()
            _, found = compare(source_db, target_db)
            assert [(d.missing.total(), d.extra.total()) for d in found] == [(1, 1)], change
            conn.execute(f"TRUNCATE t; {ROWS_OF_TARGET}".encode())
            conn.commit()
    assert assert_same(source_db, target_db) == 3


def test_a_doubled_row_shows_in_a_table_without_a_key(
    filled: None, source_db: SourceDatabase, target_db: TargetDatabase
) -> None:
    with target_db.connect() as conn:
        relation = f'"{source_db.name}".t'
        conn.execute(f"ALTER TABLE {relation} DROP CONSTRAINT t_pkey".encode())
        conn.execute(f"INSERT INTO {relation} (id) VALUES (2)".encode())
    _, (found,) = compare(source_db, target_db)
    assert (found.missing.total(), found.extra.total()) == (0, 1)
    assert "1 extra" in str(found)


def test_documents_that_differ_in_type_only_are_different() -> None:
    assert document("[1, 2.50, {}]") == document("[1.0, 2.5, {}]")
    large = [str(2**64 - 1), str(2**64)]
    texts = ["1", "true", '"1"', "null", "[]", "{}", "0", "false", '""', '["array"]', *large]
    assert len({document(text) for text in texts}) == len(texts)
