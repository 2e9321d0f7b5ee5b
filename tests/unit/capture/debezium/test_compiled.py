"""What the compiled reader takes, and that it reads nothing otherwise than the decoder in Python.

All tests beside this one compare both (conftest.py); these are about the reader alone.
"""

from __future__ import annotations

import gc
import json
import random
import sys
from base64 import b64encode
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.capture.debezium import compiled
from bridge.capture.debezium.rows import EventDecoder, compile_events
from bridge.capture.debezium.settings import read_settings
from bridge.errors import TableStopped
from bridge.types.events import EventSettings
from tests.data.debezium.record import EVERY, MODES
from tests.unit.capture.debezium.both import compare
from tests.unit.capture.debezium.samples import PLACE, encoded, event, schema, table
from tests.unit.capture.debezium.test_recorded import config, messages, plan

pytestmark = pytest.mark.skipif(
    compiled.READER is None,
    reason="the compiled reader was not built: that takes a C compiler and Python.h",
)
SPECS = [
    ("a", "int NOT NULL", "integer"),
    ("b", "varchar(20) NOT NULL", "varchar(20)"),
    ("n", "bigint unsigned", "numeric(20,0)"),
    ("t", "text", "text"),
    ("s", "varchar(20)", "varchar(3)"),
    ("d", "decimal(12,2)", "numeric(12,2)"),
    ("w", "decimal(30,4)", "numeric(30,4)"),
    ("at", "datetime(6)", "timestamp(6)"),
    ("sec", "datetime", "timestamp(0)"),
    ("day", "date", "date"),
    ("ts", "timestamp(3)", "timestamptz(3)"),
    ("f", "double", "double precision"),
    ("ok", "bit(1)", "boolean"),
    ("z", "blob", "bytea"),
    ("j", "json", "jsonb"),
    ("unused", "int", "integer"),
]
OFF = EventSettings(schemas=False)
ROW: dict[str, Any] = {
    "a": 1, "b": "ä\t\\", "n": -1, "t": 'a "text"\n', "s": "é", "d": "BNI=", "w": "APs=",
    "at": 1700000000123456, "sec": 1700000000000, "day": 19000, "ts": "2024-01-01T10:00:00.123Z",
    "f": 1.5, "ok": True, "z": "AP8=", "j": '{"a": "\\n"}', "unused": 9,
}  # fmt: skip


def made(key: int = 2, chosen: EventSettings = OFF, flavor: str = "mysql") -> EventDecoder:
    return compile_events(table(SPECS, key, dropped=["unused"], flavor=flavor), chosen)


def taken(message: Any, decoder: EventDecoder | None = None) -> bool:
    """Whether the reader took it, just as the decoder does."""
    value = message if isinstance(message, bytes) else encoded(message)
    return compare(decoder or made(), value, {}, PLACE)[1]


def take(decoder: EventDecoder, value: bytes) -> int:
    assert decoder.reader is not None
    return decoder.reader.take(value, {})


def read(decoder: EventDecoder, value: bytes) -> None:
    """Alike, or by neither."""
    with suppress(TableStopped):
        compare(decoder, value, {}, PLACE)


def refused(value: bytes, decoder: EventDecoder | None = None) -> None:
    """The decoder refuses it, so the reader must not have taken it."""
    with pytest.raises(TableStopped):
        compare(decoder or made(), value, {}, PLACE)


@pytest.mark.parametrize("flavor", ["mysql", "mariadb"])
@pytest.mark.parametrize("key", [1, 2])
def test_usual_changes_are_taken(key: int, flavor: str) -> None:
    decoder = made(key, flavor=flavor)
    assert taken(event("c", None, ROW), decoder)
    assert taken(event("u", {**ROW, "n": 4}, ROW), decoder)
    assert taken(event("u", {**ROW, "a": 4}, ROW), decoder)
    assert taken(event("d", ROW, None), decoder)
    nothing = {name: None for name in ROW if name not in ("a", "b")}
    assert taken(event("c", None, {**ROW, **nothing}), decoder)
    assert taken(json.dumps(event("c", None, ROW), indent=1).encode(), decoder)
    assert taken(event("c", None, dict(reversed(ROW.items()))), decoder)
    assert taken(event("c", None, {k: v for k, v in ROW.items() if k != "unused"}), decoder)


