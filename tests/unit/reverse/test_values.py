"""What the source's columns hold, and what they do not; without a server."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.reverse.fitness import obstacles
from bridge.reverse.values import Unheld, constant_of, null_of
from bridge.reverse.values.base import quoted
from bridge.types.base import ColumnPlan, Policy, SourceColumn
from bridge.types.charsets import DECODERS, encoder
from bridge.types.table import SourceTable

TINY = SourceColumn("c", 1, "tinyint", "tinyint unsigned", unsigned=True)
PRICE = SourceColumn("c", 1, "decimal", "decimal(6,2)", precision=6, scale=2)
NAME = SourceColumn("c", 1, "varchar", "varchar(3)", length=3, charset="utf8mb4")
FIXED = replace(NAME, data_type="char")
LATIN = replace(NAME, charset="latin1")
BMP = replace(NAME, charset="utf8mb3")
MOMENT = SourceColumn("c", 1, "datetime", "datetime(3)", fsp=3)
STAMP = SourceColumn("c", 1, "timestamp", "timestamp")
SPAN = SourceColumn("c", 1, "time", "time(1)", fsp=1)
YEAR = SourceColumn("c", 1, "year", "year(4)")
TAGS = SourceColumn("c", 1, "set", "set('a','b,c')", labels=("a", "b c"))
DOC = SourceColumn("c", 1, "json", "json")
SINGLE = SourceColumn("c", 1, "float", "float")

HELD = [
    (TINY, "smallint", b"255", b"255"),
    (TINY, "boolean", b"t", b"1"),
    (TINY, "numeric", b"7.00", b"7"),
    (TINY, "text", b"7", b"7"),
    (PRICE, "numeric(6,2)", b"-9999.99", b"-9999.99"),
    (PRICE, "numeric", b"1.5000", b"1.5000"),
    (NAME, "text", b"a'\\", b"'a\\'\\\\'"),
    (NAME, "text", "日😀é".encode(), "'日😀é'".encode()),
    (LATIN, "text", "é€".encode(), b"_latin1 x'e980'"),
    (MOMENT, "timestamp(3)", b"0001-01-01 00:00:00", b"'0001-01-01 00:00:00'"),
    (STAMP, "timestamptz(0)", b"2038-01-19 03:14:07+00", b"'2038-01-19 03:14:07'"),
    (SPAN, "interval", b"-838:59:59", b"'-838:59:59'"),
    (YEAR, "smallint", b"1901", b"1901"),
    (TAGS, "text[]", b'{a,"b c"}', b"3"),
    (DOC, "jsonb", b'{"a": 18446744073709551615}', b"'{\"a\": 18446744073709551615}'"),
    (DOC, "jsonb", b"[" * 100 + b"]" * 100, b"'" + b"[" * 100 + b"]" * 100 + b"'"),
    (DOC, "jsonb", b"[" * 99 + b'"["' + b"]" * 99, b"'" + b"[" * 99 + b'"["' + b"]" * 99 + b"'"),
    (SINGLE, "real", b"0.1", b"'0.10000000149011612'"),
    (SINGLE, "real", b"-0", b"'-0'"),
]
UNHELD = [
    (TINY, "numeric", b"256", "out-of-range"),
    (TINY, "numeric", b"1.5", "out-of-range"),
    (TINY, "numeric", b"NaN", "out-of-range"),
    (TINY, "text", b"007", "not-a-number"),
    (PRICE, "numeric", b"10000", "out-of-range"),
    (PRICE, "numeric", b"0.001", "out-of-range"),
    (PRICE, "text", b"1.5", "out-of-range"),
    (NAME, "text", b"abcd", "too-long"),
    (FIXED, "text", b"ab ", "trailing-spaces"),
    (LATIN, "text", "日".encode(), "not-in-charset"),
    (BMP, "text", "😀".encode(), "not-in-charset"),
    (MOMENT, "timestamp(6)", b"2024-01-01 00:00:00.1234", "out-of-range"),
    (MOMENT, "timestamp(3)", b"0001-01-01 00:00:00 BC", "out-of-range"),
    (MOMENT, "timestamp(3)", b"10000-01-01 00:00:00", "out-of-range"),
    (MOMENT, "timestamp(3)", b"-infinity", "out-of-range"),
    (STAMP, "timestamptz(0)", b"2038-01-19 03:14:08+00", "out-of-range"),
    (SPAN, "interval", b"1 day 02:00:00", "out-of-range"),
    (SPAN, "interval", b"838:59:59.1", "out-of-range"),
    (SPAN, "interval", b"00:00:00.05", "out-of-range"),
    (SPAN, "time(1)", b"24:00:00", "out-of-range"),
    (YEAR, "smallint", b"1900", "out-of-range"),
    (TAGS, "text[]", b'{"b c",a}', "not-as-declared"),
    (TAGS, "text[]", b"{d}", "unknown-label"),
    (TAGS, "text[]", b"{NULL}", "unknown-label"),
    (DOC, "jsonb", b"12345678901234567890123", "out-of-range"),
    (DOC, "jsonb", b"[" * 101 + b"]" * 101, "too-deep"),
    (DOC, "jsonb", b"[" * 100 + b"1" + b"]" * 100, "too-deep"),
    (DOC, "jsonb", b'{"a": [' * 60 + b"]}" * 60, "too-deep"),
    (DOC, "jsonb", b'{"a": ' * 100 + b'"b"' + b"}" * 100, "too-deep"),
    (DOC, "json", b'{"a":1}', "not-as-printed"),
    (SINGLE, "double precision", b"0.1", "out-of-range"),
    (SINGLE, "real", b"Infinity", "out-of-range"),
]


@pytest.mark.parametrize(("source", "target", "text", "constant"), HELD)
def test_what_is_held(source: SourceColumn, target: str, text: bytes, constant: bytes) -> None:
    assert constant_of(ColumnPlan(source, "c", target))(text) == constant


@pytest.mark.parametrize(("source", "target", "text", "code"), UNHELD)
def test_what_is_not(source: SourceColumn, target: str, text: bytes, code: str) -> None:
    with pytest.raises(Unheld) as caught:
        constant_of(ColumnPlan(source, "c", target))(text)
    assert caught.value.code == code


def test_the_zero_date_comes_back_where_it_was() -> None:
    day = SourceColumn("c", 1, "date", "date", nullable=False)
    as_null = ColumnPlan(day, "c", "date", policy=Policy(zero_date="as-null"))
    assert null_of(as_null) == b"'0000-00-00'"
    assert null_of(ColumnPlan(day, "c", "date")) is None
    assert null_of(ColumnPlan(replace(day, nullable=True), "c", "date")) == b"NULL"
    stand_in = ColumnPlan(
        MOMENT, "c", "timestamp(3)", policy=Policy(zero_date="sentinel:1970-01-01")
    )
    assert constant_of(stand_in)(b"1970-01-01 00:00:00") == b"'0000-00-00 00:00:00'"


def test_times_of_a_zone() -> None:
    def berlin(ambiguous: str) -> ColumnPlan:
        policy = Policy(zone="Europe/Berlin", ambiguous=ambiguous)
        return ColumnPlan(MOMENT, "c", "timestamptz(3)", policy=policy)

    summer, winter = b"2024-10-27 00:30:00+00", b"2024-10-27 01:30:00+00"
    assert constant_of(berlin("earlier"))(summer) == b"'2024-10-27 02:30:00'"
    assert constant_of(berlin("later"))(winter) == b"'2024-10-27 02:30:00'"
    for choice, text in (("quarantine", summer), ("earlier", winter), ("later", summer)):
        with pytest.raises(Unheld, match="ambiguous-time"):
            constant_of(berlin(choice))(text)
    last = constant_of(berlin("later"))(b"9999-12-31 22:59:59.5+00")
    assert last == b"'9999-12-31 23:59:59.5'"
    with pytest.raises(Unheld):
        constant_of(berlin("later"))(b"9999-12-31 23:00:00+00")


@given(st.binary())
def test_a_constant_ends_where_it_should(raw: bytes) -> None:
    inner = quoted(raw)[1:-1]
    assert b"'" not in inner.replace(b"\\\\", b"").replace(b"\\'", b"")
    assert not inner.replace(b"\\\\", b"").replace(b"\\'", b"").endswith(b"\\")


@given(st.sampled_from(sorted(DECODERS)), st.text(max_size=8))
def test_text_is_written_as_it_is_read(charset: str, text: str) -> None:
    try:
        raw = encoder(charset)(text)
    except UnicodeEncodeError:
        assert any(not char.isascii() for char in text) or charset == "swe7"
        return
    assert DECODERS[charset](raw) == text


def test_what_stands_in_the_way_of_a_table() -> None:
    key = SourceColumn("id", 1, "int", "int", nullable=False)
    only = SourceColumn("only", 2, "int", "int", nullable=False)
    table = SourceTable(TableName("s", "t"), "mysql", "MyISAM", (key, only, TINY), ("id",))
    clamped = ColumnPlan(TINY, "c", "smallint", policy=Policy(out_of_range="clamp"))
    columns = (ColumnPlan(key, "id", "integer"), clamped)
    plan = TablePlan(table, TableName("s", "t"), columns, 1, "v", where="id > 1")
    found = list(obstacles(plan))
    assert [one.refuses for one in found] == [True, True, True, False]
    fine = replace(table, engine="InnoDB", columns=(key, TINY))
    assert list(obstacles(replace(plan, table=fine, where="", columns=columns[:1]))) != found
