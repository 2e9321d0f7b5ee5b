"""Rows that are converted value by value."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bridge.capture.rawrows import convert, row_image
from bridge.capture.rowsql import LARGEST_ROW
from bridge.change.batch import BadRow
from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan
from bridge.types.base import ColumnPlan, SourceColumn
from tests.plans import plan


def _plan() -> TablePlan:
    made = plan("t", [("id", "smallint"), ("v", "text")])
    text = SourceColumn("v", 2, "text", "text", charset="utf8mb4")
    return replace(made, columns=(made.columns[0], ColumnPlan(text, "v", "text")))


def test_a_line() -> None:
    assert convert(_plan(), [b"3", b"00", b"7", b"a\tb"], "here") == b"7\ta\\tb"
    assert convert(_plan(), [b"0", b"01", b"7", None], "here") == b"7\t\\N"


def test_a_bad_value() -> None:
    bad = convert(_plan(), [b"3", b"00", b"7", b"a\0b"], "here")
    assert isinstance(bad, BadRow)
    assert (bad.key, bad.code, bad.column, bad.at) == (b"7", "nul-character", "v", "here")
    assert json.loads(bad.raw) == {"id": "7", "v": "a\0b"}


@pytest.mark.parametrize("size", [str(LARGEST_ROW + 1).encode(), b"500"])
def test_a_value_that_was_not_sent(size: bytes) -> None:
    """Left out because the row is too large, or NULL because it passes max_allowed_packet."""
    bad = convert(_plan(), [size, b"00", b"7", None], "here")
    assert isinstance(bad, BadRow)
    assert (bad.key, bad.code, bad.raw) == (b"7", "row-too-large", b"")


@pytest.mark.parametrize(("value", "null"), [(b"40000", b"0"), (None, b"1")])
def test_a_bad_key(value: bytes | None, null: bytes) -> None:
    with pytest.raises(TableStopped) as stopped:
        convert(_plan(), [b"1", null + b"0", value, b"a"], "here")
    assert stopped.value.code == "bad-key"


def test_images_hold_what_is_no_text_and_the_beginning_of_what_is_long() -> None:
    image = json.loads(row_image(_plan(), [b"\xff", b"x" * (3 << 20)]))
    assert image["id"] == {"hex": "ff"}
    assert image["v"]["bytes"] == 3 << 20
    assert len(image["v"]["beginning"]) == 1 << 20
    assert json.loads(row_image(_plan(), [None, "é".encode()])) == {"id": None, "v": "é"}
