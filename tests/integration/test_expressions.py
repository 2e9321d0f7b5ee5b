"""Translated expressions give the same values as the servers that they come from."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg
import pymysql
import pytest
from pymysql.cursors import Cursor

from bridge.capture.catalog import read_catalog
from bridge.capture.dialect import read_dialect
from bridge.mapping.expressions import Untranslatable, condition, generated, index_part
from bridge.names import quote_mysql, quote_postgres
from bridge.types import family_of
from bridge.types.base import ColumnPlan, SourceColumn

if TYPE_CHECKING:
    Conn = pymysql.Connection[Cursor]

COLUMNS = {
    "id": "int NOT NULL AUTO_INCREMENT PRIMARY KEY",
    "i": "int",
    "s": "smallint NOT NULL",
    "u": "int unsigned",
    "b": "bigint",
    "bu": "bigint unsigned",
    "flag": "tinyint(1)",
    "z": "int(6) zerofill",
    "d": "decimal(10,2)",
    "e": "decimal(5,3)",
    "big": "decimal(40,20)",
    "f": "double",
    "v": "varchar(20) COLLATE utf8mb4_general_ci",
    "bin": "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "c": "char(5) COLLATE utf8mb4_bin",
    "l": "varchar(20) CHARACTER SET latin1",
    "a": "varchar(20) CHARACTER SET ascii",
    "t": "text",
    "en": "enum('new','paid','x''y')",
    "day": "date",
    "dt": "datetime(3)",
    "ts": "timestamp NULL",
    '`q``"%s`': "int",
}
NASTY: Mapping[str, tuple[object, ...]] = {
    "i": (None, 0, 1, -1, 7, -7, 2**31 - 1, -(2**31)),
    "s": (0, 1, -1, 32767, -32768, 3, -3),
    "u": (None, 0, 1, 2**32 - 1, 12),
    "b": (None, 0, 2**63 - 1, -(2**63), 5),
    "bu": (None, 0, 2**64 - 1, 9),
    "flag": (None, 0, 1, 2, -1),
    "z": (None, 42, 0),
    "d": (None, "0.00", "-0.01", "99999999.99", "-99999999.99", "1.50"),
    "e": ("0.005", None, "-99.999", "99.999", "2.500", "-2.500"),
    "big": (None, "1.5", "12345678901234567890.12345678901234567890"),
    "f": (None, 1.5, -0.0),
    "v": (None, "", "abc", "ABC", "ä€😀", " lead", "trail  ", "it's \\ %s"),
    "bin": (None, "", "abc", "ABC", "abc ", "ß"),
    "c": (None, "", "abc", "x y", "ä"),
    "l": (None, "", "é", "abc", "€"),
    "a": (None, "", "aBc", "x'y"),
    "t": (None, "", "long " * 100),
    "en": (None, "new", "paid", "x'y", ""),
    "day": (None, "1000-01-01", "2020-02-29", "9999-12-31"),
    "dt": (None, "2020-02-29 23:59:59.999", "1999-12-31 00:00:00", "9999-12-31 23:59:59.999"),
    "ts": (None, "2020-02-29 23:59:59"),
    '`q``"%s`': (None, 3),
}

TRANSLATED = (
    ("bigint", "i + 1"),
    ("bigint", "i - s * 3"),
    ("bigint", "-(i) + -5"),
    ("bigint", "- i - - s"),
    ("bigint", "u + 1"),
    ("bigint", "i * s"),
    ("bigint", '`q``"%s` + 1'),
    ("int", "i div 7"),
    ("bigint", "i div s"),
    ("int", "i % s"),
    ("int", "mod(i, 5)"),
    ("int", "u % 10"),
    ("int", "s * 2 + 1"),
    ("bigint", "2000000000 + 2000000000"),
    ("smallint", "s"),
    ("decimal(12,2)", "d + 1"),
    ("decimal(20,5)", "d * e"),
    ("decimal(16,2)", "d * e"),
    ("decimal(12,1)", "d"),
    ("int", "d + 0.5"),
    ("decimal(42,20)", "big + i * 0.5"),
    ("bigint", "coalesce(i, s, 0)"),
    ("bigint", "ifnull(u, 0)"),
    ("int", "if(i > s, 1, 0)"),
    ("tinyint(1)", "i > s"),
    ("tinyint", "i is null"),
    ("tinyint", "i <=> u"),
    ("tinyint", "d = i or not (s between -3 and 3)"),
    ("tinyint", "i in (0, 7, -7)"),
    ("tinyint", "i not in (0, 7)"),
    ("int", "case when i > 0 then 1 when i < 0 then -1 end"),
    ("int", "case s when 1 then 10 when 3 then 30 else 0 end"),
    ("decimal(14,2)", "if(flag, d, i)"),
    ("varchar(41)", "concat(v, ' ', bin)"),
    ("varchar(60)", "concat(v, '''', '\\\\', '%s')"),
    ("varchar(60)", "concat(i, ':', s, '/', d)"),
    ("varchar(60)", "concat(v, l, a)"),
    ("varchar(40)", "concat(en, '-', i)"),
    ("varchar(20)", "coalesce(v, bin, 'none')"),
    ("varchar(20)", "if(i > 0, v, NULL)"),
    ("varchar(3)", "left(v, 3)"),
    ("varchar(3)", "substr(v, 2, 3)"),
    ("int", "char_length(v)"),
    ("int", "length(v)"),
    ("int", "length(t)"),
    ("varchar(32)", "md5(v)"),
    ("varchar(20) CHARACTER SET ascii", "lower(a)"),
    ("varchar(20) CHARACTER SET ascii", "upper(a)"),
    ("varchar(20) CHARACTER SET latin1", "concat(l, '')"),
    ("int", "year(day)"),
    ("int", "month(dt) * 100 + dayofmonth(dt)"),
    ("date", "date(dt)"),
    ("date", "cast(day as date)"),
    ("datetime(3)", "dt"),
    ("tinyint", "day > '2000-01-01'"),
    ("tinyint", "dt <= '2020-02-29 23:59:59.5'"),
    ("tinyint", "en = 'new'"),
    ("tinyint", "en in ('new', 'x''y')"),
    ("tinyint", "c = 'abc'"),
    ("tinyint", "c <> 'x y'"),
)
NOT_TRANSLATED = (
    ("bigint", "year(day) - 10000"),
    ("int", "i + 1"),
    ("bigint unsigned", "bu - 1"),
    ("bigint", "b + 1"),
    ("bigint", "u - 1"),
    ("bigint", "b * 2"),
    ("decimal(20,4)", "i / 2"),
    ("decimal(10,2)", "d + 1"),
    ("double", "f * 2"),
    ("varchar(10)", "concat(c, c)"),
    ("int", "char_length(c)"),
    ("varchar(20)", "lower(v)"),
    ("varchar(20)", "concat(v, 'x')"),
    ("varchar(40)", "concat(z, 'x')"),
    ("varchar(60)", "concat(f, 'x')"),
    ("varchar(60) CHARACTER SET latin1", "concat(v, l)"),
    ("char(32)", "md5(v)"),
    ("varchar(32)", "md5(l)"),
    ("int", "length(l)"),
    ("varchar(60)", "concat(v, 'é')"),
    ("varchar(60)", "concat(v, '😀')"),
    ("varchar(60)", "concat_ws(',', v, bin)"),
    ("varchar(60)", "trim(v)"),
    ("varchar(60)", "replace(v, 'a', 'b')"),
    ("tinyint", "v = 'abc'"),
    ("tinyint", "bin = 'abc'"),
    ("tinyint", "v < bin"),
    ("tinyint", "en = 'NEW'"),
    ("tinyint", "v like 'a%'"),
    ("tinyint", "day > 20000101"),
    ("int", "greatest(i, 1)"),
    ("bigint", "i | 1"),
    ("bigint", "i << 1"),
    ("int", "i xor s"),
    ("int", "dayofweek(day)"),
    ("datetime", "dt"),
    ("datetime(3)", "dt + interval 1 day"),
    ("int", "year(ts)"),
    ("varchar(9)", "json_unquote(json_extract(t, '$.a'))"),
)


class Forbidden(Exception):
    """The server does not generate columns from this."""


FORBIDDEN = (1901, 3763, 1690, 3854, 1674)
"""The servers' refusals of an expression whose value depends on the session, or overflows."""


