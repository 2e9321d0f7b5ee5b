"""Reads all rows of a table with a key, range by range, on both sides at the same time.

Ranges of tables whose key begins with an integer are summed in buckets of some dozen rows as soon
as anything differs, which leaves little to open. Until then each is compared as a whole: by one
hash of all its rows where both servers can read them in the same order, which costs PostgreSQL a
third less than a hash of each, or else by one sum.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import psycopg
import pymysql

from bridge.names import quote_mysql, quote_postgres
from bridge.verify.buckets import bucket_width
from bridge.verify.pace import Pace
from bridge.verify.ranges import (
    Ends,
    Range,
    Summed,
    added,
    bucket_of,
    cut_by_values,
    leading_integer,
    values_between,
)
from bridge.verify.readers import Sides
from bridge.verify.recheck import Key
from bridge.verify.source import SourceReader
from bridge.verify.target import TargetReader
from bridge.verify.values import Glance, Totals

RANGE_SECONDS = 0.5
"""A range's size follows the time that its slower side takes."""
FIRST_ROWS, FEWEST_ROWS = 5_000, 100
MOST_BUCKETED_ROWS, MOST_PLAIN_ROWS = 200_000, 8_000
BUCKET_ROWS = 60
PIECES = 32
"""A small table is cut into so many ranges. The fewer there are, the longer one side waits at the
end for the other one's last."""
STATEMENT_SECONDS = 2.0
"""How long a statement that nobody waits for any longer may go on."""
CANCEL_SECONDS = 0.5
TIMEOUTS = (1969, 3024)
"""A statement took longer than it may: MariaDB's ER_STATEMENT_TIMEOUT, MySQL's ER_QUERY_TIMEOUT."""
AHEAD = 8
"""Ranges that may be begun and not compared yet: so far may one side be ahead of the other."""
GLANCE_BYTES = 4 << 20
"""About so much of a table is hashed at once: servers build the text, MySQL's at most as long as
max_allowed_packet (16 MiB in MariaDB)."""
FEWEST_GLANCED_ROWS = 2_000
Turn: TypeAlias = "tuple[Literal['source', 'target'], Range | None]"
"""A range to be summed on one side; in the source None is the one after what has been read."""