@pytest.mark.parametrize("op", ["r", "t"])
def test_snapshots_and_truncations_are_left(op: str) -> None:
    assert not taken(event(op, None, ROW if op == "r" else None))


def test_rows_of_a_snapshot_are_left() -> None:
    for told in ("true", "incremental", "last", True):
        assert not taken(event("c", None, ROW, snapshot=told))


@pytest.mark.parametrize(
    "more",
    [
        {"gtid": None},
        {"row": None},
        {"snapshot": None},
        {"snapshot": False},
        {"query": "SELECT \"'\\"},
        {"ts_ms": 5},
    ],
)
def test_what_the_source_block_may_hold(more: dict[str, Any]) -> None:
    assert taken(event("u", ROW, ROW, **more))


def test_an_event_with_its_place_in_a_transaction() -> None:
    message = event("u", ROW, ROW)
    message["transaction"] = {"id": "a:1", "total_order": 2, "data_collection_order": 1}
    assert taken(message)


def test_embedded_schemas() -> None:
    """The first event tells what stands before the payloads; another schema is looked at again."""
    specs = [("a", "int NOT NULL", "integer"), ("t", "text", "text")]
    decoder = compile_events(table(specs), EventSettings())
    fields = [("a", "int32"), ("t", "string")]
    message = encoded(event("c", None, {"a": 1, "t": "x"}), schema(fields))
    other = encoded(event("c", None, {"a": 1, "t": "x"}), {**schema(fields), "version": 2})
    found = [taken(value, decoder) for value in (message, message, other, other)]
    assert found == [False, True, False, True]
    refused(other[:-1], decoder)


def test_a_table_without_a_key_has_no_reader() -> None:
    assert made(key=0).reader is None


def test_names_that_json_escapes_have_no_reader() -> None:
    specs = [("a", "int NOT NULL", "integer"), ('q"', "int", "integer")]
    assert compile_events(table(specs), OFF).reader is None


# -- values ------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(
    ["\0", "\ufffd", "é" * 4, "\\", "\t", "\U0001f600", "\u2028", OFF.placeholder, '"', "/"]
)
WHOLE = st.integers(-(2**70), 2**70) | st.integers(-3, 3) | st.sampled_from([2**63, -(2**63)])
BASE64 = st.binary(max_size=14).map(lambda raw: b64encode(raw).decode())
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 1.5, -0.0, 1e300, "", "x", [], {}, {"a": 1}, "QR==", "Q"]
)
MOMENTS = st.integers(-(10**17), 3 * 10**17) | st.integers(-(10**10), 10**10)
PRINTED = st.sampled_from(
    ["2024-01-01T10:00:00.123Z", "2024-01-01T10:00:00.12Z", "2024-01-01T10:00:00Z",
     "2024-01-01T10:00:00.1234Z", "2024-01-01 10:00:00.123Z", "2024-01-0xT10:00:00.123Z",
     "2024-01-01T10:00:00,123Z", "2024-01-01T10:00:00.123z", "2024-13-41T99:00:00.123Z"]
)  # fmt: skip
OF_COLUMN = {
    "a": WHOLE, "b": TEXTS, "n": WHOLE, "t": TEXTS, "s": TEXTS, "d": BASE64, "w": BASE64,
    "at": MOMENTS, "sec": MOMENTS, "day": st.integers(-800_000, 3_000_000), "ts": PRINTED,
    "f": st.floats(allow_nan=False, allow_infinity=False) | WHOLE, "ok": st.booleans(),
    "z": BASE64, "j": TEXTS.map(json.dumps) | TEXTS, "unused": WHOLE | TEXTS,
}  # fmt: skip


