"""One table, or a part of it: sweep, recheck, and what the differences consist of.

*Match* means that every row was seen equal on both sides after the position that both held when the
sweep began, in a range's sums or by its key. So every change up to that position is in both; rows
that the stream touched after they were seen equal are another matter (`bridge.verify.follow`).
Nothing was in flight, nothing is in quarantine. *Mismatch* means at least one proven difference.
All else is *inconclusive*: rows that change each time they are looked at, rows in quarantine (known
to be missing: not in sync, but no surprise), a stream that stands still.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import psycopg
import pymysql

from bridge.capture.binlog.positions import replica_lower_bound
from bridge.change.position import Position
from bridge.databases.ahead import Ahead, Late
from bridge.errors import ServerRefused, ServerUnreachable
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.report.verification import TableVerdict
from bridge.verify import multiset
from bridge.verify.digest import FIRST
from bridge.verify.found import Found
from bridge.verify.judge import Judge, MultisetJudge, Stream, Stuck
from bridge.verify.pace import Pace
from bridge.verify.ranges import cut_by_values
from bridge.verify.readers import ALONE, Helpers, Sides
from bridge.verify.recheck import POLL_SECONDS, Key, Patience, at_or_past
from bridge.verify.source import SourceReader, source_session
from bridge.verify.subject import Level, Subject
from bridge.verify.sweep import Sweep
from bridge.verify.target import TargetReader, target_session
from bridge.verify.values import LONGEST_SECONDS
from bridge.verify.walk import TIMEOUTS

HELPED_ROWS = 50_000
"""A table of fewer rows is summed before second sessions could help."""
VISIBLE_SECONDS = 2.0
FILE_START = 4
"""The offset of a lower bound where MySQL has no GTIDs: the beginning of its current file."""
_SCHEMA_ERRORS = (1049, 1054, 1142, 1143, 1146, 1176)
"""MySQL: no such database, column, table or index, or no right to read them."""
_REFUSALS = (
    ServerRefused,
    ServerUnreachable,
    pymysql.err.OperationalError,
    psycopg.OperationalError,
)


class Sessions(Protocol):
    """Opens sessions, in UTC and in autocommit mode."""

    def source(self) -> pymysql.Connection[Any]:
        """On the source, or on a replica of it."""
        ...

    def target(self) -> psycopg.Connection[Any]:
        """On the target."""
        ...


@dataclass(frozen=True)
class Walking:
    """How every row is read: over which servers (perhaps replicas), and how fast."""

    sessions: Sessions
    pace: Pace = field(default_factory=Pace)

    def sides(self, subject: Subject) -> contextlib.AbstractContextManager[Sides]:
        """Sessions that read a table's rows."""
        return self._opened(subject, self.pace.statement_seconds or LONGEST_SECONDS)

    @contextlib.contextmanager
    def _opened(self, subject: Subject, seconds: float) -> Iterator[Sides]:
        with (
            # In this order, lest a helper gets the last session that an account may have.
            _sides(self.sessions, subject, seconds) as sides,
            self._helpers(subject, seconds) as helpers,
        ):
            yield replace(sides, helpers=helpers)

    @contextlib.contextmanager
    def _helpers(self, subject: Subject, seconds: float) -> Iterator[Helpers]:
        """Those that have something to do, of which a server may refuse any."""
        plan, source, target = subject.plan, None, None
        if plan.table.rows < HELPED_ROWS or not subject.keys.ordered:
            yield ALONE
            return
        with contextlib.ExitStack() as opened:
            there = opened.enter_context(contextlib.closing(Ahead(self.sessions.target)))
            # A longer key has a single range, and ranges by rows are found one after the other.
            if cut_by_values(plan) and len(plan.key_columns) == 1 and not self.pace.bounded:
                here = opened.enter_context(contextlib.closing(Ahead(self.sessions.source)))
                with contextlib.suppress(*_REFUSALS):
                    source = SourceReader(source_session(here.session, seconds), subject)
            with contextlib.suppress(*_REFUSALS):
                target = TargetReader(target_session(there.session, seconds), subject)
            yield Helpers(source, target)