class Walk:
    """Sums range after range, one thread leading in the source and another one in the target.

    The leading one says where each range ends. The thread of the side that is ahead helps the other
    one, over a session of its own (see `Helpers`). The sessions of `sides` are of no use any more
    where the walk was left before its end.
    """

    def __init__(self, sides: Sides, pace: Pace) -> None:
        self._pace = pace
        self._source = sides.source
        self._target = sides.target
        self._helpers = sides.helpers
        self._first = leading_integer(self._source.subject.plan.key_columns)
        self._coarse = not (pace.bounded or pace.statement_seconds)
        self._glanced = self._coarse and self._source.subject.glanced
        self._rows = FIRST_ROWS
        self._slower = 0.0
        self._last: Key | None = None
        self._changed = threading.Condition()
        """Guards what follows, and is told when it changes."""
        self._lower: Key | None = None
        self._cuts: deque[Key | None] | None = None
        self._ends: Ends | None = None
        self._all_told = False
        self._open = 0
        self._pending: deque[Range] = deque()
        self._sources: dict[Key | None, tuple[Range, Totals | Glance | None]] = {}
        self._targets: dict[Range, tuple[Totals | Glance | None, bool]] = {}
        self._working = 0
        self._halted = False
        self._failure: BaseException | None = None

    def ranges(self, lower: Key | None, last: Key | None) -> Generator[Summed, None, None]:
        """The ranges after `lower` up to `last` in order, once; raises what a thread raised."""
        self._lower, self._last = lower, last
        works = {"source": self._lead, "target": self._follow}
        threads = [
            threading.Thread(target=self._guard, args=(work,), name=f"walk-{side}", daemon=True)
            for side, work in works.items()
        ]
        self._working, complete = len(threads), False
        for thread in threads:
            thread.start()
        try:
            while not complete and (summed := self._after(lower)) is not None:
                lower = summed.range.upper
                complete = lower == last
                yield summed
        finally:
            self._halt()
            self._leave(threads)
        if self._failure is not None:
            raise self._failure
        if not complete:  # which would look like a match
            raise RuntimeError("a walk ended before its last range")

    def refine(self) -> None:
        """Something differs: ranges that nobody has begun to sum yet come in buckets."""
        self._coarse = False

    def _after(self, lower: Key | None) -> Summed | None:
        """The range after that key as soon as both sums are known; None if they never will be."""
        with self._changed:
            while not self._halted:
                piece, source = self._sources.get(lower, (None, None))
                if piece is not None and piece in self._targets:
                    del self._sources[lower]
                    target, ordered = self._targets.pop(piece)
                    self._open -= 1
                    self._changed.notify_all()
                    return _both(piece, source, target, ordered=ordered)
                if not self._working:
                    break
                self._changed.wait()
        return None

    def _halt(self) -> None:
        with self._changed:
            self._halted = True
            self._changed.notify_all()

    def _leave(self, threads: Sequence[threading.Thread]) -> None:
        """Waits for them; what takes longer is cut off, on both sides: either may use either."""
        patience = STATEMENT_SECONDS
        for thread in threads:
            thread.join(patience)
            while thread.is_alive():
                patience = CANCEL_SECONDS
                self._source.cancel()
                self._target.cancel()
                self._helpers.cancel()
                thread.join(patience)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (raised again where the ranges are consumed)
            self._failure = self._failure or error
            self._halt()
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    # -- who does what -----------------------------------------------------------------------

    def _lead(self) -> None:
        """The source's thread."""
        ends = self._extent()
        with self._changed:
            self._ends, self._cuts = ends, self._cut(ends)
            self._changed.notify_all()
        self._work(self._source, self._helpers.target)

    def _follow(self) -> None:
        """The target's thread."""
        self._work(self._helpers.source, self._target)

    def _work(self, source: SourceReader | None, target: TargetReader | None) -> None:
        """Takes turns until there are no more of those that these readers are for."""
        while (turn := self._turn(source, target)) is not None:
            side, piece = turn
            if side == "target" and target is not None and piece is not None:
                self._sum_target(target, piece)
            elif source is not None:
                self._sum_source(source, piece)

    def _turn(self, source: SourceReader | None, target: TargetReader | None) -> Turn | None:
        """What a thread does next; None: nothing any more. Waits while there is nothing yet."""
        leads = source is self._source
        with self._changed:
            while not self._halted:
                told = self._all_told or self._cuts == deque()
                may = leads or (source is not None and self._cuts is not None)
                if may and not told and self._open < AHEAD and (leads or not self._pending):
                    self._open += 1
                    return "source", self._next_cut()
                if target is not None and self._pending:
                    return "target", self._pending.popleft()
                if told:
                    return None
                self._changed.wait()
        return None

    def _next_cut(self) -> Range | None:
        """The next range, for both sides; None if its end has to be looked for."""
        if self._cuts is None:
            return None
        piece = self._range(self._lower, self._cuts.popleft())
        self._lower = piece.upper
        self._tell(piece)
        return piece

    def _tell(self, piece: Range) -> None:
        with self._changed:
            self._pending.append(piece)
            self._changed.notify_all()

    # -- the source --------------------------------------------------------------------------

    def _sum_source(self, reader: SourceReader, piece: Range | None) -> None:
        if piece is None:
            self._sum_following(reader)
            return
        self._pace.wait(self._is_halted)
        try:
            self._summed(piece, self._totals(reader, piece))
        except pymysql.err.OperationalError as error:
            rows = _fewer(self._rows, error)
            if self._at_a_glance(piece):
                self._summed(piece, None)
            else:
                self._sum_in_parts(reader, piece, rows)

    def _sum_in_parts(self, reader: SourceReader, piece: Range, rows: int) -> None:
        """A range that has more rows than can be read in time, of which `rows` or fewer can."""
        within = reader.subject.keys.source_range(None, piece.upper)
        part, found = piece, Totals()
        while not self._halted:
            self._pace.wait(self._is_halted)
            bound = reader.next_bound(part.lower, rows, within)
            part = replace(part, upper=piece.upper if bound is None else bound)
            try:
                found = added(found, self._sums(reader, part))
            except pymysql.err.OperationalError as error:
                rows = _fewer(rows, error)
                continue
            if bound is None:
                self._summed(piece, found)
                return
            part = replace(part, lower=bound)

    def _sum_following(self, reader: SourceReader) -> None:
        """The rows after those that were read, as many as can be read in time."""
        within = reader.subject.keys.source_range(None, self._last)
        while not self._halted:
            self._pace.wait(self._is_halted)
            bound = reader.next_bound(self._lower, self._rows, within)
            piece = self._range(self._lower, self._last if bound is None else bound)
            self._tell(piece)
            begun = time.monotonic()
            try:
                totals = self._totals(reader, piece)
            except pymysql.err.OperationalError as error:
                self._rows = _fewer(self._rows, error)
                continue
            self._adapt(max(time.monotonic() - begun, self._slower))
            self._lower, self._all_told = piece.upper, bound is None
            self._summed(piece, totals)
            return

    def _totals(self, reader: SourceReader, piece: Range) -> Totals | Glance:
        if self._at_a_glance(piece):
            return reader.glance(reader.subject.keys.source_range(piece.lower, piece.upper))
        return self._sums(reader, piece)

    def _sums(self, reader: SourceReader, piece: Range) -> Totals:
        conditions = reader.subject.keys.source_range(piece.lower, piece.upper)
        return reader.totals(conditions, bucket_of(self._first, piece, "source"))

    def _at_a_glance(self, piece: Range) -> bool:
        """Whether its rows are hashed all at once; told by the range, on both sides alike."""
        return piece.coarse and self._glanced

    def _summed(self, piece: Range, totals: Totals | Glance | None) -> None:
        with self._changed:
            self._sources[piece.lower] = piece, totals
            self._changed.notify_all()

    def _cut(self, ends: Ends | None) -> deque[Key | None] | None:
        """Where a table's ranges end, if it is cut by the values of its key."""
        plan = self._source.subject.plan
        if ends is None or self._pace.bounded or not cut_by_values(plan):
            return None
        if len(plan.key_columns) > 1:
            self._rows = max(plan.table.rows, FIRST_ROWS)
            self.refine()  # there is one range only, so nothing is learnt for others
            return deque([self._last])
        self._rows = max(plan.table.rows // PIECES, FIRST_ROWS)
        low, high = values_between(self._lower, self._last, ends)
        pieces = min(PIECES, max(1, plan.table.rows // FIRST_ROWS))
        if self._glanced:
            pieces = max(pieces, plan.table.bytes // GLANCE_BYTES)
        width = bucket_width(low, high, pieces)
        return deque([*((str(cut),) for cut in range(low + width, high, width)), self._last])

    def _adapt(self, took: float) -> None:
        most = MOST_BUCKETED_ROWS if self._first else MOST_PLAIN_ROWS
        if self._coarse and self._glanced:
            table = self._source.subject.plan.table
            fitting = table.rows * GLANCE_BYTES // max(1, table.bytes)
            most = min(most, max(FEWEST_GLANCED_ROWS, fitting))
        wanted = self._rows * min(2.0, max(0.5, RANGE_SECONDS / max(took, 0.001)))
        self._rows = int(min(most, max(FEWEST_ROWS, wanted)))

    # -- the target --------------------------------------------------------------------------

    def _sum_target(self, reader: TargetReader, piece: Range) -> None:
        keys = reader.subject.keys
        self._pace.wait(self._is_halted)
        begun = time.monotonic()
        ordered = (
            piece.lower is None
            or piece.upper is None
            or self._first is not None
            or reader.ascending(piece.lower, piece.upper)
        )
        target: Totals | Glance | None = {}
        if ordered:
            conditions, values = keys.target_range(piece.lower, piece.upper)
            bucket = bucket_of(self._first, piece, "target")
            try:
                if self._at_a_glance(piece):
                    target = reader.glance(conditions, values)
                else:
                    target = reader.totals(conditions, values, bucket)
            except (psycopg.errors.QueryCanceled, psycopg.errors.ProgramLimitExceeded):
                target = None
        self._slower = time.monotonic() - begun
        with self._changed:
            self._targets[piece] = target, ordered
            self._changed.notify_all()

    # -- buckets -----------------------------------------------------------------------------

    def _extent(self) -> Ends | None:
        """Where the first column's values lie, on either side."""
        if self._first is None:
            return None
        found = [
            self._source.extent(quote_mysql(self._first.source.name)),
            self._target.extent(quote_postgres(self._first.target_name)),
        ]
        known = [ends for ends in found if ends is not None]
        return (min(low for low, _ in known), max(high for _, high in known)) if known else None

    def _range(self, lower: Key | None, upper: Key | None) -> Range:
        if self._ends is None:
            return Range(lower, upper)
        low, high = values_between(lower, upper, self._ends)
        width = bucket_width(low, high, self._rows // BUCKET_ROWS)
        return Range(lower, upper, width, self._coarse)

    def _is_halted(self) -> bool:
        return self._halted


def _both(
    piece: Range,
    source: Totals | Glance | None,
    target: Totals | Glance | None,
    *,
    ordered: bool,
) -> Summed:
    """What both sides found. The hash of many rows counts as the hash of one does."""
    if source is None or target is None:
        return Summed(piece, {}, {}, ordered, cancelled=True)
    if isinstance(source, Glance):
        found = {0: (source.rows, source.short)}
        alike = isinstance(target, Glance) and source.agrees(target)
        return Summed(piece, found, found if alike else {}, ordered)
    assert not isinstance(target, Glance)
    return Summed(piece, source, target, ordered)


def _fewer(rows: int, error: pymysql.err.OperationalError) -> int:
    """How many rows to read instead of so many that took too long; raises any other error."""
    if error.args[0] not in TIMEOUTS or rows <= FEWEST_ROWS:
        raise error
    return max(FEWEST_ROWS, rows // 8)
