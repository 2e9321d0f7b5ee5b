"""Buckets of an integer key: ``key DIV width``, which cuts towards zero on every server (pure)."""

from __future__ import annotations


def bucket_width(low: int, high: int, buckets: int) -> int:
    """The width with which the values from `low` to `high` fall into about so many buckets."""
    return max(1, -(-(high - low + 1) // max(1, buckets)))


def bucket_bounds(bucket: int, width: int) -> tuple[int, int]:
    """The least and the greatest value in a bucket; bucket 0 lies on both sides of zero."""
    if bucket > 0:
        return bucket * width, bucket * width + width - 1
    if bucket < 0:
        return bucket * width - width + 1, bucket * width
    return -(width - 1), width - 1
