"""The verdict on one table: sweep, recheck, and what the differences consist of.

*Match at position X* means: X is a position up to which the table had been applied before its first
row was read, and every row was seen equal on both sides afterwards, in a range's sums or by its
key. So every change up to X is in both; what came after X is the stream's: rows that it touched
after they were seen equal are not covered. Nothing was in flight, nothing is in quarantine.
*Mismatch* means at least one proven difference. All else is *inconclusive*: rows that change each
time they are looked at, rows in quarantine (known to be missing: not in sync, but no surprise), a
stream that stands still.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import psycopg
import pymysql

from bridge.change.position import Position
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.report.verification import TableVerdict
from bridge.verify import multiset
from bridge.verify.found import Found, Sink
from bridge.verify.judge import Judge, MultisetJudge, Stream, Stuck
from bridge.verify.readers import Sides, SourceReader, TargetReader, source_session, target_session
from bridge.verify.recheck import POLL_SECONDS, Key, Patience, at_or_past
from bridge.verify.subject import Level, Subject
from bridge.verify.sweep import Sweep

VISIBLE_SECONDS = 2.0
FILE_START = 4
"""The offset of a lower bound where MySQL has no GTIDs: the beginning of its current file."""
_SCHEMA_ERRORS = (1049, 1054, 1142, 1143, 1146)
"""MySQL: no such database, column or table, or no right to read them."""


class Sessions(Protocol):
    """Opens sessions, in UTC and in autocommit mode."""

    def source(self) -> pymysql.Connection[Any]:
        """On the source."""
        ...

    def target(self) -> psycopg.Connection[Any]:
        """On the target."""
        ...


def verify_table(
    plan: TablePlan,
    relation: TableName,
    level: Level,
    sessions: Sessions,
    stream: Stream,
    *,
    sink: Sink = lambda _, __: None,
    progress: Callable[[int], None] = lambda _: None,
    patience: Patience | None = None,
) -> TableVerdict:
    """Verifies one table against the `relation` of the target.

    `sink` gets every difference, `progress` the number of rows read since the last call. A table
    that is not as the plan says, or that does not stream, is inconclusive; other errors of the
    drivers are raised.
    """
    begun, position = time.monotonic(), ""
    subject = Subject.of(plan, relation, level)
    found = Found(plan, sink, keyed=subject.keys.ordered)
    standing = stream.standing()
    if standing.position is None or (standing.obstacle and standing.hint != "dbbridge sync"):
        found.hold(standing.obstacle or "not copied yet", standing.hint or "dbbridge sync")
        return found.verdict("", time.monotonic() - begun)
    try:
        with _sides(sessions, subject) as walk, _sides(sessions, subject) as opened:
            position = _covered(opened.source, standing.position)
            if found.keyed:
                _check(walk, opened, stream, found, progress, patience)
            else:
                judge = MultisetJudge(opened, stream, found, patience)
                multiset.sweep(opened, found.tally, relieve=judge.finish, progress=progress)
    except Stuck:
        pass
    except (pymysql.err.ProgrammingError, pymysql.err.OperationalError) as error:
        if error.args[0] not in _SCHEMA_ERRORS:
            raise
        found.hold(f"the source cannot be read: {error.args[1]}", "dbbridge check")
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        message = error.diag.message_primary
        found.hold(f"the target cannot be read: {message}", "dbbridge schema plan")
    return found.verdict(position, time.monotonic() - begun)


def _covered(source: SourceReader, applied: Position) -> str:
    """Waits until the source shows what the stream has applied; the position that both hold then.

    A commit is in the log, and perhaps in the target, a moment before others see it. Where the
    source knows no exact lower bound (MySQL without GTIDs), the one that it knows is what both
    hold.
    """
    deadline = time.monotonic() + VISIBLE_SECONDS
    while True:
        low = source.lower_bound(by_gtid=not applied.file)
        if at_or_past(low, applied):
            return str(applied)
        if low is None or low.offset == FILE_START or time.monotonic() > deadline:
            return str(low) if at_or_past(applied, low) else ""
        time.sleep(POLL_SECONDS)


def _check(
    walk: Sides,
    opened: Sides,
    stream: Stream,
    found: Found,
    progress: Callable[[int], None],
    patience: Patience | None,
) -> None:
    """A table with a key; goes on without a column once that is found to differ throughout."""
    lower: Key | None = None
    whole = frozenset[str]()
    while True:
        judge = Judge(opened, stream, found, patience)
        sweep = Sweep(walk, opened, found.tally, relieve=judge.relieve, progress=progress)
        with contextlib.closing(sweep.run(lower)) as ranges:
            for last in ranges:
                lower = last
                whole = found.whole_columns()
                if whole:
                    break
        judge.finish()
        if not whole:
            return
        found.whole |= whole
        walk, opened, whole = _without(walk, whole), _without(opened, whole), frozenset()


def _without(sides: Sides, names: frozenset[str]) -> Sides:
    """The same sessions, with the columns left out."""
    subject = sides.source.subject.without(names)
    return Sides(sides.source.about(subject), sides.target.about(subject))


@contextlib.contextmanager
def _sides(sessions: Sessions, subject: Subject) -> Iterator[Sides]:
    source = source_session(sessions.source())
    try:
        target = target_session(sessions.target())
        try:
            yield Sides(SourceReader(source, subject), TargetReader(target, subject))
        finally:
            target.close()
    finally:
        source.close()
