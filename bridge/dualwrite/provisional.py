"""The early write of a committed operation to the target, which the stream repeats and corrects.

The rows that the operation touched are read from the source, as they are now: perhaps newer than
the operation, never older. One transaction of the target then claims the operation and makes these
rows so (`dbbridge.claim`). Why that converges: whatever happened to such a row since is behind the
operation in the source's log, which the stream has not come to, or the claim is refused. A row that
the target has already is left alone, so that each row written early has its change to come.

Several operations go in one transaction where they come together: each is claimed, and rows are
written of those that could be.

It never fails the application's write: what goes wrong here is counted, and the stream does it.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

import psycopg
import pymysql
import structlog
from psycopg.pq import TransactionStatus

from bridge.capture.keylookup import equal_condition
from bridge.capture.snapshot import look_up, prepare_lookups
from bridge.change.batch import BadRow, Op, copied_key
from bridge.dualwrite.authority import Q
from bridge.dualwrite.watchdog import Watchdog
from bridge.errors import BridgeError
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, bindable, quote_postgres
from bridge.replicate.ops import OPS_TABLE
from bridge.sink.cascade import fields
from bridge.sink.target import comparable
from bridge.types.base import ColumnPlan
from bridge.types.target import target_of

LIMITS = {
    # Shorter than PostgreSQL's deadlock_timeout (1 s): whoever waits in a circle with the stream
    # is this one, and gives up first.
    "lock_timeout": "300ms",
    "statement_timeout": "2s",
    "idle_in_transaction_session_timeout": "2s",
    # One that is lost in a crash was never made, and the stream brings its rows: a commit of the
    # stream, which is waited for, has all before it in the target's log.
    "synchronous_commit": "off",
    # The claim needs a later snapshot than its lock's.
    "default_transaction_isolation": "read committed",
}
"""Of the target's sessions: a provisional write holds nobody up."""
MOST_ROWS = 500
"""Rows of an operation; a larger one is left to the stream."""
MOST_SESSIONS = 16
MOST_BUSY = 2
"""Operations that wait for a lock in vain, one by one, before the others are left to the stream."""
LONGEST_SECONDS = 4.0
"""After which a session is cut off whose server says nothing at all."""
PAUSE, LONGEST_PAUSE = 1.0, 10.0
"""Seconds without a try after a side that could not be reached."""
_REFUSED = {
    "DBW01": "epoch",
    "DBW02": "pruned",
    "DBW03": "table",
    "DBW04": "applied-before",
}
_ALL_REFUSED = frozenset({"epoch", "table", "refused", "busy", "failed"})
"""What one operation may have that the others in its transaction have not."""

log = structlog.get_logger("dbbridge.dualwrite")

Touched = Mapping[TableName, set[bytes]]
Values = tuple[str | None, ...]
Statements = dict[tuple[TableName, bytes], tuple[str, Values]]
"""What makes a row, by its key, as the source has it; in the order in which they go."""


@dataclass(frozen=True, slots=True)
class Committed:
    """An operation that the source has: the epochs of the groups that it wrote to, and its keys."""

    epochs: Mapping[str, int]
    op: Op
    touched: Touched

    @property
    def rows(self) -> int:
        """How many keys it touched."""
        return sum(map(len, self.touched.values()))


@dataclass(slots=True)
class Counts:
    """Operations by what became of them: 'applied', or why they were left to the stream."""

    by: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, what: str) -> None:
        """One more."""
        with self.lock:
            self.by[what] += 1


@dataclass(eq=False)
class Early:
    """The statements that write single rows of one table."""

    plan: TablePlan

    @cached_property
    def upsert(self) -> str:
        """Makes a row what it is given as; one that is so already is not touched."""
        plan, names = self.plan, [_name(column) for column in self.plan.columns]
        values = ", ".join(f"%s::{column.target_type}" for column in plan.columns)
        key = ", ".join(names[: plan.key])
        rest = names[plan.key :]
        sql = (
            f"INSERT INTO {bindable(plan.target.postgres)} AS t ({', '.join(names)})"
            f" OVERRIDING SYSTEM VALUE VALUES ({values}) ON CONFLICT ({key}) DO "
        )
        if not rest:
            return f"{sql}NOTHING"
        changed = [f"{name} = EXCLUDED.{name}" for name in rest]
        others = plan.columns[plan.key :]
        old = ", ".join(comparable(f"t.{n}", c) for n, c in zip(rest, others, strict=True))
        new = ", ".join(comparable(f"EXCLUDED.{n}", c) for n, c in zip(rest, others, strict=True))
        return f"{sql}UPDATE SET {', '.join(changed)} WHERE ROW({old}) IS DISTINCT FROM ROW({new})"

    def delete(self, key: bytes) -> tuple[str, Values]:
        """What removes the row of a key (COPY text).

        Text must be the very same: citext, or a collation, takes other rows for equal.
        """
        values = fields(key)
        return self._delete, (*values, *(values[place] for place in self._texts))

    @cached_property
    def _texts(self) -> list[int]:
        return [n for n, column in enumerate(self.plan.key_columns) if target_of(column).is_text]

    @cached_property
    def _delete(self) -> str:
        columns = self.plan.key_columns
        same = [f"{_name(column)} = %s::{column.target_type}" for column in columns]
        same += [f'{_name(columns[n])}::text COLLATE "C" = %s' for n in self._texts]
        place = bindable(self.plan.target.postgres)
        return f"DELETE FROM {place} WHERE {' AND '.join(same)}"