@given(st.data(), st.booleans(), st.sampled_from(["mysql", "mariadb"]))
def test_every_value_is_read_alike(data: st.DataObject, escapes: bool, flavor: str) -> None:
    """`escapes`: with as many backslashes as there can be."""
    name = data.draw(st.sampled_from(list(OF_COLUMN)))
    value = data.draw(OF_COLUMN[name] | ODD)
    message = event("u", ROW, {**ROW, name: value})
    raw = json.dumps(message).encode() if escapes else encoded(message)
    read(cached(flavor), raw)


@pytest.mark.parametrize(
    "text", ["0.00", "-12.5", "1E+3", "1E-7", "+5", "05", "5.", ".5", "", "x", "1e3", "1\u0660"]
)
@pytest.mark.parametrize("careful", [False, True])
def test_printed_decimals_are_read_alike(text: str, careful: bool) -> None:
    decoder = made(chosen=EventSettings(decimal="string", schemas=False))
    changed = {**ROW, "d": text, "w": "1", "t": "\\" if careful else "t", "b": "b", "j": "1"}
    read(decoder, encoded(event("c", None, changed)))
    assert taken(event("c", None, {**changed, "d": "-0.50"}), decoder)


@cache
def cached(flavor: str) -> EventDecoder:
    return made(flavor=flavor)


# -- JSON --------------------------------------------------------------------------------------


@given(st.data())
def test_broken_messages_are_read_alike(data: st.DataObject) -> None:
    """Bytes changed, left out, and put in, anywhere in an update."""
    raw = bytearray(encoded(event("u", {**ROW, "n": 3}, ROW)))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(raw) - 1))
        end = place + data.draw(st.integers(0, 3))
        raw[place:end] = data.draw(
            st.binary(max_size=2) | st.sampled_from([b'"', b"\\", b"{", b"}", b",", b":", b"0"])
        )
    read(cached("mysql"), bytes(raw))


def recorded(mode: str) -> tuple[EventDecoder, list[bytes]]:
    """Events of every type; the name with a quote would leave all of them to the decoder."""
    sent = messages(mode, f"recorded.{EVERY}")
    values = [value.replace(b'c\\"3', b"c_3") for value in sent if value is not None]
    return compile_events(plan(mode, {'c"3': "c_3"}), read_settings(config(mode))), values


@pytest.mark.parametrize("mode", MODES)
def test_recorded_changes_are_taken(mode: str) -> None:
    decoder, values = recorded(mode)
    found = [compare(decoder, value, {}, PLACE) for value in values]
    assert "c" in {told.op for told, was_taken in found if was_taken}
    assert {told.op for told, was_taken in found if not was_taken} == {"r"}


@pytest.mark.parametrize("mode", MODES)
def test_recorded_changes_with_a_wrong_byte_are_read_alike(mode: str) -> None:
    decoder, values = recorded(mode)
    chance = random.Random(mode)
    for value in values:
        for _ in range(20):
            broken = bytearray(value)
            broken[chance.randrange(len(value))] = chance.randrange(256)
            read(decoder, bytes(broken))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"op":"u"', b'"op":"uu"'),
        (b'"op":"u"', b'"op":1'),
        (b'"row":0', b'"row":00'),
        (b'"pos":484', b'"pos":"484"'),
        (b'"pos":484,', b""),
        (b'"db":"shop"', b'"db":"Shop"'),
        (b'"table":"orders"', b'"table":"orders2"'),
        (b'"thread":7', b'"thread":+7'),
        (b'"thread":7', b'"thread":.7'),
        (b'"thread":7', b'"thread":7.'),
        (b'"thread":7', b'"thread":1e'),
        (b'"thread":7', b'"thread":nul'),
        (b'"thread":7', b'"thread":[1,]'),
        (b'"thread":7', b'"thread":{"a"}'),
        (b'"thread":7', b'"thread":"\t"'),
        (b'"thread":7', b'"thread":"\\x"'),
        (b'"thread":7', b'"thread":"\\u12g4"'),
        (b'"thread":7', b'"thread":'),
        (b'"thread":7', b'"thread"'),
        (b'"unused":9}', b'"unused":9,}'),
    ],
)
def test_what_is_no_event_of_the_table(old: bytes, new: bytes) -> None:
    value = encoded(event("u", ROW, ROW))
    assert value.count(old)
    refused(value.replace(old, new))


