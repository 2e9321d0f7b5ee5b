"""Rows events as no server at hand writes them: of old servers, or of other types than known."""

from __future__ import annotations

from datetime import datetime, timedelta
from struct import pack, unpack
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.errors import BadValue, SourceError, TableStopped
from bridge.types import FAMILIES, layout
from bridge.types.base import ColumnPlan
from bridge.types.json_binary import json_text
from bridge.types.layout import decimal_size
from bridge.types.zipped import unzipped
from tests.unit.types.columns import column, family, plan


def read(chosen: ColumnPlan, code: int, meta: int, raw: bytes) -> Any:
    """The value of raw bytes as generated code would compute it."""
    wire = family(chosen.source).wire(chosen, code, meta)
    value = unpack("<" + wire.struct, raw)[0] if wire.struct else raw
    names = dict(wire.names)
    text = eval(wire.expression.format(v="value"), {**names, "value": value})  # noqa: S307
    return wire.format.encode() % (text,)


@pytest.mark.parametrize(
    ("code", "meta", "size"),
    [
        (layout.TINY, 0, (1, 0)), (layout.SHORT, 0, (2, 0)), (layout.INT24, 0, (3, 0)),
        (layout.LONG, 0, (4, 0)), (layout.LONGLONG, 0, (8, 0)), (layout.FLOAT, 4, (4, 0)),
        (layout.DOUBLE, 8, (8, 0)), (layout.YEAR, 0, (1, 0)), (layout.DATE, 0, (3, 0)),
        (layout.DATETIME, 0, (8, 0)), (layout.TIMESTAMP, 0, (4, 0)), (layout.TIME, 0, (3, 0)),
        (layout.DATETIME2, 0, (5, 0)), (layout.DATETIME2, 1, (6, 0)), (layout.DATETIME2, 6, (8, 0)),
        (layout.TIMESTAMP2, 3, (6, 0)), (layout.TIME2, 5, (6, 0)), (layout.BIT, 1, (1, 0)),
        (layout.BIT, 9, (2, 0)), (layout.BIT, 64, (8, 0)), (layout.ENUM, 2, (2, 0)),
        (layout.SET, 8, (8, 0)), (layout.STRING, 255, (0, 1)), (layout.STRING, 256, (0, 2)),
        (layout.VARCHAR, 255, (0, 1)), (layout.VARCHAR, 256, (0, 2)), (layout.BLOB, 3, (0, 3)),
        (layout.JSON, 4, (0, 4)), (layout.GEOMETRY, 4, (0, 4)), (layout.VECTOR, 4, (0, 4)),
        (layout.NEWDECIMAL, 10 << 8 | 2, (5, 0)), (layout.NEWDECIMAL, 65 << 8 | 30, (30, 0)),
        (layout.NEWDECIMAL, 1 << 8 | 1, (1, 0)), (layout.NULL, 0, (0, 0)),
    ],
)  # fmt: skip
def test_layout(code: int, meta: int, size: tuple[int, int]) -> None:
    assert layout.layout(code, meta) == size


def test_an_unknown_code_has_no_layout() -> None:
    with pytest.raises(SourceError, match="unknown type 200"):
        layout.layout(200, 0)


def test_decimal_size() -> None:
    assert [decimal_size(digits, 0) for digits in range(10)] == [0, 1, 1, 2, 2, 3, 3, 4, 4, 4]


def test_datetime_of_old_servers() -> None:
    chosen = plan("datetime", "timestamp(0)")
    assert read(chosen, layout.DATETIME, 0, pack("<q", 20240229123456)) == b"2024-02-29 12:34:56"
    with pytest.raises(BadValue, match="zero-date"):
        read(chosen, layout.DATETIME, 0, bytes(8))


def test_timestamp_of_old_servers() -> None:
    chosen = plan("timestamp", "timestamptz(0)")
    assert read(chosen, layout.TIMESTAMP, 0, pack("<I", 86_399)) == b"1970-01-01 23:59:59"
    with pytest.raises(BadValue, match="zero-date"):
        read(chosen, layout.TIMESTAMP, 0, bytes(4))