@pytest.fixture
def conn(source_db: Any) -> Any:
    with source_db.connect() as connection:
        run(connection, "SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'")
        yield connection


def run(conn: Conn, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with conn.cursor(Cursor) as cursor:
        cursor.execute(statement, values or None)
        return list(cursor.fetchall())


def add(conn: Conn, definition: str) -> None:
    try:
        run(conn, f"ALTER TABLE t ADD {definition}")
    except pymysql.err.OperationalError as error:
        if error.args[0] in FORBIDDEN:
            raise Forbidden from error
        raise


def plan(column: SourceColumn) -> ColumnPlan:
    family = family_of(column)
    assert family is not None
    target = family.proposals(column)[0].target_type
    return ColumnPlan(column, column.name, target, column.nullable)


def create(conn: Conn, source_db: Any, made: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """A table with the generated columns that the server takes; its columns by name."""
    lines = [f"{name} {kind}" for name, kind in COLUMNS.items()]
    run(conn, f"CREATE TABLE t ({', '.join(lines)}) CHARACTER SET utf8mb4")
    for name, (kind, text) in made.items():
        with suppress(Forbidden):
            add(conn, f"{name} {kind} GENERATED ALWAYS AS ({text}) VIRTUAL")
    (table,) = read_catalog(conn, source_db.name).values()
    return {column.name: column for column in table.columns}


def rows() -> list[tuple[object, ...]]:
    """Each nasty value with different neighbours."""
    cycles = [itertools.cycle(values) for values in NASTY.values()]
    return [tuple(next(cycle) for cycle in cycles) for _ in range(60)]


def test_what_is_translated_gives_the_same_values(
    conn: Conn, source_db: Any, target_db: Any
) -> None:
    made = {f"g{n}": pair for n, pair in enumerate(TRANSLATED)}
    columns = create(conn, source_db, made)
    plain = {name: plan(c) for name, c in columns.items() if not c.generated and c.name != "ts"}
    translated = {name: generated(plan(columns[name]), plain) for name in made if name in columns}
    assert len(translated) >= len(made) - 3
    names = ", ".join(NASTY)
    for row in rows():
        marks = ", ".join(["%s"] * len(row))
        run(conn, f"INSERT INTO t ({names.replace('%', '%%')}) VALUES ({marks})", *row)
    with target_db.connect() as target:
        compare(conn, target, plain, {n: (plan(columns[n]), sql) for n, sql in translated.items()})


def compare(
    conn: Conn,
    target: psycopg.Connection[Any],
    plain: Mapping[str, ColumnPlan],
    computed: Mapping[str, tuple[ColumnPlan, str]],
) -> None:
    lines = [f"{quote_postgres(n)} {p.target_type}" for n, p in plain.items()]
    lines += [
        f"{n} {p.target_type} GENERATED ALWAYS AS ({sql}) STORED"
        for n, (p, sql) in computed.items()
    ]
    target.execute(f"CREATE TABLE t ({', '.join(lines)})".encode())
    names = [*plain]
    inputs = run(conn, f"SELECT {', '.join(map(quote_mysql, names))} FROM t ORDER BY id")
    quoted = ", ".join(map(quote_postgres, names)).replace("%", "%%")
    insert = f"INSERT INTO t ({quoted}) VALUES ({', '.join(['%s'] * len(names))})"
    for row in inputs:
        target.execute(insert.encode(), row)
    wanted = run(conn, f"SELECT id, {', '.join(computed)} FROM t ORDER BY id")
    found = target.execute(
        f"SELECT id, {', '.join(computed)} FROM t ORDER BY id".encode()
    ).fetchall()
    for theirs, ours in zip(wanted, found, strict=True):
        for (name, (_, sql)), a, b in zip(computed.items(), theirs[1:], ours[1:], strict=True):
            assert a == b, f"{name}: {sql} in row {theirs[0]}"


def test_what_might_differ_is_refused(conn: Conn, source_db: Any) -> None:
    made = {f"g{n}": pair for n, pair in enumerate(NOT_TRANSLATED)}
    columns = create(conn, source_db, made)
    assert len(columns) > len(COLUMNS) + len(made) - 5
    plain = {name: plan(c) for name, c in columns.items() if not c.generated and c.name != "ts"}
    for name, pair in made.items():
        if name in columns:
            with pytest.raises(Untranslatable):
                print(pair, generated(plan(columns[name]), plain))


@pytest.mark.parametrize(
    "text",
    [
        "`i` <=> 12 > `s`",
        "`i` between 1 and 2 = 1",
        "`i` = `s` is null",
        "`i` in (1,2) <> `s`",
        "`i` || `s`",
        "`i` = `s` = 1",
        "`i` + interval 1 day",
        "`i` > (select 1)",
        "`i`, `s`",
        "`i` from t",
        "`t`.`i`",
        "0x41",
        "_binary'a'",
        "`i` ) or ( `s`",
        "",
        "(" * 500 + "1" + ")" * 500,
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    plans = {n: ColumnPlan(SourceColumn(n, 1, "int", "int"), n, "integer") for n in ("i", "s")}
    with pytest.raises(Untranslatable):
        print(condition(text, plans))


def test_checks(conn: Conn, source_db: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (i int, d decimal(10,2), s varchar(10), e enum('a','b'), x date, y date,"
        " CONSTRAINT c1 CHECK (i > 0 AND i <= 100 OR d IS NULL),"
        " CONSTRAINT c2 CHECK (x <= y), CONSTRAINT c3 CHECK (char_length(s) >= 3),"
        " CONSTRAINT c4 CHECK (e <> 'a' OR d >= 1.5), CONSTRAINT c5 CHECK (s <> 'abc'),"
        " CONSTRAINT c6 CHECK (s LIKE 'a%'), CONSTRAINT c7 CHECK (i <> 0 AND i))",
    )
    (table,) = read_catalog(conn, source_db.name).values()
    plans = {column.name: plan(column) for column in table.columns}
    found = {}
    for check in table.checks:
        try:
            found[check.name] = condition(check.condition, plans)
        except Untranslatable:
            found[check.name] = ""
    if not read_dialect(conn).mariadb:
        assert found.pop("c7") == '(("i" <> 0) AND (0 <> "i"))'
    else:
        assert found.pop("c7") == '(("i" <> 0) AND ("i" <> 0))'
    assert found == {
        "c1": '((("i" > 0) AND ("i" <= 100)) OR ("d" IS NULL))',
        "c2": '("x" <= "y")',
        "c3": '(char_length("s") >= 3)',
        "c4": '(("e" <> \'a\') OR ("d" >= 1.5))',
        "c5": "",
        "c6": "",
    }


def test_parts_of_documents_are_indexed_by_the_same_path(target_db: Any) -> None:
    doc = SourceColumn("doc", 1, "json", "json")
    plans = {"doc": ColumnPlan(doc, "doc", "jsonb")}
    path = """json_unquote(json_extract(`doc`,_utf8mb4'$.name."a b"[0]'))"""
    wanted = """("doc" #>> '{"name","a b","0"}')"""
    assert index_part(path, plans, unique=False) == wanted
    cast = f"(cast({path} as char(30) charset utf8mb4) collate utf8mb4_bin)"
    assert index_part(cast, plans, unique=False) == f"substr({wanted}, 1, 30)"
    with pytest.raises(Untranslatable):
        index_part(cast, plans, unique=True)
    with target_db.connect() as target:
        target.execute("CREATE TABLE t (doc jsonb)")
        target.execute(f"CREATE INDEX ON t (substr({wanted}, 1, 30))".encode())
        target.execute("""INSERT INTO t VALUES ('{"name": {"a b": ["x"]}}')""")
        assert target.execute(f"SELECT {wanted} FROM t".encode()).fetchone() == ("x",)