@pytest.mark.parametrize("more", [b"}", b" x", b',"a":1'])
def test_what_stands_behind_an_event(more: bytes) -> None:
    value = encoded(event("u", ROW, ROW))
    assert taken(value + b" ")
    refused(value + more)


def test_the_same_field_twice() -> None:
    value = encoded(event("c", None, ROW))
    assert not taken(value.replace(b'"n":-1', b'"n":-1,"n":2'))


def test_deep_nesting_is_left() -> None:
    value = encoded(event("c", None, ROW))
    for depth, usual in ((20, True), (40, False)):
        nested = b"[" * depth + b"]" * depth
        assert taken(value.replace(b'"thread":7', b'"thread":' + nested)) is usual


def test_large_events_are_left() -> None:
    """What they need is not kept for the small ones."""
    decoder = made()
    for length, usual in ((compiled.MOST_BYTES - 2000, True), (compiled.MOST_BYTES, False)):
        assert taken(event("c", None, {**ROW, "t": "x" * length}), decoder) is usual


def test_invalid_utf8() -> None:
    value = encoded(event("c", None, {**ROW, "t": "XY"}))
    for wrong in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82", b"\xc3"):
        refused(value.replace(b"XY", wrong))
    for right in ("é", "€", "\U0001f600", "\U0010ffff", "\ud7ff"):
        assert taken(value.replace(b"XY", right.encode()))


def test_bad_arguments() -> None:
    reader = made().reader
    assert reader is not None
    several: list[tuple[Any, ...]] = [("text", {}), (b"", []), (b"",), (b"", {}, 1)]
    for wrong in several:
        with pytest.raises(TypeError):
            reader.take(*wrong)
    with pytest.raises(TypeError):
        reader.head = "text"  # type: ignore[assignment]


@pytest.mark.parametrize(
    "column",
    [
        ("since", 1000, 4, "int"),
        ("since", 0, 0, "int"),
        ("since", 1000, -1, "int"),
        ("sinc", 1, 0, "int"),
        ("call", 0, -1, "list"),
    ],
)
def test_columns_that_nobody_can_read(column: tuple[str, int, int, str]) -> None:
    assert compiled.READER is not None
    bad: Any = (*column, False, None, str.encode)
    with pytest.raises(ValueError, match=r"\w"):
        compiled.READER(b"shop", b"t", (bad,), 1, ((b"a", 0),), None, 1000)
    good = ("integer", 0, -1, "int", False, None, str.encode)
    for key, fields in ((0, ((b"a", 0),)), (2, ((b"a", 0),)), (1, ((b"a", 1),))):
        with pytest.raises(ValueError, match=r"\w"):
            compiled.READER(b"shop", b"t", (good,), key, fields, None, 1000)


def test_nothing_is_kept() -> None:
    """Whatever becomes of an event, and of the reader."""
    values = [
        encoded(event(*change))
        for change in (
            ("c", None, ROW),
            ("u", {**ROW, "a": 2}, ROW),
            ("c", None, {**ROW, "f": "x"}),
            ("c", None, {**ROW, "s": "éééé"}),
            ("c", None, {**ROW, "j": "no JSON"}),
        )
    ]
    decoder, kept = made(), []
    for _ in range(4):
        for number in range(1000):
            take(decoder, values[number % len(values)])
            take(decoder, values[0][: number % len(values[0])])
        for _ in range(200):
            compiled.reader_of(decoder.plan, decoder._columns, OFF, 1000)
        gc.collect()
        kept.append(sys.getallocatedblocks())
    assert kept[-1] - kept[1] < 150, kept
