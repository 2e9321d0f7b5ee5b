"""The table of codes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bridge
from bridge.findings import CODES, Code, find_code, finding
from bridge.findings.connector import CONNECTOR
from bridge.findings.data import DATA
from bridge.findings.grants import GRANTS
from bridge.findings.kafka import KAFKA
from bridge.findings.mapping import MAPPING
from bridge.findings.server import SERVER
from bridge.findings.stops import BAD_ROWS, STOPS
from bridge.findings.tables import TABLES

ALL = {
    "D": DATA, "G": GRANTS, "K": CONNECTOR + KAFKA, "M": MAPPING, "P": STOPS, "Q": BAD_ROWS,
    "S": SERVER, "T": TABLES,
}  # fmt: skip
ROOT = Path(bridge.__file__).parent


@pytest.mark.parametrize(("letter", "codes"), ALL.items())
def test_codes_are_unique_and_well_formed(letter: str, codes: tuple[Code, ...]) -> None:
    assert len({code.slug for code in CODES.values()}) == len(CODES)
    assert len(CODES) == sum(map(len, ALL.values()))
    for code in codes:
        assert re.fullmatch(letter + r"\d{3}", code.code)
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", code.slug)


def test_a_code_is_found_by_number_and_name() -> None:
    assert find_code("d017") is find_code("zero-date") is CODES["D017"]
    assert find_code("nothing") is None


def words_of(function: str, place: int) -> Iterator[str]:
    """The constants that the program hands to `function` as its code."""
    for path in ROOT.glob("**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == function:
                named = [word.value for word in node.keywords if word.arg == "code"]
                for value in [*named, *node.args[place : place + 1]]:
                    if isinstance(value, ast.Constant):
                        yield str(value.value)


@pytest.mark.parametrize(
    ("function", "place"), [("BadValue", 0), ("TableStopped", 2), ("table_stopped", 1)]
)
def test_every_word_that_a_table_or_a_row_shows_can_be_explained(function: str, place: int) -> None:
    words = set(words_of(function, place))
    assert words
    assert [word for word in words if find_code(word) is None] == []
    assert find_code("refused-23505") is CODES["Q009"]


def test_a_finding_takes_from_its_code_what_is_not_said() -> None:
    one = finding("D017", table="shop.orders", column="shipped", count=3)
    assert (one.slug, one.severity, one.hint) == ("zero-date", "warning", CODES["D017"].hint)
    assert finding("D017", hint="", severity="info").hint == ""