class Record(Protocol):
    """Where a sweep writes down how far it is."""

    def reached(self, lower: Key, found: Found) -> None:
        """Everything up to `lower` is in `found`; raises what ends the sweep."""
        ...


class Unrecorded:
    """Writes nothing down."""

    def reached(self, lower: Key, found: Found) -> None:
        """See Record."""


def verify_table(
    plan: TablePlan,
    relation: TableName,
    level: Level,
    sessions: Sessions,
    stream: Stream,
    *,
    progress: Callable[[int], None] = lambda _: None,
    patience: Patience | None = None,
) -> TableVerdict:
    """Verifies one table against the `relation` of the target, at once and as a whole.

    `progress` gets the number of rows read since the last call. A table
    that is not as the plan says, or that does not stream, is inconclusive; other errors of the
    drivers are raised.
    """
    begun, position = time.monotonic(), None
    subject = Subject.of(plan, relation, level)
    found = Found(plan, keyed=subject.keys.ordered)
    if streams(stream, found):
        with contextlib.closing(source_session(sessions.source())) as conn:
            position = common_position(conn, subject, stream)
        sweep(subject, sessions, stream, found, progress=progress, patience=patience)
    return found.verdict(str(position or ""), time.monotonic() - begun)


def streams(stream: Stream, found: Found) -> bool:
    """Whether the table can be verified; if not, nothing of it is read, and `found` says why."""
    standing = stream.standing()
    if standing.position is None or (standing.obstacle and standing.hint != "dbbridge sync"):
        found.end(standing.obstacle or "not copied yet", standing.hint or "dbbridge sync")
        return False
    return True


def sweep(
    subject: Subject,
    sessions: Sessions,
    stream: Stream,
    found: Found,
    *,
    bounds: tuple[Key | None, Key | None] = (None, None),
    record: Record | None = None,
    progress: Callable[[int], None] = lambda _: None,
    patience: Patience | None = None,
    walking: Walking | None = None,
) -> None:
    """Looks at every row between `bounds` and judges it; adds to `found`, also why it ends early.

    Every row is read as `walking` says (as fast as it goes, over `sessions`); what seems to differ
    is judged over `sessions`.
    """
    walking = walking or Walking(sessions)
    try:
        with _late_sides(sessions, subject) as opened:
            if found.keyed:
                saved = record or Unrecorded()
                _check(walking, opened, stream, found, bounds, saved, progress, patience)
            else:
                _check_multiset(walking, opened, stream, found, progress, patience)
    except Stuck as stuck:
        found.end(stuck.reason, stuck.hint)
    except (pymysql.err.ProgrammingError, pymysql.err.OperationalError) as error:
        if error.args[0] in TIMEOUTS:
            found.end(*_slow(walking.pace, found))
        elif error.args[0] in _SCHEMA_ERRORS:
            found.end(f"the source cannot be read: {error.args[1]}", "dbbridge check")
        else:
            raise
    except psycopg.errors.QueryCanceled:
        found.end(*_slow(walking.pace, found))
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        message = error.diag.message_primary
        found.end(f"the target cannot be read: {message}", "dbbridge schema plan")


def _slow(pace: Pace, found: Found) -> tuple[str, str]:
    """Why a table ends that has a statement which cannot be divided, and what to do."""
    if pace.statement_seconds:
        reason = "a statement took longer than verify.statement_seconds allows"
        return reason, "dbbridge config show"
    word = found.plan.source.word
    return "a statement took more than an hour, or somebody ended it", f"dbbridge verify {word}"


