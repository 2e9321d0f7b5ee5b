"""The sweep: every row of a table with a key, on either side, range by range.

The ranges follow one another in the source's key order, though two sessions may read them at the
same time (`bridge.verify.walk`). What lies between two keys is summed up in the source and, by the
same two keys, in the target. Where the sums agree the same rows are in both (their keys are
part of the hashes), whatever order either side sorts by; where they do not, the range is opened:
both sides' keys and hashes are compared, and what is unmatched goes to the recheck. So a range
need not hold the same rows on both sides for the result to be right: each side's ranges hold each
of its rows exactly once, and a row that is not matched within its range is looked up by its key.
Only the work grows.

Where the target's order turns out to be another one (strings in a case-insensitive collation), the
rest of the table goes the slow way: by key.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from bridge.names import bindable, quote_mysql, quote_postgres
from bridge.verify.buckets import bucket_bounds, together
from bridge.verify.pace import Pace
from bridge.verify.ranges import Range, Summed, bucket_of, leading_integer
from bridge.verify.readers import Sides
from bridge.verify.recheck import Key
from bridge.verify.source import SourceReader
from bridge.verify.target import TargetReader
from bridge.verify.walk import MOST_PLAIN_ROWS, Walk

OPEN_BUCKETS = 50
"""Buckets that differ are opened so many at a time."""
OPEN_ROWS = 20_000
"""A bucket with more rows is walked in smaller ranges instead of being opened at once."""


@dataclass(slots=True)
class Tally:
    """What the sweep found: rows that agree, the sum of their hashes, and the keys that do not.

    Where rows were compared all at once, the hash of all of them is in the sum instead of a hash of
    each: which are taken together hangs on the server's estimates, and on what differed. Where two
    hashes of each row are taken, for a certificate, the sum hangs on the rows alone.
    """

    rows: int = 0
    total: int = 0
    suspects: dict[Key, None] = field(default_factory=dict)

    def match(self, rows: int, total: int) -> None:
        """So many rows agree."""
        self.rows += rows
        self.total += total

    def compare(self, source: dict[Key, int], target: dict[Key, int]) -> int:
        """Compares rows by key; returns how many of the source's were not there at all."""
        absent = 0
        for key, value in source.items():
            other = target.pop(key, None)
            if other == value:
                self.match(1, value)
            else:
                self.suspects[key] = None
                absent += other is None
        self.suspects.update(dict.fromkeys(target))
        return absent


class Misordered(Exception):
    """The target's order is another one: the rest, after `lower`, goes by `lookup`."""

    def __init__(self, lower: Key | None) -> None:
        super().__init__(str(lower))
        self.lower = lower


