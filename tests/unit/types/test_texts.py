"""Escapes, numbers and target types as text."""

from __future__ import annotations

import pytest

from bridge.types.copytext import escape, literal
from bridge.types.enums import array_element
from bridge.types.floats import mysql_double
from bridge.types.json_binary import json_double, quoted
from bridge.types.target import Target, target_of
from tests.unit.types.columns import plan


def test_escape() -> None:
    assert escape(b"a\\b\tc\nd\re\b\0") == b"a\\\\b\\tc\\nd\\re\b\0"
    assert escape(b"\\N") == b"\\\\N"


def test_literal() -> None:
    assert literal("") == "_utf8mb4 ''"
    assert literal("a'\\") == "_utf8mb4 0x61275c"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "-0"), (1.0, "1"), (0.1, "0.1"), (1e15, "1e15"), (1e16, "1e16"),
        (123456789012345.0, "123456789012345"), (1234567890123456.0, "1.234567890123456e15"),
        (1234567890123456.8, "1234567890123456.8"), (1e-5, "0.00001"), (1e-15, "0.000000000000001"),
        (1e-16, "1e-16"), (1.5e-15, "0.0000000000000015"), (5e-324, "5e-324"), (1e300, "1e300"),
        (-1.7976931348623157e308, "-1.7976931348623157e308"), (1e22, "1e22"),
        (2.5e-8, "0.000000025"),
    ],
)  # fmt: skip
def test_doubles_as_the_servers_print_them(value: float, text: str) -> None:
    assert mysql_double(value) == text


def test_json_numbers_keep_a_point() -> None:
    assert [json_double(value) for value in (1.0, -0.0, 1e16, 0.5)] == [
        b"1.0", b"-0.0", b"1e16", b"0.5",
    ]  # fmt: skip


def test_json_strings() -> None:
    assert quoted(b'a"\\\b\f\n\r\t\x01\x1f\x7f/') == b'"a\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f/"'


def test_array_elements() -> None:
    plain = {"a", "ä", "it's", "%", "nul", "(x)"}
    assert {array_element(label) for label in plain} == plain
    assert array_element("") == '""'
    assert array_element("NULL") == '"NULL"'
    assert array_element('a "b\\') == '"a \\"b\\\\"'


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("numeric(20,0)", Target("numeric", (20, 0))),
        ("double precision", Target("double precision")),
        ("text[]", Target("text[]")), ("varchar(10)", Target("varchar", (10,))),
        ("Timestamp(3)", Target("timestamp", (3,))), ("strange!", Target("strange!")),
    ],
)  # fmt: skip
def test_targets(text: str, target: Target) -> None:
    assert target_of(plan("int", text)) == target


def test_ranges() -> None:
    assert Target("smallint").integers == (-32768, 32767)
    assert Target("numeric", (5, 2)).integers == (-999, 999)
    assert Target("numeric").integers is None
    assert Target("varchar", (7,)).limit == 7
