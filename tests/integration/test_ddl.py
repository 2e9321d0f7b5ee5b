"""The target's tables and indexes, from real source tables into a real target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pymysql.cursors import Cursor

from bridge.capture.catalog import read_catalog
from bridge.capture.dialect import read_dialect
from bridge.mapping.compile import compile_table
from bridge.mapping.plan import TablePlan
from bridge.mapping.propose import propose_table
from bridge.sink import ddl

if TYPE_CHECKING:
    import pymysql

    Source = pymysql.Connection[Cursor]
    Target = psycopg.Connection[Any]


@pytest.fixture
def conn(source_db: Any) -> Iterator[Source]:
    with source_db.connect() as connection:
        run(connection, "SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'")
        yield connection


@pytest.fixture
def target(target_db: Any) -> Iterator[Target]:
    with target_db.connect() as connection:
        yield connection


def run(conn: Source, statement: str) -> None:
    with conn.cursor(Cursor) as cursor:
        cursor.execute(statement)


def plans(conn: Source, source_db: Any) -> list[TablePlan]:
    return [
        compile_table(propose_table(table, ()), table)
        for table in read_catalog(conn, source_db.name).values()
    ]


def make(target: Target, plan: TablePlan) -> None:
    for statement in ddl.create_table(plan):
        target.execute(statement.encode())
    for _ in range(2):
        for index in ddl.indexes(plan):
            target.execute(index.sql.encode())


def columns(target: Target, plan: TablePlan) -> dict[str, tuple[object, ...]]:
    query = """
        SELECT attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
               collname, pg_get_expr(adbin, adrelid)
          FROM pg_attribute
          LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
          LEFT JOIN pg_collation c ON c.oid = attcollation
         WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum"""
    return {row[0]: row[1:] for row in target.execute(query, (plan.target.postgres,))}


def index_definitions(target: Target, plan: TablePlan) -> list[str]:
    query = """
        SELECT pg_get_indexdef(indexrelid) FROM pg_index
         WHERE indrelid = %s::regclass AND NOT indisprimary ORDER BY 1"""
    schema = plan.target.schema
    found = target.execute(query, (plan.target.postgres,)).fetchall()
    return [text.replace(f"{schema}.", "") for (text,) in found]


def test_columns_become_what_the_mapping_says(conn: Source, source_db: Any, target: Target) -> None:
    run(
        conn,
        "CREATE TABLE t (name varchar(20) NOT NULL COMMENT 'who''s', id int NOT NULL AUTO_INCREMENT"
        " PRIMARY KEY, n int DEFAULT 5, price decimal(10,2) NOT NULL DEFAULT 1.5,"
        " made datetime(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), seen timestamp NOT NULL"
        " DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,"
        " state enum('new','it''s') NOT NULL DEFAULT 'new', tags set('a','b') DEFAULT 'a,b',"
        " doc json, bits bit(3) DEFAULT b'11', zero datetime DEFAULT '0000-00-00',"
        " label varchar(50) GENERATED ALWAYS AS (concat(name, ':', n)) STORED,"
        " streamed int GENERATED ALWAYS AS (n + 1) VIRTUAL, KEY by_name (name)) COMMENT 'a\\\\b'",
    )
    (plan,) = plans(conn, source_db)
    make(target, plan)
    text = "character varying"
    json = "json" if read_dialect(conn).mariadb else "jsonb"
    found = columns(target, plan)
    assert list(found) == [column.name for column in plan.table.columns]
    stamp = "date_trunc('milliseconds'::text, (statement_timestamp())::timestamp without time zone)"
    assert found == {
        "name": (f"{text}(20)", True, "", "", "C", None),
        "id": ("integer", True, "d", "", None, None),
        "n": ("integer", False, "", "", None, "5"),
        "price": ("numeric(10,2)", True, "", "", None, "1.50"),
        "made": ("timestamp(3) without time zone", True, "", "", None, stamp),
        "seen": (
            "timestamp(0) with time zone",
            True,
            "",
            "",
            None,
            "date_trunc('second'::text, statement_timestamp())",
        ),
        "state": ("text", True, "", "", "default", "'new'::text"),
        "tags": ("text[]", False, "", "", "default", "ARRAY['a'::text, 'b'::text]"),
        "doc": (json, False, "", "", None, None),
        "bits": ("bit(3)", False, "", "", None, "'011'::\"bit\""),
        "zero": ("timestamp(0) without time zone", False, "", "", None, None),
        "label": (
            f"{text}(50)",
            False,
            "",
            "s",
            "default",
            "(((name)::text || ':'::text) || (n)::text)",
        ),
        "streamed": ("integer", False, "", "", None, None),
    }
    assert {(loss.code, loss.column) for loss in ddl.losses(plan)} == {
        ("T019", "zero"),
        ("T018", "streamed"),
    }
    comments = target.execute(
        "SELECT objsubid, description FROM pg_description WHERE objoid = %s::regclass ORDER BY 1",
        (plan.target.postgres,),
    ).fetchall()
    assert comments == [(0, "a\\b"), (1, "who's")]


def test_rows_get_the_defaults(conn: Source, source_db: Any, target: Target) -> None:
    run(
        conn,
        "CREATE TABLE t (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,"
        " a varchar(9) DEFAULT 'it''s', b int DEFAULT (1 + 2), c time DEFAULT '-10:30:00',"
        " d date DEFAULT '2020-02-29',"
        " e set('x','y') DEFAULT '', f double DEFAULT -1.5, g varchar(36) DEFAULT (uuid()),"
        " h datetime(2) DEFAULT CURRENT_TIMESTAMP(2), i bit(1) DEFAULT b'1', j char(3) DEFAULT '',"
        " k timestamp(6) NULL DEFAULT CURRENT_TIMESTAMP(6), l varchar(9) DEFAULT 'wh?t')",
    )
    (plan,) = plans(conn, source_db)
    make(target, plan)
    row = target.execute(
        f"INSERT INTO {plan.target.postgres} DEFAULT VALUES RETURNING *".encode()
    ).fetchone()
    assert row is not None
    values = dict(zip(columns(target, plan), row, strict=True))
    assert values["id"] == 1
    assert (values["a"], values["b"], str(values["d"])) == ("it's", 3, "2020-02-29")
    assert values["c"].total_seconds() == -10.5 * 3600
    assert (values["e"], values["f"], values["i"], values["j"]) == ([], -1.5, "1", "")
    assert len(values["g"]) == 36
    assert values["h"].microsecond % 10_000 == 0
    assert values["k"] is not None
    assert values["l"] is None
    assert [loss.code for loss in ddl.losses(plan)] == ["T019"]


def test_an_enum_takes_its_labels_and_the_empty_one(
    conn: Source, source_db: Any, target: Target
) -> None:
    run(conn, "CREATE TABLE t (id int PRIMARY KEY, e enum('a','b''c'), f enum('x','😀'))")
    (plan,) = plans(conn, source_db)
    make(target, plan)
    insert = f"INSERT INTO {plan.target.postgres} VALUES (%s, %s, %s)".encode()
    for number, label in enumerate(["a", "b'c", "", None]):
        target.execute(insert, (number, label, "😀"))
    with pytest.raises(psycopg.errors.CheckViolation):
        target.execute(insert, (9, "A", "x"))
    assert ("T021", "f") in {(loss.code, loss.column) for loss in ddl.losses(plan)}


def test_indexes(conn: Source, source_db: Any, target: Target) -> None:
    run(
        conn,
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(50) NOT NULL, b text, c int, d blob,"
        " g geometry NOT NULL, e longtext, UNIQUE KEY one (a, c), KEY down (c DESC, a),"
        " KEY begin (b(10), d(5)), UNIQUE KEY begin_unique (b(3)), FULLTEXT KEY words (a, e),"
        " SPATIAL KEY place (g))",
    )
    (table,) = read_catalog(conn, source_db.name).values()
    mapping = propose_table(table, ())
    mapping = _with(mapping, drop="g", indexes=("one", "down", "begin", "begin_unique", "words"))
    plan = compile_table(mapping, table)
    make(target, plan)
    words = (
        "CREATE INDEX t_words ON t USING gin (to_tsvector('simple'::regconfig, (((a)::text ||"
        " ' '::text) || COALESCE(\"left\"(e, 50000), ''::text))))"
    )
    assert index_definitions(target, plan) == [
        'CREATE INDEX t_begin ON t USING btree ("left"(b, 10), substr(d, 1, 5))',
        "CREATE INDEX t_down ON t USING btree (c DESC, a)",
        words,
        'CREATE UNIQUE INDEX t_begin_unique ON t USING btree ("left"(b, 3))',
        "CREATE UNIQUE INDEX t_one ON t USING btree (a, c)",
    ]
    assert ddl.losses(plan) == []


def _with(mapping: Any, *, drop: str, indexes: tuple[str, ...]) -> Any:
    from dataclasses import replace

    kept = tuple(
        replace(c, dropped=True, reason="test") if c.source == drop else c for c in mapping.columns
    )
    return replace(mapping, columns=kept, indexes=indexes, not_carried={})


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_unique_hash_over_whole_texts(conn: Source, source_db: Any, target: Target) -> None:
    run(conn, "CREATE TABLE t (id int PRIMARY KEY, a longtext, b int, UNIQUE KEY u (a, b))")
    (plan,) = plans(conn, source_db)
    make(target, plan)
    assert index_definitions(target, plan) == [
        "CREATE UNIQUE INDEX t_u ON t USING btree (md5(a), b)"
    ]


@pytest.mark.parametrize("source", ["mysql"], indirect=True)
def test_functional_index(conn: Source, source_db: Any, target: Target) -> None:
    run(
        conn,
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(20), n int, KEY low ((lower(a))),"
        " UNIQUE KEY sum ((n * 2)), KEY other ((n << 2)))",
    )
    (table,) = read_catalog(conn, source_db.name).values()
    mapping = propose_table(table, ())
    plan = compile_table(_with(mapping, drop="", indexes=("low", "sum", "other")), table)
    make(target, plan)
    assert index_definitions(target, plan) == [
        "CREATE INDEX t_low ON t USING btree (lower((a)::text))",
        "CREATE UNIQUE INDEX t_sum ON t USING btree ((((n)::bigint * 2)))",
    ]
    assert [loss.code for loss in ddl.losses(plan)] == ["T017"]


def test_names_of_every_kind(conn: Source, source_db: Any, target: Target) -> None:
    for name in (
        "sp ace",
        "quo'te",
        'dou"ble',
        "per%cent%s",
        "x" * 64,
        "таблица",
        "$make$",
        'a".b',
    ):
        quoted = "`" + name + "`"
        run(conn, f"CREATE TABLE {quoted} ({quoted} int PRIMARY KEY, b int, KEY {quoted} (b))")
    for plan in plans(conn, source_db):
        make(target, plan)
        assert len(index_definitions(target, plan)) == 1


def test_an_index_of_another_table_is_no_excuse(
    target: Target, conn: Source, source_db: Any
) -> None:
    run(conn, "CREATE TABLE a (id int PRIMARY KEY, x int, KEY b_c (x))")
    run(conn, "CREATE TABLE a_b (id int PRIMARY KEY, x int, KEY c (x))")
    both = plans(conn, source_db)
    assert len(ddl.name_clashes(both)) == 1
    make(target, both[0])
    with pytest.raises(psycopg.errors.DuplicateTable):
        make(target, both[1])


def test_keyless_table(conn: Source, source_db: Any, target: Target) -> None:
    run(conn, "CREATE TABLE t (a int, b varchar(9))")
    (plan,) = plans(conn, source_db)
    make(target, plan)
    assert index_definitions(target, plan) == []
