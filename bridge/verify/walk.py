"""Reads all rows of a table with a key, range by range, on both sides at the same time.

Ranges of tables whose key begins with an integer are summed in buckets of some hundred rows as
soon as anything differs, which leaves little to open; until then each is one sum, which costs a
fifteenth less.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import psycopg
import pymysql

from bridge.names import quote_mysql, quote_postgres
from bridge.types.base import ColumnPlan
from bridge.types.target import target_of
from bridge.verify.buckets import bucket_width
from bridge.verify.pace import Pace
from bridge.verify.readers import Sides, TargetReader, Totals
from bridge.verify.recheck import Key

RANGE_SECONDS = 0.5
"""A range's size follows the time that its slower side takes."""
FIRST_ROWS, FEWEST_ROWS = 5_000, 100
MOST_BUCKETED_ROWS, MOST_PLAIN_ROWS = 200_000, 8_000
BUCKET_ROWS = 250
WHOLE_ROWS, WHOLE_BYTES, PIECES = 2_000_000, 1 << 29, 32
"""A table of up to so many rows and bytes (as the server estimates) is cut by the values of its key
into so many ranges, and nobody looks first how many rows they hold. The fewer there are, the longer
one side waits at the end for the other one's last."""
STATEMENT_SECONDS = 2.0
"""How long a statement that nobody waits for any longer may go on."""
CANCEL_SECONDS = 0.5
TIMEOUTS = (1969, 3024)
"""A statement took longer than it may: MariaDB's ER_STATEMENT_TIMEOUT, MySQL's ER_QUERY_TIMEOUT."""
AHEAD = 4
"""Ranges by which one side may be ahead of the other."""
T = TypeVar("T")
_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})


@dataclass(frozen=True, slots=True)
class Range:
    """Keys after `lower` up to and with `upper` (None: open).

    It falls into buckets of `width` values of the first column (0: it is one bucket), but with
    `coarse` it is summed as one all the same.
    """

    lower: Key | None
    upper: Key | None
    width: int = 0
    coarse: bool = False


@dataclass(frozen=True, slots=True)
class Summed:
    """A range with both sides' sums.

    With `ordered` False its bounds are not in the target's order, and nothing was read there; with
    `cancelled` the target's sum took too long, or somebody ended it, so that nothing is known.
    """

    range: Range
    source: Totals
    target: Totals
    ordered: bool = True
    cancelled: bool = False


