"""The table of codes."""

from __future__ import annotations

import re

import pytest

from bridge.findings import CODES, Code, find_code, finding
from bridge.findings.data import DATA
from bridge.findings.grants import GRANTS
from bridge.findings.server import SERVER
from bridge.findings.tables import TABLES


@pytest.mark.parametrize(
    ("letter", "codes"), [("D", DATA), ("G", GRANTS), ("S", SERVER), ("T", TABLES)]
)
def test_codes_are_unique_and_well_formed(letter: str, codes: tuple[Code, ...]) -> None:
    assert len({code.slug for code in CODES.values()}) == len(CODES)
    assert len(CODES) == len(DATA) + len(GRANTS) + len(SERVER) + len(TABLES)
    for code in codes:
        assert re.fullmatch(letter + r"\d{3}", code.code)
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", code.slug)


def test_a_code_is_found_by_number_and_name() -> None:
    assert find_code("d017") is find_code("zero-date") is CODES["D017"]
    assert find_code("nothing") is None


def test_a_finding_takes_from_its_code_what_is_not_said() -> None:
    one = finding("D017", table="shop.orders", column="shipped", count=3)
    assert (one.slug, one.severity, one.hint) == ("zero-date", "warning", CODES["D017"].hint)
    assert finding("D017", hint="", severity="info").hint == ""
