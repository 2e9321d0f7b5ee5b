"""Spans of wall-clock time that a zone has twice or never."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.types.zones import known, odd_spans, offset_text

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]
at = datetime.fromisoformat


def test_the_hour_that_comes_twice() -> None:
    spans = [span for span in odd_spans("Europe/Berlin") if span.start.year == 2024]
    assert [(s.start, s.end, s.fold) for s in spans] == [
        (at("2024-03-31 02:00:00"), at("2024-03-31 03:00:00"), False),
        (at("2024-10-27 02:00:00"), at("2024-10-27 03:00:00"), True),
    ]
    assert {(span.earlier, span.later) for span in spans} == {
        (timedelta(hours=2), timedelta(hours=1))
    }


def test_zones_without_changes() -> None:
    assert odd_spans("UTC") == ()
    assert odd_spans("Etc/GMT+5") == ()


@pytest.mark.parametrize("zone", ZONES)
def test_spans_are_in_order_and_apart(zone: str) -> None:
    spans = odd_spans(zone)
    assert all(span.start < span.end for span in spans)
    assert all(one.end <= other.start for one, other in pairwise(spans))


@pytest.mark.parametrize("zone", ZONES)
@given(moment=st.datetimes(at("1900-01-01"), at("2100-12-31")))
def test_a_time_is_odd_when_python_finds_two_offsets(zone: str, moment: datetime) -> None:
    info = ZoneInfo(zone)
    offsets = {moment.replace(tzinfo=info, fold=fold).utcoffset() for fold in (0, 1)}
    odd = any(span.start <= moment < span.end for span in odd_spans(zone))
    assert odd == (len(offsets) == 2)


def test_offsets() -> None:
    texts = [offset_text(timedelta(seconds=s)) for s in (0, 7200, -18000, 20700, -2670)]
    assert texts == ["+00:00", "+02:00", "-05:00", "+05:45", "-00:44:30"]


def test_known() -> None:
    assert known("Europe/Berlin")
    assert not any(known(zone) for zone in ("Mars/Olympus", "", "/etc/passwd", "a\0b", "Europe"))
