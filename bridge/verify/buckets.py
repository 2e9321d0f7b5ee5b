"""Buckets of an integer key: ``key DIV width``, which cuts towards zero on every server (pure)."""

from __future__ import annotations

from collections.abc import Sequence


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


def together(buckets: Sequence[tuple[int, int]], rows: int, most: int) -> list[list[int]]:
    """Buckets, given with their numbers of rows, in batches of at most `rows` rows and `most`.

    A bucket with more rows is a batch of its own.
    """
    found: list[list[int]] = []
    room = 0
    for bucket, count in buckets:
        if not found or count > room or len(found[-1]) >= most:
            found.append([])
            room = rows
        found[-1].append(bucket)
        room -= count
    return found