def common_position(
    conn: pymysql.Connection[Any], subject: Subject, stream: Stream, *, replica: bool = False
) -> Position | None:
    """Waits until the source shows what the stream has applied; the position that both hold then.

    A commit is in the log, and perhaps in the target, a moment before others see it. Where the
    source knows no exact lower bound (MySQL without GTIDs), the one that it knows is what both
    hold. None: it is not known that both hold anything. `conn` is a `source_session`; `replica`:
    of one, and then `stream` has to be what the target that is read has stored.
    """
    applied = stream.standing().position
    if applied is None:
        return None
    deadline = time.monotonic() + VISIBLE_SECONDS
    source = SourceReader(conn, subject)
    while True:
        low = replica_lower_bound(conn) if replica else source.lower_bound(by_gtid=not applied.file)
        if at_or_past(low, applied):
            return applied
        if low is None or low.offset == FILE_START or time.monotonic() > deadline:
            return low if at_or_past(applied, low) else None
        time.sleep(POLL_SECONDS)


def _check(
    walking: Walking,
    opened: Sides,
    stream: Stream,
    found: Found,
    bounds: tuple[Key | None, Key | None],
    record: Record,
    progress: Callable[[int], None],
    patience: Patience | None,
) -> None:
    """A table with a key; goes on without a column once that is found to differ throughout."""
    lower, upper = bounds
    if found.whole:
        opened = _without(opened, found.whole)
    while True:
        whole = frozenset[str]()
        judge = Judge(opened, stream, found, patience)
        sweep = Sweep(
            functools.partial(walking.sides, opened.source.subject),
            opened,
            found.tally,
            pace=walking.pace,
            relieve=judge.relieve,
            progress=progress,
        )
        with contextlib.closing(sweep.run(lower, upper)) as ranges:
            for last in ranges:
                lower = last
                whole = found.whole_columns()
                if whole:
                    break
                record.reached(last, found)
        if not whole:
            with contextlib.suppress(Stuck):  # every row was read: what is not judged is in flight
                judge.finish()
            return
        judge.finish()
        found.whole |= whole
        opened = _without(opened, whole)


def _check_multiset(
    walking: Walking,
    sides: Sides,
    stream: Stream,
    found: Found,
    progress: Callable[[int], None],
    patience: Patience | None,
) -> None:
    judge = MultisetJudge(sides, stream, found, patience)
    walking.pace.wait(lambda: False)
    with walking.sides(sides.source.subject) as walk:
        multiset.sweep(walk, found.tally, relieve=judge.finish, progress=progress)
    with contextlib.suppress(Stuck):  # every row was read: what is not judged is in flight
        judge.finish()
    if sides.source.subject.twice:
        # Rows that were counted by their first hash have no second one: it is taken of all, if all
        # stand still for a moment.
        source, target = sides.source.totals(()), sides.target.totals((), ())
        still = source == target and source.get(0, (0, 0))[0] == found.tally.rows
        found.tally.total = source[0][1] if still and source else found.tally.total & FIRST


def _without(sides: Sides, names: frozenset[str]) -> Sides:
    """The same sessions, with the columns left out."""
    subject = sides.source.subject.without(names)
    return Sides(sides.source.about(subject), sides.target.about(subject))


@contextlib.contextmanager
def _late_sides(sessions: Sessions, subject: Subject) -> Iterator[Sides]:
    """Sessions that are opened as soon as something has to be looked at closely."""
    with (
        contextlib.closing(Late(lambda: source_session(sessions.source()))) as source,
        contextlib.closing(Late(lambda: target_session(sessions.target()))) as target,
    ):
        yield Sides(SourceReader(source.session, subject), TargetReader(target.session, subject))


@contextlib.contextmanager
def _sides(sessions: Sessions, subject: Subject, seconds: float) -> Iterator[Sides]:
    with (
        contextlib.closing(Ahead(sessions.target)) as target,
        contextlib.closing(sessions.source()) as source,
    ):
        yield Sides(
            SourceReader(source_session(source, seconds), subject),
            TargetReader(target_session(target.session, seconds), subject),
        )