class Walk:
    """Sums range after range, the source in one thread and the target in another.

    The source's one says where each range ends; then both sum it, each in its own time. Where the
    source is ahead its thread helps the target, over a session of its own; nobody ever helps the
    source, which has an application to serve. The sessions of `sides` are of no use any more where
    the walk was left before its end.
    """

    def __init__(self, sides: Sides, pace: Pace) -> None:
        self._pace = pace
        self._source = sides.source
        self._target = sides.target
        self._helper = sides.helper
        self._halt = threading.Event()
        self._first = leading_integer(self._source.subject.plan.key_columns)
        self._pending: queue.Queue[Range | None] = queue.Queue(AHEAD)
        self._sources: queue.Queue[tuple[Range, Totals] | None] = queue.Queue(AHEAD)
        self._targets: queue.SimpleQueue[tuple[Range, Totals | None, bool] | None]
        self._targets = queue.SimpleQueue()
        self._early: dict[Range, tuple[Totals | None, bool]] = {}
        self._working = 2
        self._failure: BaseException | None = None
        self._complete = False
        self._coarse = not (pace.bounded or pace.statement_seconds)
        self._rows = FIRST_ROWS
        self._lower: Key | None = None
        self._last: Key | None = None
        self._slower = 0.0

    def ranges(self, lower: Key | None, last: Key | None) -> Generator[Summed, None, None]:
        """The ranges after `lower` up to `last` in order, once; raises what a thread raised."""
        self._lower, self._last = lower, last
        works = (self._lead, self._read_target)
        threads = [threading.Thread(target=self._guard, args=(w,), daemon=True) for w in works]
        for thread in threads:
            thread.start()
        try:
            while (item := self._sources.get()) is not None:
                summed = self._paired(*item)
                if summed is None:
                    break
                self._complete = summed.range.upper == self._last
                yield summed
        finally:
            self._halt.set()
            self._leave(threads)
        if self._failure is not None:
            raise self._failure
        if not self._complete:  # which would look like a match
            raise RuntimeError("a walk ended before its last range")

    def refine(self) -> None:
        """Something differs: ranges that nobody has begun to sum yet come in buckets."""
        self._coarse = False

    def _paired(self, piece: Range, source: Totals) -> Summed | None:
        """With the target's sums, after those of ranges that the source has given up."""
        while piece not in self._early:
            item = self._targets.get()
            if item is not None:
                self._early[item[0]] = item[1:]
                continue
            self._working -= 1
            if not self._working or self._halt.is_set():
                return None
        target, ordered = self._early.pop(piece)
        return Summed(piece, source, target or {}, ordered, cancelled=target is None)

    def _leave(self, threads: Sequence[threading.Thread]) -> None:
        """Waits for them; what takes longer is cut off, on both sides: either may use either."""
        patience = STATEMENT_SECONDS
        for thread in threads:
            thread.join(patience)
            while thread.is_alive():
                patience = CANCEL_SECONDS
                self._source.cancel()
                self._target.cancel()
                if self._helper is not None:
                    self._helper.cancel()
                thread.join(patience)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (raised again where the ranges are consumed)
            self._failure = self._failure or error
            self._halt.set()
        finally:
            self._targets.put(None)

    def _end_sources(self) -> None:
        """The consumer may have left: then there is room, or nobody waits."""
        while True:
            try:
                self._sources.put(None, timeout=0.05)
                return
            except queue.Full:
                if self._halt.is_set():
                    with contextlib.suppress(queue.Empty):
                        self._sources.get_nowait()

    def _lead(self) -> None:
        """The source's thread: its own part, then whatever is left of the target's."""
        try:
            self._read_source()
        except BaseException:
            self._halt.set()
            raise
        finally:
            self._end_sources()
        while not self._halt.is_set() and self._help():
            pass

    def _read_source(self) -> None:
        reader, lower = self._source, self._lower
        ends = self._extent()
        keys = reader.subject.keys
        within = keys.source_range(None, self._last)
        cuts = self._cuts(ends)
        while not self._halt.is_set():
            self._pace.wait(self._halt.is_set)
            if cuts is None:
                bound = reader.next_bound(lower, self._rows, within)
            else:
                bound = next(cuts, None)
            upper = self._last if bound is None else bound
            begun = time.monotonic()
            width = self._width(lower, upper, ends)
            piece = Range(lower, upper, width, coarse=width > 0 and self._coarse)
            if not self._hand(self._pending, piece):
                return
            conditions = keys.source_range(lower, upper)
            try:
                totals = reader.totals(conditions, bucket_of(self._first, piece, "source"))
            except pymysql.err.OperationalError as error:
                if error.args[0] not in TIMEOUTS or self._rows == FEWEST_ROWS:
                    raise
                cuts, self._rows = None, max(FEWEST_ROWS, self._rows // 8)
                continue
            took = max(time.monotonic() - begun, self._slower)
            if not self._hand(self._sources, (piece, totals)):
                return
            if bound is None:
                self._hand(self._pending, None)
                return
            lower = upper
            if cuts is None:
                self._adapt(took)

    def _cuts(self, ends: tuple[int, int] | None) -> Iterator[Key] | None:
        """Where a table's ranges end, if it is cut by the values of its key."""
        table = self._source.subject.plan.table
        large = table.rows > WHOLE_ROWS or table.bytes > WHOLE_BYTES
        if ends is None or large or self._pace.bounded:
            return None
        if len(self._source.subject.plan.key_columns) > 1:
            self._rows = max(table.rows, FIRST_ROWS)
            self.refine()  # there is one range only, so nothing is learnt for others
            return iter(())
        self._rows = max(table.rows // PIECES, FIRST_ROWS)
        low = int(self._lower[0]) if self._lower else ends[0]
        high = int(self._last[0]) if self._last else ends[1]
        pieces = min(PIECES, max(1, table.rows // FIRST_ROWS))
        width = bucket_width(low, high, pieces)
        return ((str(cut),) for cut in range(low + width, high, width))

    def _adapt(self, took: float) -> None:
        most = MOST_BUCKETED_ROWS if self._first else MOST_PLAIN_ROWS
        wanted = self._rows * min(2.0, max(0.5, RANGE_SECONDS / max(took, 0.001)))
        self._rows = int(min(most, max(FEWEST_ROWS, wanted)))

    def _hand(self, to: queue.Queue[T], item: T) -> bool:
        """Puts it there as soon as there is room, and helps the target meanwhile."""
        patience = 0.0
        while not self._halt.is_set():
            try:
                to.put(item, block=bool(patience), timeout=patience)
                return True
            except queue.Full:
                patience = 0.0 if self._help() else 0.05
        return False

    def _help(self) -> bool:
        """Sums the next range of the target; False if there is none, or no session for it."""
        if self._helper is None:
            return False
        try:
            piece = self._pending.get_nowait()
        except queue.Empty:
            return False
        if piece is None:
            self._pending.put(None)  # it ends the target's own thread
            return False
        self._sum_target(self._helper, piece)
        return True

    def _read_target(self) -> None:
        while (piece := _take(self._pending, self._halt)) is not None:
            self._sum_target(self._target, piece)

    def _sum_target(self, reader: TargetReader, piece: Range) -> None:
        keys = reader.subject.keys
        self._pace.wait(self._halt.is_set)
        begun = time.monotonic()
        ordered = (
            piece.lower is None
            or piece.upper is None
            or self._first is not None
            or reader.ascending(piece.lower, piece.upper)
        )
        target: Totals | None = {}
        if ordered:
            conditions, values = keys.target_range(piece.lower, piece.upper)
            try:
                target = reader.totals(conditions, values, bucket_of(self._first, piece, "target"))
            except psycopg.errors.QueryCanceled:
                target = None
        self._slower = time.monotonic() - begun
        self._targets.put((piece, target, ordered))

    # -- buckets -----------------------------------------------------------------------------

    def _extent(self) -> tuple[int, int] | None:
        """Where the first column's values lie, on either side."""
        if self._first is None:
            return None
        found = [
            self._source.extent(quote_mysql(self._first.source.name)),
            self._target.extent(quote_postgres(self._first.target_name)),
        ]
        known = [ends for ends in found if ends is not None]
        return (min(low for low, _ in known), max(high for _, high in known)) if known else None

    def _width(self, lower: Key | None, upper: Key | None, ends: tuple[int, int] | None) -> int:
        if ends is None:
            return 0
        low = int(lower[0]) if lower else ends[0]
        high = int(upper[0]) if upper else max(ends[1], low)
        return bucket_width(low, high, self._rows // BUCKET_ROWS)


def leading_integer(key: tuple[ColumnPlan, ...]) -> ColumnPlan | None:
    """The key's first column if it is an integer on both sides."""
    if not key or key[0].source.data_type not in _INTEGERS:
        return None
    target = target_of(key[0])
    whole = target.base in ("smallint", "integer", "bigint") or (
        target.base == "numeric" and target.args and not target.scale
    )
    return key[0] if whole else None


def bucket_of(first: ColumnPlan | None, piece: Range, side: Literal["source", "target"]) -> str:
    """The number of a row's bucket; both servers cut towards zero."""
    if first is None or not piece.width or piece.coarse:
        return "0"
    if side == "source":
        return f"{quote_mysql(first.source.name)} DIV {piece.width}"
    name = quote_postgres(first.target_name)
    numeric = target_of(first).base == "numeric"
    return f"div({name},{piece.width})" if numeric else f"{name}/{piece.width}"


def _take(source: queue.Queue[T | None], halt: threading.Event) -> T | None:
    while not halt.is_set():
        try:
            return source.get(timeout=0.05)
        except queue.Empty:
            continue
    return None
