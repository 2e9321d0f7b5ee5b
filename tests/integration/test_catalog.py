"""The catalogue against real servers: what was created is what is read, on both alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pymysql
import pytest
from pymysql.cursors import Cursor

from bridge.capture.catalog import read_catalog
from bridge.capture.dialect import read_dialect
from bridge.names import TableName, quote_mysql
from bridge.types.table import IndexPart, SourceTable

if TYPE_CHECKING:
    Conn = pymysql.Connection[Cursor]


@pytest.fixture
def conn(source_db: Any) -> Iterator[Conn]:
    with source_db.connect() as connection:
        run(connection, "SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'")
        yield connection


def run(conn: Conn, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with conn.cursor(Cursor) as cursor:
        cursor.execute(statement, values or None)
        return list(cursor.fetchall())


def one(conn: Conn, source_db: Any, table: str = "t") -> SourceTable:
    return read_catalog(conn, source_db.name, [table])[TableName(source_db.name, table)]


def test_types_with_their_measures(conn: Conn, source_db: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, flag tinyint(1),"
        " price decimal(12,3), bits bit(7), name varchar(30) CHARACTER SET latin1 NOT NULL,"
        " code char(3) COLLATE utf8mb4_bin, raw varbinary(9), at datetime(6), span time(2),"
        " day date, made timestamp(3) NULL, y year, f float(7,3), g double, doc longtext, pic blob)"
        " CHARACTER SET utf8mb4",
    )
    table = one(conn, source_db)
    column = table.column
    assert [c.ordinal for c in table.columns] == list(range(1, 17))
    assert (column("id").data_type, column("id").unsigned) == ("bigint", True)
    assert (column("id").auto_increment, column("id").nullable) == (True, False)
    assert column("flag").column_type == "tinyint(1)"
    assert (column("price").precision, column("price").scale) == (12, 3)
    assert (column("bits").length, column("bits").precision) == (7, None)
    assert (column("name").length, column("name").charset) == (30, "latin1")
    assert (column("code").collation, column("code").length) == ("utf8mb4_bin", 3)
    assert (column("raw").length, column("raw").charset) == (9, None)
    assert [column(c).fsp for c in ("at", "span", "day", "made")] == [6, 2, 0, 3]
    assert (column("f").precision, column("f").scale) == (7, 3)
    assert table.primary_key == ("id",)
    assert table.engine == "InnoDB"
    assert table.charset == "utf8mb4"


LABELS = (
    "it's",
    "back\\slash",
    "c,d",
    "é",
    "日本",
    "x\ny",
    " lead",
    'q"r',
    "%s",
    "",
    "')",
    "a','b",
)


def test_labels_are_those_that_the_server_means(conn: Conn, source_db: Any) -> None:
    escaped = ", ".join(str(conn.escape(label)) for label in LABELS)
    run(conn, f"CREATE TABLE t (e enum({escaped}), s set('a b','c''d'))")
    table = one(conn, source_db)
    for index in range(1, len(LABELS) + 1):
        run(conn, "INSERT INTO t (e) VALUES (%s)", index)
    truth = tuple(row[0] for row in run(conn, "SELECT e FROM t ORDER BY e + 0"))
    assert table.column("e").labels == truth == LABELS
    assert table.column("s").labels == ("a b", "c'd")
    assert table.column("s").length is None


def test_defaults_read_alike_from_both_servers(conn: Conn, source_db: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (a int DEFAULT 5, b varchar(9) DEFAULT NULL, c varchar(9) NOT NULL,"
        " d varchar(9) DEFAULT 'NULL', e varchar(30) DEFAULT 'current_timestamp()',"
        " f varchar(20) DEFAULT 'it''s \\\\ \\n', g decimal(5,2) DEFAULT -1.5,"
        " h bit(3) DEFAULT b'101', i varchar(3) DEFAULT '', j datetime DEFAULT CURRENT_TIMESTAMP,"
        " k timestamp(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),"
        " l datetime ON UPDATE CURRENT_TIMESTAMP, m datetime DEFAULT '0000-00-00',"
        " n enum('x','y') DEFAULT 'y', o int DEFAULT (1 + 2))",
    )
    table = one(conn, source_db)
    read = {c.name: (c.default, c.default_is_expression) for c in table.columns}
    assert read == {
        "a": ("5", False),
        "b": (None, False),
        "c": (None, False),
        "d": ("NULL", False),
        "e": ("current_timestamp()", False),
        "f": ("it's \\ \n", False),
        "g": ("-1.50", False),
        "h": ("b'101'", False),
        "i": ("", False),
        "j": ("CURRENT_TIMESTAMP", True),
        "k": ("CURRENT_TIMESTAMP(3)", True),
        "l": (None, False),
        "m": ("0000-00-00 00:00:00", False),
        "n": ("y", False),
        "o": ("(1 + 2)", True),
    }
    assert {c.name: c.on_update for c in table.columns if c.on_update} == {
        "k": "CURRENT_TIMESTAMP(3)",
        "l": "CURRENT_TIMESTAMP",
    }


def test_generated_and_invisible_columns(conn: Conn, source_db: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(9), hidden int INVISIBLE DEFAULT 3,"
        " v int GENERATED ALWAYS AS (id + 1) VIRTUAL,"
        " s varchar(20) GENERATED ALWAYS AS (concat(a, '''\\\\')) STORED)",
    )
    table = one(conn, source_db)
    assert [c.generated for c in table.columns] == ["", "", "", "virtual", "stored"]
    assert [c.invisible for c in table.columns] == [False, False, True, False, False]
    assert table.column("v").default is None
    assert table.column("v").expression.strip("()") == "`id` + 1"
    assert "'\\'\\\\'" in table.column("s").expression


@pytest.mark.parametrize("source", ["mysql"], indirect=True)
def test_generated_invisible_primary_key_of_mysql(conn: Conn, source_db: Any) -> None:
    run(conn, "SET SESSION sql_generate_invisible_primary_key = ON")
    run(conn, "CREATE TABLE t (a int)")
    run(conn, "SET SESSION show_gipk_in_create_table_and_information_schema = OFF")
    table = one(conn, source_db)
    assert table.primary_key == ("my_row_id",)
    assert table.columns[0].invisible
    assert table.columns[0].auto_increment


def test_json_is_json_on_both(conn: Conn, source_db: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (id int PRIMARY KEY, `j``s` json, plain longtext,"
        " checked varchar(90) CHECK (json_valid(checked)))",
    )
    table = one(conn, source_db)
    assert [c.data_type for c in table.columns] == ["int", "json", "longtext", "varchar"]
    assert len(table.checks) == 1


def test_indexes(conn: Conn, source_db: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (a int, b varchar(50), c text, g geometry NOT NULL, PRIMARY KEY (b, a),"
        " KEY prefix (c(10), a), UNIQUE KEY one (a), FULLTEXT KEY words (c), SPATIAL KEY place (g),"
        " KEY both_ways (a DESC, b) COMMENT 'why')",
    )
    table = one(conn, source_db)
    assert table.primary_key == ("b", "a")
    by_name = {i.name: i for i in table.indexes}
    assert sorted(by_name) == ["both_ways", "one", "place", "prefix", "words"]
    assert by_name["one"].unique
    assert not by_name["prefix"].unique
    assert by_name["prefix"].parts == (IndexPart("c", 10), IndexPart("a"))
    assert by_name["words"].kind == "FULLTEXT"
    assert by_name["words"].parts == (IndexPart("c"),)
    assert by_name["place"].kind == "SPATIAL"
    assert by_name["place"].parts == (IndexPart("g"),)
    assert by_name["both_ways"].parts == (IndexPart("a", descending=True), IndexPart("b"))
    assert by_name["both_ways"].comment == "why"


@pytest.mark.parametrize("source", ["mysql"], indirect=True)
def test_functional_index_of_mysql(conn: Conn, source_db: Any) -> None:
    run(conn, "CREATE TABLE t (a varchar(9), KEY f ((lower(concat(a, 'x')))))")
    table = one(conn, source_db)
    assert [c.name for c in table.columns] == ["a"]
    assert table.indexes[0].parts[0].column == ""
    assert "concat(`a`,_utf8mb4'x')" in table.indexes[0].parts[0].expression


def test_foreign_keys_within_and_across_databases(conn: Conn, source_db: Any) -> None:
    other = source_db.name + "_other"
    run(conn, f"CREATE DATABASE {quote_mysql(other)}")
    try:
        run(conn, f"CREATE TABLE {quote_mysql(other)}.p (x int, y int, PRIMARY KEY (x, y))")
        run(conn, "CREATE TABLE p (id int PRIMARY KEY)")
        run(
            conn,
            "CREATE TABLE t (id int PRIMARY KEY, x int, y int, p int,"
            f" CONSTRAINT far FOREIGN KEY (y, x) REFERENCES {quote_mysql(other)}.p (x, y)"
            " ON DELETE CASCADE ON UPDATE SET NULL,"
            " CONSTRAINT near FOREIGN KEY (p) REFERENCES p (id))",
        )
        far, near = sorted(one(conn, source_db).foreign_keys, key=lambda k: k.name)
    finally:
        run(conn, "DROP TABLE IF EXISTS t")
        run(conn, f"DROP DATABASE {quote_mysql(other)}")
    assert far.parent == TableName(other, "p")
    assert (far.columns, far.parent_columns) == (("y", "x"), ("x", "y"))
    assert (far.on_delete, far.on_update, far.cascades) == ("CASCADE", "SET NULL", True)
    assert (near.parent, near.cascades) == (TableName(source_db.name, "p"), False)


def test_an_account_that_may_only_select_sees_the_same(conn: Conn, source_db: Any) -> None:
    run(conn, "CREATE TABLE p (id int PRIMARY KEY)")
    run(
        conn,
        "CREATE TABLE t (id int PRIMARY KEY, doc json, b varbinary(3) DEFAULT x'ff', p int,"
        " CONSTRAINT c CHECK (id > 0),"
        " CONSTRAINT f FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)",
    )
    user = f"{source_db.name}@'%'"
    run(conn, f"CREATE USER {user} IDENTIFIED BY 'Only-select-1'")
    try:
        run(conn, f"GRANT SELECT ON {source_db.name}.* TO {user}")
        server = source_db.server
        with pymysql.connect(
            host=server.host,
            port=server.port,
            user=source_db.name,
            password="Only-select-1",
            charset="utf8mb4",
        ) as limited:
            assert read_catalog(limited, source_db.name) == read_catalog(conn, source_db.name)
    finally:
        run(conn, f"DROP USER {user}")


def test_checks(conn: Conn, source_db: Any) -> None:
    run(conn, "CREATE TABLE t (n int, s varchar(9), CONSTRAINT c CHECK (n < 10 AND s <> 'q''u'))")
    (check,) = one(conn, source_db).checks
    assert check.name == "c"
    assert "'q\\'u'" in check.condition


def test_comments_counters_partitions(conn: Conn, source_db: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY COMMENT 'one''s id') AUTO_INCREMENT=77"
        " COMMENT='über' PARTITION BY HASH (id) PARTITIONS 2",
    )
    table = one(conn, source_db)
    assert (table.comment, table.column("id").comment) == ("über", "one's id")
    assert (table.auto_increment, table.partitioned) == (77, True)
    run(conn, "INSERT INTO t VALUES (100)")
    assert one(conn, source_db).auto_increment == 101


def test_views_and_temporary_tables_are_left_out(conn: Conn, source_db: Any) -> None:
    run(conn, "CREATE TABLE t (id int PRIMARY KEY)")
    run(conn, "CREATE VIEW w AS SELECT * FROM t")
    run(conn, "CREATE TEMPORARY TABLE gone (id int)")
    if read_dialect(conn).mariadb:
        run(conn, "CREATE SEQUENCE numbers")
    assert [n.table for n in read_catalog(conn, source_db.name)] == ["t"]


NAMES = (
    "sp ace",
    "quo'te",
    'dou"ble',
    "back`tick",
    "per%cent%s",
    "x" * 64,
    "таблица",
    "T",
    "t",
    "a.b",
)


def test_names_of_every_kind(conn: Conn, source_db: Any) -> None:
    for name in NAMES:
        quoted = quote_mysql(name)
        run(conn, f"CREATE TABLE {quoted} ({quoted} int PRIMARY KEY)")
    found = read_catalog(conn, source_db.name)
    assert {name.table for name in found} == set(NAMES)
    for name in NAMES:
        assert set(read_catalog(conn, source_db.name, [name])) == {TableName(source_db.name, name)}
        assert found[TableName(source_db.name, name)].primary_key == (name,)
    assert read_catalog(conn, source_db.name, []) == {}
    assert read_catalog(conn, source_db.name, ["no such"]) == {}


def test_fingerprint_is_of_the_rows_alone(conn: Conn, source_db: Any) -> None:
    run(conn, "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, a varchar(9), b enum('x','y'))")
    first = one(conn, source_db).fingerprint
    assert len(first) == 8
    assert int(first, 16) >= 0
    for statement in (
        "ALTER TABLE t AUTO_INCREMENT = 500",
        "ALTER TABLE t COMMENT = 'x'",
        "ALTER TABLE t ADD KEY a (a)",
        "ALTER TABLE t MODIFY a varchar(9) COMMENT 'y'",
        "INSERT INTO t (a) VALUES ('q')",
    ):
        run(conn, statement)
        assert one(conn, source_db).fingerprint == first, statement
    seen = {first}
    for statement in (
        "ALTER TABLE t MODIFY b enum('x','z')",
        "ALTER TABLE t MODIFY a varchar(10)",
        "ALTER TABLE t MODIFY a varchar(10) CHARACTER SET latin1",
        "ALTER TABLE t MODIFY a varchar(10) CHARACTER SET latin1 NOT NULL",
        "ALTER TABLE t MODIFY b enum('x','z') AFTER id",
        "ALTER TABLE t MODIFY id int NOT NULL, DROP PRIMARY KEY",
        "ALTER TABLE t ADD c int GENERATED ALWAYS AS (id + 1) STORED",
    ):
        run(conn, statement)
        print_now = one(conn, source_db).fingerprint
        assert print_now not in seen, statement
        seen.add(print_now)
