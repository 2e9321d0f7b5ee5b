"""Pieces of DDL text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.mapping.expressions import Untranslatable
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.sink.ddl import Statement, create_table, index_name, indexes, name_clashes, unless
from bridge.sink.defaults import default, now
from bridge.types.base import ColumnPlan, SourceColumn
from bridge.types.table import IndexPart, SourceIndex, SourceTable


def column(name: str, kind: str, target: str, **said: object) -> ColumnPlan:
    source = SourceColumn(name, 1, kind, kind)
    return ColumnPlan(replace(source, **said), name, target)  # type: ignore[arg-type]


def plan(table: str, index: str = "", **said: object) -> TablePlan:
    ident = column("id", "int", "integer")
    source = SourceTable(TableName("shop", table), "mysql", "InnoDB", (ident.source,), ("id",))
    made = (SourceIndex(index, (IndexPart("id"),)),) if index else ()
    target = TableName("shop", table)
    return replace(TablePlan(source, target, (ident,), 1, "v", indexes=made), **said)  # type: ignore[arg-type]


def test_a_command_runs_unless_its_condition_holds() -> None:
    assert unless("a", "b") == "DO $make$ BEGIN IF NOT (a) THEN b; END IF; END $make$"
    assert unless('"$make$"', "b").startswith("DO $_make$ ")


def test_index_names_fit_and_differ() -> None:
    assert index_name(plan("orders", "by_id"), SourceIndex("by_id", ())) == "orders_by_id"
    long = [index_name(plan("t" * 60), SourceIndex(name, ())) for name in ("one", "two")]
    assert len(set(long)) == 2
    assert all(len(name.encode()) <= 63 for name in long)


def test_names_are_shared_by_tables_and_indexes_of_a_schema() -> None:
    assert name_clashes([plan("a", "b_c"), plan("a_b", "c")])
    assert name_clashes([plan("a", "b"), plan("a_b")])
    assert not name_clashes([plan("a", "b"), plan("b", "a")])


def test_a_statement_names_schema_and_table() -> None:
    statement = Statement("i", TableName('a".b', "it's"), "CREATE INDEX …")
    assert """to_regclass('"a"".b"."i"')""" in statement.sql
    assert """'"a"".b"."it''s"'::regclass""" in statement.sql


def test_a_table_beside_another_has_indexes_of_its_own() -> None:
    first = plan("t", "i")
    second = replace(first, target=TableName("shop", "t__copy2"))
    assert [s.name for s in (*indexes(first), *indexes(second))] == ["t_i", "t__copy2_i"]
    assert '"shop"."t__copy2"' in create_table(second)[1]


@pytest.mark.parametrize(
    ("made", "sql"),
    [
        (column("a", "int", "integer", default="5"), "5"),
        (column("a", "tinyint", "boolean", default="1"), "true"),
        (column("a", "bit", "boolean", default="b'0'"), "false"),
        (column("a", "bit", "bit(3)", default="b'1'", length=3), "B'001'"),
        (column("a", "varchar", "text", default="it's \\"), "'it''s \\'"),
        (column("a", "set", "text[]", default="a,b'c"), "ARRAY['a', 'b''c']"),
        (column("a", "json", "json", default="{}"), "'{}'"),
        (column("a", "time", "time(0)", default="23:59:59"), "'23:59:59'"),
        (column("a", "int", "integer", default=None), ""),
        (column("a", "int", "integer", default="5", auto_increment=True), ""),
        (
            column("a", "int", "integer", default="(1 + 2)", default_is_expression=True),
            "(1::bigint + 2)",
        ),
        (
            column("a", "date", "date", default="curdate()", default_is_expression=True),
            "CURRENT_DATE",
        ),
    ],
)
def test_defaults(made: ColumnPlan, sql: str) -> None:
    assert default(made) == sql


@pytest.mark.parametrize(
    "made",
    [
        column("a", "tinyint", "boolean", default="2"),
        column("a", "bigint", "integer", default="9999999999"),
        column("a", "varchar", "text", default="a\0b"),
        column("a", "varchar", "text", default="what?", charset="utf8mb4"),
        column("a", "varbinary", "bytea", default="ab"),
        column("a", "binary", "uuid", default="0x00"),
        column("a", "datetime", "timestamp(0)", default="0000-00-00 00:00:00"),
        column("a", "date", "date", default="2020-02-31"),
        column("a", "timestamp", "timestamptz(0)", default="2020-01-01 00:00:00"),
        column("a", "time", "time(0)", default="24:00:00"),
        column("a", "json", "jsonb", default="{"),
        column("a", "int", "integer", default="rand()", default_is_expression=True),
        column("a", "int", "text", default="CURRENT_TIMESTAMP", default_is_expression=True),
    ],
)
def test_defaults_that_are_not_carried(made: ColumnPlan) -> None:
    with pytest.raises(Untranslatable):
        default(made)


def test_the_time_of_a_statement_is_cut_as_in_the_source() -> None:
    stamp = column("a", "timestamp", "timestamptz(2)")
    assert now(stamp, 6) == "statement_timestamp()"
    assert now(stamp, 0) == "date_trunc('second', statement_timestamp())"
    assert now(stamp, 2) == (
        "date_bin(interval '0.010000 seconds', statement_timestamp(), timestamptz '2000-01-01')"
    )
    with pytest.raises(Untranslatable):
        now(column("a", "timestamp", "timestamp(0)"), 0)
