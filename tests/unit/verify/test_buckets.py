"""Buckets cover every value once, on servers that cut towards zero."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.verify.buckets import bucket_bounds, bucket_width, together

NUMBERS = st.integers(min_value=-(2**63), max_value=2**64 - 1)


def _bucket(value: int, width: int) -> int:
    """What MySQL's DIV and PostgreSQL's / give."""
    return abs(value) // width * (1 if value >= 0 else -1)


@given(NUMBERS, st.integers(min_value=1, max_value=2**64))
def test_a_value_lies_in_its_bucket_and_in_no_other(value: int, width: int) -> None:
    bucket = _bucket(value, width)
    low, high = bucket_bounds(bucket, width)
    assert low <= value <= high
    assert _bucket(low, width) == _bucket(high, width) == bucket
    assert _bucket(high + 1, width) != bucket
    assert _bucket(low - 1, width) != bucket


@given(NUMBERS, NUMBERS, st.integers(min_value=0, max_value=1000))
def test_a_range_falls_into_about_as_many_buckets_as_asked(one: int, two: int, wanted: int) -> None:
    low, high = sorted((one, two))
    width = bucket_width(low, high, wanted)
    assert width >= 1
    assert (high - low) // width <= max(1, wanted)


@given(
    st.lists(st.integers(min_value=0, max_value=50)),
    st.integers(min_value=1, max_value=100),
    st.integers(min_value=1, max_value=9),
)
def test_buckets_come_together_and_none_is_lost(counts: list[int], rows: int, most: int) -> None:
    batches = together(list(enumerate(counts)), rows, most)
    assert [bucket for batch in batches for bucket in batch] == list(range(len(counts)))
    for batch in batches:
        assert len(batch) <= most
        assert len(batch) == 1 or sum(counts[bucket] for bucket in batch) <= rows
