"""The small languages of mapping files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mapping.notation import (
    Arrow,
    normal_source,
    normal_target,
    read_arrow,
    read_tables,
    write_tables,
)
from bridge.names import TableName

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(words, words, words, words)
def test_table_names_come_back(a: str, b: str, c: str, d: str) -> None:
    source, target = TableName(a, b), TableName(c, d)
    assert read_tables(write_tables(source, target)) == (source, target)
    assert read_tables(write_tables(source, None)) == (source, None)


def test_tables_as_people_write_them() -> None:
    assert read_tables("shop.orders  ->  sales.orders") == (
        TableName("shop", "orders"),
        TableName("sales", "orders"),
    )
    assert read_tables('shop."my table" -> `a``b`.c') == (
        TableName("shop", "my table"),
        TableName("a`b", "c"),
    )
    assert read_tables("shop.log -> nothing") == (TableName("shop", "log"), None)


@pytest.mark.parametrize(
    "text", ["", "orders -> orders", "a.b", "a.b -> c", "a.b -> c.d e", "a.b->"]
)
def test_what_names_no_tables(text: str) -> None:
    assert read_tables(text) is None


@pytest.mark.parametrize(
    ("text", "arrow"),
    [
        ("int(11) -> int", Arrow("int", None, "integer", None)),
        ("BIGINT(20) UNSIGNED -> bigint", Arrow("bigint unsigned", None, "bigint", None)),
        (
            "datetime not null -> timestamp(0) null",
            Arrow("datetime", False, "timestamp(0)", True),
        ),
        ("enum('a -> b','c') -> text", Arrow("enum('a -> b','c')", None, "text", None)),
        ("enum('it''s null') -> text", Arrow("enum('it''s null')", None, "text", None)),
        ("int null -> bigint", Arrow("int", True, "bigint", None)),
    ],
)
def test_arrows(text: str, arrow: Arrow) -> None:
    assert read_arrow(text) == arrow


@pytest.mark.parametrize("text", ["int", "int -> ", " -> int", "a -> b -> c", "int->bigint"])
def test_what_is_no_arrow(text: str) -> None:
    assert read_arrow(text) is None


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("INT(10)  Unsigned", "int unsigned"),
        ("integer", "int"),
        ("tinyint(1)", "tinyint(1)"),
        ("tinyint(4)", "tinyint"),
        ("int(5) unsigned zerofill", "int(5) unsigned zerofill"),
        ("year(4)", "year"),
        ("varchar(10)", "varchar(10)"),
        ("ENUM('A','int(3)')", "enum('A','int(3)')"),
    ],
)
def test_source_types(text: str, normal: str) -> None:
    assert normal_source(text) == normal


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("INT", "integer"),
        ("int8", "bigint"),
        ("decimal( 10 , 2 )", "numeric(10,2)"),
        ("numeric(20)", "numeric(20,0)"),
        ("character varying(7)", "varchar(7)"),
        ("timestamp(6) with time zone", "timestamptz(6)"),
        ("timestamp without time zone", "timestamp"),
        ("text[]", "text[]"),
        ("double precision", "double precision"),
        ("what?", "what?"),
    ],
)
def test_target_types(text: str, normal: str) -> None:
    assert normal_target(text) == normal