class Provisional:
    """Writes operations early, from any thread; sessions are kept for the next ones."""

    def __init__(
        self,
        pipeline: str,
        database: str,
        plans: Mapping[TableName, TablePlan],
        open_source: Callable[[], pymysql.Connection[Any]],
        open_target: Callable[[], psycopg.Connection[Any]],
    ) -> None:
        self._pipeline = pipeline
        self._ops = bindable(TableName(database, OPS_TABLE).mysql)
        self._tables = {name: Early(plan) for name, plan in plans.items()}
        self._open_source = open_source
        self._open_target = open_target
        self._idle: queue.LifoQueue[_Sessions] = queue.LifoQueue(MOST_SESSIONS)
        self._not_before = 0.0
        self._pause = PAUSE
        self._resting = threading.Lock()
        self._watchdog = Watchdog(LONGEST_SECONDS)
        self.counts = Counts()

    def write(self, one: Committed, *, keep: bool = True) -> str:
        """Writes a committed operation; 'applied', or why it is left to the stream.

        With `keep` false it is tried and rolled back, without a claim ('tried' when it works).
        """
        (done,) = self._written([one], keep=keep)
        self.counts.add(done)
        return done

    def write_all(self, many: Sequence[Committed]) -> None:
        """Writes operations in one transaction, or one by one where that is refused.

        Together they have at most `MOST_ROWS` rows, or are one.
        """
        done = self._written(many, keep=True)
        refused = len(many) > 1 and done[0] in _ALL_REFUSED
        busy = 0
        for one, what in zip(many, done, strict=True):
            if refused and busy < MOST_BUSY:
                busy += self.write(one) == "busy"
            else:
                self.counts.add(what)

    def close(self) -> None:
        """Ends the sessions."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _written(self, many: Sequence[Committed], *, keep: bool) -> list[str]:
        """What became of each."""
        if sum(one.rows for one in many) > MOST_ROWS:
            return ["too-many-rows"] * len(many)
        if time.monotonic() < self._not_before:
            return ["unreachable"] * len(many)
        sessions: _Sessions | None = None
        try:
            sessions = self._borrow()
            with self._watchdog.watching(sessions.target.fileno()):
                done = self._tried(sessions, many, keep=keep)
        except _Left as left:
            self._give_back(sessions)
            return [str(left)] * len(many)
        except psycopg.Error as error:
            self._give_back(sessions)
            return [self._refusal(error)] * len(many)
        except (pymysql.Error, OSError, BridgeError):
            self._drop(sessions)
            self._rest()
            return ["unreachable"] * len(many)
        except Exception:  # noqa: BLE001 (told below)
            # The application's write is committed, so nothing here may look like its failure.
            # Its text, since structlog as an application has it may print every local variable.
            log.error(
                "early-write-failed",
                operations=[str(one.op.op_id) for one in many],
                traceback=traceback.format_exc(),
            )
            self._drop(sessions)
            return ["failed"] * len(many)
        self._pause = PAUSE
        self._give_back(sessions)
        return done

    def _tried(self, sessions: _Sessions, many: Sequence[Committed], *, keep: bool) -> list[str]:
        known = self._known(sessions.source, many)
        there = [one for one in many if one.op in known]
        if not there:
            return ["behind"] * len(many)
        together = _together(there)
        statements = self._statements(sessions.source, together)
        target = sessions.target
        with target.pipeline():
            target.execute("BEGIN")
            claimed = self._claimed(target, there) if keep else known
            wanted = {
                (name, key)
                for one in there
                if one.op in claimed
                for name, keys in one.touched.items()
                for key in keys
            }
            for place, (sql, values) in statements.items():
                if len(there) == 1 or place in wanted:
                    target.execute(sql.encode(), values)
            target.execute("COMMIT" if keep else "ROLLBACK")
        done = "applied" if keep else "tried"
        return [
            done if one.op in claimed else "applied-before" if one.op in known else "behind"
            for one in many
        ]

    def _known(self, source: pymysql.Connection[Any], many: Sequence[Committed]) -> set[Op]:
        """Those that the server which is read has: its rows are not older then."""
        marks = ", ".join(["%s"] * len(many))
        with source.cursor() as cursor:
            cursor.execute(
                f"SELECT seq, HEX(op_id) FROM {self._ops} WHERE seq IN ({marks})",
                [one.op.seq for one in many],
            )
            return {Op(UUID(name), int(seq)) for seq, name in cursor.fetchall()}

    def _claimed(self, target: psycopg.Connection[Any], many: Sequence[Committed]) -> set[Op]:
        """Those that are claimed now; the answer is waited for: nothing is sent after a refusal."""
        epochs = sorted({pair for one in many for pair in one.epochs.items()})
        tables = {name for one in many for name in one.touched}
        names: dict[str, Any] = {
            "pipeline": self._pipeline,
            "groups": [group for group, _ in epochs],
            "epochs": [epoch for _, epoch in epochs],
            "schemas": [name.schema for name in tables],
            "tables": [name.table for name in tables],
        }
        if len(many) == 1:  # which is told why not
            op = many[0].op
            target.execute(Q["claim"], {**names, "op": op.op_id, "number": op.seq}).fetchone()
            return {op}
        ops = {one.op.op_id: one.op for one in many}
        names |= {"ops": list(ops), "numbers": [op.seq for op in ops.values()]}
        return {ops[name] for (name,) in target.execute(Q["claim_all"], names).fetchall()}

    def _statements(self, source: pymysql.Connection[Any], touched: Touched) -> Statements:
        """What makes the touched rows as the source has them, deletes first."""
        deletes: Statements = {}
        upserts: Statements = {}
        for name, keys in sorted(touched.items(), key=lambda item: str(item[0])):
            early = self._tables[name]
            ordered = sorted(keys)
            condition = " OR ".join(f"({equal_condition(early.plan, key)})" for key in ordered)
            found: dict[bytes, bytes] = {}
            for image in look_up(source, early.plan, condition, "provisional"):
                if isinstance(image, BadRow):
                    raise _Left("refused")
                key = copied_key(image, early.plan.key)
                if key not in keys:
                    # Spelled otherwise than it was asked for. Whether the operation changed this
                    # row nobody knows, so no event may be to come that would bring it back.
                    raise _Left("refused")
                found[key] = image
            for key, image in found.items():
                upserts[name, key] = early.upsert, fields(image)
            for key in ordered:
                if key not in found:
                    deletes[name, key] = early.delete(key)
        return deletes | upserts

    def _refusal(self, error: psycopg.Error) -> str:
        state = error.sqlstate or ""
        if state in _REFUSED:
            return _REFUSED[state]
        if not state or state.startswith(("08", "57P")):
            self._rest()
            return "unreachable"
        if state.startswith(("55P", "40", "57", "25P")):
            return "busy"
        return "refused"

    # -- sessions ----------------------------------------------------------------------------

    def _borrow(self) -> _Sessions:
        with suppress(queue.Empty):
            return self._idle.get_nowait()
        source = self._open_source()
        try:
            prepare_lookups(source)
            return _Sessions(source, self._open_target())
        except BaseException:
            source.close()
            raise

    def _give_back(self, sessions: _Sessions | None) -> None:
        if sessions is None:
            return
        try:
            if not sessions.target.closed:
                if sessions.target.info.transaction_status != TransactionStatus.IDLE:
                    sessions.target.execute("ROLLBACK")
                self._idle.put_nowait(sessions)
                return
        except (psycopg.Error, queue.Full):
            pass
        self._drop(sessions)

    def _drop(self, sessions: _Sessions | None) -> None:
        if sessions is not None:
            sessions.close()

    def _rest(self) -> None:
        with self._resting:
            now = time.monotonic()
            if now >= self._not_before:  # many threads may meet the same outage
                self._not_before = now + self._pause
                self._pause = min(2 * self._pause, LONGEST_PAUSE)


@dataclass(frozen=True, slots=True)
class _Sessions:
    source: pymysql.Connection[Any]
    target: psycopg.Connection[Any]

    def close(self) -> None:
        with suppress(pymysql.Error, OSError):
            self.source.close()
        with suppress(psycopg.Error):
            self.target.close()


class _Left(Exception):
    """The operation is left to the stream, and why."""


def _together(many: Sequence[Committed]) -> Touched:
    touched: dict[TableName, set[bytes]] = {}
    for one in many:
        for name, keys in one.touched.items():
            touched.setdefault(name, set()).update(keys)
    return touched


def _name(column: ColumnPlan) -> str:
    return bindable(quote_postgres(column.target_name))