class Sweep:
    """Compares one table.

    `walk` opens the sessions that read every row; `opened` serves what is looked at closely.
    """

    def __init__(
        self,
        walk: Callable[[], AbstractContextManager[Sides]],
        opened: Sides,
        tally: Tally,
        *,
        pace: Pace,
        relieve: Callable[[], None],
        progress: Callable[[int], None],
    ) -> None:
        self._walk = walk
        self._pace = pace
        self._source: SourceReader = opened.source
        self._target: TargetReader = opened.target
        self._tally = tally
        self._relieve = relieve
        self._progress = progress
        self._keys = opened.source.subject.keys
        self._first = leading_integer(opened.source.subject.plan.key_columns)

    def run(self, lower: Key | None = None, last: Key | None = None) -> Generator[Key, None, None]:
        """Compares the rows whose keys come after `lower`; yields the last key of each range.

        `last` ends it, with that key; only keys that begin with an integer have one.
        `relieve` is called whenever suspects have been added.
        """
        try:
            if self._first is None and not self._target.in_byte_order():
                raise Misordered(lower)
            with self._walk() as sides:
                walk = Walk(sides, self._pace)
                with contextlib.closing(walk.ranges(lower, last)) as ranges:
                    for summed in ranges:
                        if not summed.ordered:
                            raise Misordered(summed.range.lower)
                        self._look(walk, summed)
                        self._progress(sum(rows for rows, _ in summed.source.values()))
                        if summed.range.upper is not None:
                            yield summed.range.upper
        except Misordered as found:
            with self._walk() as sides:
                self._lookup(sides, found.lower)

    def _look(self, walk: Walk, summed: Summed) -> None:
        """Compares a range; where there is no sum of the target's, piece by piece."""
        if summed.cancelled:
            self._refine(replace(summed.range, width=0, coarse=False), 0)
            self._relieve()
        else:
            self._settle(self._in_buckets(walk, summed))

    def _in_buckets(self, walk: Walk, summed: Summed) -> Summed:
        """A range that was compared as a whole, summed in buckets if it differs."""
        if not summed.range.coarse or summed.source == summed.target:
            return summed
        walk.refine()
        piece = replace(summed.range, coarse=False)
        conditions, values = self._keys.target_range(piece.lower, piece.upper)
        mine = bucket_of(self._first, piece, "source")
        theirs = bucket_of(self._first, piece, "target")
        return Summed(
            piece,
            self._source.totals(self._keys.source_range(piece.lower, piece.upper), mine),
            self._target.totals(conditions, values, theirs),
        )

    def _settle(self, summed: Summed) -> None:
        """Counts what agrees and opens the rest."""
        differing: list[tuple[int, int]] = []
        for bucket in summed.source.keys() | summed.target.keys():
            source, target = summed.source.get(bucket, (0, 0)), summed.target.get(bucket, (0, 0))
            if source == target:
                self._tally.match(*source)
                continue
            rows = max(source[0], target[0])
            if rows > OPEN_ROWS:
                self._refine(summed.range, bucket)
                self._relieve()
            else:
                differing.append((bucket, rows))
        for some in together(differing, OPEN_ROWS, OPEN_BUCKETS):
            self._open(summed.range, some)
            self._relieve()

    def _open(self, piece: Range, buckets: Sequence[int]) -> None:
        within, beside = self._within(piece, buckets)
        rows = self._source.hashes([*self._keys.source_range(piece.lower, piece.upper), *within])
        conditions, values = self._keys.target_range(piece.lower, piece.upper)
        absent = self._tally.compare(rows, self._target.hashes([*conditions, *beside], values))
        if self._first is None and piece.upper and absent > max(100, len(rows) // 10):
            sample = [key for key in rows if key in self._tally.suspects][:200]
            if len(self._target.hashes_of(sample)) > len(sample) // 2:
                # What was missing from the target's range lies elsewhere in the target.
                raise Misordered(piece.upper)

    def _refine(self, piece: Range, bucket: int) -> None:
        """A bucket with many rows, in ranges small enough to be opened; raises Misordered."""
        within, beside = self._within(piece, [bucket])
        inside = [*self._keys.source_range(None, piece.upper), *within]
        lower, last = piece.lower, False
        while not last:
            upper = self._source.next_bound(lower, MOST_PLAIN_ROWS, inside)
            last = upper is None
            part = Range(lower, piece.upper if last else upper)
            if not self._ordered(part):
                raise Misordered(part.lower)
            where = [*self._keys.source_range(part.lower, part.upper), *within]
            conditions, values = self._keys.target_range(part.lower, part.upper)
            source = self._source.totals(where).get(0, (0, 0))
            target = self._target.totals([*conditions, *beside], values).get(0, (0, 0))
            if source == target:
                self._tally.match(*source)
            else:
                self._open_part(part, where, beside)
            lower = upper

    def _ordered(self, part: Range) -> bool:
        """Whether the target has no row of the range in the next one as well."""
        if self._first is not None or part.lower is None or part.upper is None:
            return True
        return self._target.ascending(part.lower, part.upper)

    def _open_part(self, part: Range, where: list[str], beside: list[str]) -> None:
        """Few rows of the source, and perhaps any number in the target: those come in pieces."""
        rows, lower, more = self._source.hashes(where), part.lower, True
        while more:
            conditions, values = self._keys.target_range(lower, part.upper)
            page = self._target.hashes([*conditions, *beside], values, limit=MOST_PLAIN_ROWS)
            more = len(page) == MOST_PLAIN_ROWS
            lower = next(reversed(page), lower)
            some = {key: rows.pop(key) for key in list(page) if key in rows}
            self._tally.compare(some, page)
            self._relieve()
        self._tally.compare(rows, {})
        self._relieve()

    def _within(self, piece: Range, buckets: Sequence[int]) -> tuple[list[str], list[str]]:
        """Conditions of buckets on either side."""
        if not piece.width or self._first is None:
            return [], []
        source = quote_mysql(self._first.source.name)
        target = bindable(quote_postgres(self._first.target_name))
        ends = [bucket_bounds(bucket, piece.width) for bucket in buckets]
        one, other = (
            " OR ".join(f"{name} BETWEEN {low} AND {high}" for low, high in ends)
            for name in (source, target)
        )
        return [f"({one})"], [f"({other})"]

    # -- by key ------------------------------------------------------------------------------

    def _lookup(self, sides: Sides, lower: Key | None) -> None:
        """Compares by key what the source has after `lower`, then asks it for the target's keys."""
        start, last = lower, False
        while not last:
            self._pace.wait(_never)
            upper = sides.source.next_bound(lower, MOST_PLAIN_ROWS)
            last = upper is None
            rows = sides.source.hashes(self._keys.source_range(lower, upper))
            self._compare_by_key(sides, rows)
            self._progress(len(rows))
            lower = upper
        while True:
            self._pace.wait(_never)
            keys = sides.target.keys_after(start, MOST_PLAIN_ROWS)
            if not keys:
                return
            there = sides.source.existing(keys)
            extra = [key for key in keys if key not in there]
            self._tally.suspects.update(dict.fromkeys(extra))
            if extra:
                self._relieve()
            start = keys[-1]

    def _compare_by_key(self, sides: Sides, rows: dict[Key, int]) -> None:
        before = len(self._tally.suspects)
        self._tally.compare(rows, sides.target.hashes_of(list(rows)))
        if len(self._tally.suspects) > before:
            self._relieve()


def _never() -> bool:
    """Only signals end the wait."""
    return False