@pytest.mark.parametrize(
    ("number", "text"), [(-8385959, b"-838:59:59"), (123456, b"12:34:56"), (-1, b"-00:00:01")]
)
def test_time_of_old_servers(number: int, text: bytes) -> None:
    raw = number.to_bytes(3, "little", signed=True)
    assert read(plan("time", "interval"), layout.TIME, 0, raw) == text


@given(st.integers(1, 2**32 - 1))
def test_timestamps_up_to_2106(seconds: int) -> None:
    """MariaDB 11.5 reads the seconds as unsigned."""
    text = str(datetime.fromisoformat("1970-01-01") + timedelta(seconds=seconds)).encode()
    chosen = plan("timestamp", "timestamptz(0)")
    assert read(chosen, layout.TIMESTAMP2, 0, pack(">I", seconds)) == text


@pytest.mark.parametrize("kind", ["datetime", "timestamp", "time"])
def test_fractions_in_the_old_format_are_refused(kind: str) -> None:
    codes = {"datetime": layout.DATETIME, "timestamp": layout.TIMESTAMP, "time": layout.TIME}
    source = column(f"{kind}(3)")
    chosen = plan(source, family(source).proposals(source)[0].target_type)
    with pytest.raises(TableStopped) as caught:
        family(source).wire(chosen, codes[kind], 0)
    assert caught.value.code == "type-mismatch"


def test_dates_of_either_code() -> None:
    raw = (2024 << 9 | 2 << 5 | 29).to_bytes(3, "little")
    for code in (layout.DATE, layout.NEWDATE):
        assert read(plan("date", "date"), code, 0, raw) == b"2024-02-29"


@pytest.mark.parametrize("name", sorted(name for each in FAMILIES for name in each.names))
def test_another_type_in_the_binlog_stops_the_table(name: str) -> None:
    source = column({"enum": "enum('a')", "set": "set('a')"}.get(name, f"{name}(1)"))
    if name == "decimal":
        source = column("decimal(5,2)")
    target = family(source).proposals(source)[0].target_type
    with pytest.raises(TableStopped) as caught:
        family(source).wire(plan(source, target), layout.NULL, 0)
    assert caught.value.code == "type-mismatch"


@pytest.mark.parametrize(
    ("source", "code", "meta"),
    [
        ("decimal(10,2)", layout.NEWDECIMAL, 10 << 8 | 3), ("bit(9)", layout.BIT, 8),
        ("datetime(3)", layout.DATETIME2, 6), ("time", layout.TIME2, 1),
        ("int", layout.LONGLONG, 0),
    ],
)  # fmt: skip
def test_another_size_in_the_binlog_stops_the_table(source: str, code: int, meta: int) -> None:
    found = column(source)
    with pytest.raises(TableStopped, match="binlog"):
        family(found).wire(plan(found, family(found).proposals(found)[0].target_type), code, meta)


def test_labels_that_are_not_known() -> None:
    with pytest.raises(BadValue, match="unknown-label"):
        read(plan("enum('a','b')", "text"), layout.ENUM, 1, b"\3")
    with pytest.raises(BadValue, match="unknown-label"):
        read(plan("set('a','b')", "text[]"), layout.SET, 1, b"\4")


def test_compressed_values() -> None:
    assert unzipped(b"") == b""
    assert unzipped(b"\x00abc") == b"abc"
    with pytest.raises(SourceError, match="method 5"):
        unzipped(b"\x50abc")


@given(st.binary(max_size=60))
@example(b"\x01!\xca}\xcad\xd0\x02\xe8\x83K\x8d\x9e")  # 3,397,241,377 members
def test_bytes_that_are_no_document(raw: bytes) -> None:
    try:
        text = json_text(raw)
    except BadValue:
        return
    assert text


def test_names_of_generated_code_end_in_the_ordinal() -> None:
    """So that no two columns of a table share one."""
    seen = 0
    for each in FAMILIES:
        for name in each.names:
            source = column({"enum": "enum('a')", "set": "set('a')"}.get(name, name))
            for code, meta in ((code, meta) for code in range(256) for meta in (0, 1, 2, 4, 16)):
                target = each.proposals(source)[0].target_type
                try:
                    wire = each.wire(plan(source, target), code, meta)
                except TableStopped:
                    continue
                seen += 1
                assert all("_2" in name for name in wire.names), wire
    assert seen > 20
