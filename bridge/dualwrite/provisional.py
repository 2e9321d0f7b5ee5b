"""The early write of a committed operation to the target, which the stream repeats and corrects.

The rows that the operation touched are read from the source, as they are now: perhaps newer than
the operation, never older. One transaction of the target then claims the operation and makes these
rows so (`dbbridge.claim`). Why that converges: whatever happened to such a row since is behind the
operation in the source's log, which the stream has not come to, or the claim is refused. A row that
the target has already is left alone, so that each row written early has its change to come.

It never fails the application's write: what goes wrong here is counted, and the stream does it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import psycopg
import pymysql
import structlog
from psycopg.pq import TransactionStatus

from bridge.capture.keylookup import key_condition
from bridge.capture.snapshot import look_up, prepare_lookups
from bridge.change.batch import BadRow, Op
from bridge.dualwrite.authority import Q
from bridge.dualwrite.guard import Guard
from bridge.dualwrite.values import fields
from bridge.errors import BridgeError
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, quote_postgres
from bridge.replicate.ops import OPS_TABLE
from bridge.types.base import ColumnPlan

LIMITS = {
    # Shorter than PostgreSQL's deadlock_timeout (1 s): whoever waits in a circle with the stream
    # is this one, and gives up first.
    "lock_timeout": "300ms",
    "statement_timeout": "2s",
    "idle_in_transaction_session_timeout": "2s",
}
"""Of the target's sessions: a provisional write holds nobody up."""
MOST_ROWS = 500
"""Rows of an operation; a larger one is left to the stream."""
MOST_SESSIONS = 16
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

log = structlog.get_logger("dbbridge.dualwrite")

Touched = Mapping[TableName, set[bytes]]


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
        plan, names = self.plan, [quote_postgres(c.target_name) for c in self.plan.columns]
        values = ", ".join(f"%s::{column.target_type}" for column in plan.columns)
        key = ", ".join(names[: plan.key])
        rest = names[plan.key :]
        sql = (
            f"INSERT INTO {plan.target.postgres} AS t ({', '.join(names)})"
            f" OVERRIDING SYSTEM VALUE VALUES ({values}) ON CONFLICT ({key}) DO "
        )
        if not rest:
            return f"{sql}NOTHING"
        changed = [f"{name} = EXCLUDED.{name}" for name in rest]
        others = plan.columns[plan.key :]
        old = ", ".join(_comparable(f"t.{n}", c) for n, c in zip(rest, others, strict=True))
        new = ", ".join(_comparable(f"EXCLUDED.{n}", c) for n, c in zip(rest, others, strict=True))
        return f"{sql}UPDATE SET {', '.join(changed)} WHERE ROW({old}) IS DISTINCT FROM ROW({new})"

    @cached_property
    def delete(self) -> str:
        """Removes the row of a key."""
        same = " AND ".join(
            f"{quote_postgres(c.target_name)} = %s::{c.target_type}" for c in self.plan.key_columns
        )
        return f"DELETE FROM {self.plan.target.postgres} WHERE {same}"


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
        self._ops = TableName(database, OPS_TABLE).mysql
        self._tables = {name: Early(plan) for name, plan in plans.items()}
        self._open_source = open_source
        self._open_target = open_target
        self._idle: queue.LifoQueue[_Sessions] = queue.LifoQueue(MOST_SESSIONS)
        self._not_before = 0.0
        self._pause = PAUSE
        self._resting = threading.Lock()
        self._guard = Guard(LONGEST_SECONDS)
        self.counts = Counts()

    def write(
        self, epochs: Mapping[str, int], op: Op, touched: Touched, *, keep: bool = True
    ) -> str:
        """Writes a committed operation; 'applied', or why it is left to the stream.

        `epochs` are those of the groups that it wrote to.

        With `keep` false it is tried and rolled back, without a claim ('tried' when it works).
        """
        done = self._written(epochs, op, touched, keep=keep)
        self.counts.add(done)
        return done

    def close(self) -> None:
        """Ends the sessions."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _written(self, epochs: Mapping[str, int], op: Op, touched: Touched, *, keep: bool) -> str:
        if sum(map(len, touched.values())) > MOST_ROWS:
            return "too-many-rows"
        if time.monotonic() < self._not_before:
            return "unreachable"
        sessions: _Sessions | None = None
        try:
            sessions = self._borrow()
            names = {
                "pipeline": self._pipeline,
                "groups": list(epochs),
                "epochs": list(epochs.values()),
                "op": op.op_id,
                "number": op.seq,
                "schemas": [name.schema for name in touched],
                "tables": [name.table for name in touched],
            }
            with self._guard.watching(sessions.target.fileno()):
                if not self._knows(sessions.source, op):
                    return self._behind(sessions)
                statements = self._statements(sessions.source, touched)
                self._apply(sessions.target, names, statements, keep=keep)
        except _Unfit:
            self._give_back(sessions)
            return "refused"
        except psycopg.Error as error:
            self._give_back(sessions)
            return self._refusal(error)
        except (pymysql.Error, OSError, BridgeError):
            self._drop(sessions)
            self._rest()
            return "unreachable"
        except Exception:
            # The application's write is committed, so nothing here may look like its failure.
            log.exception("early-write-failed", operation=str(op.op_id))
            self._drop(sessions)
            return "failed"
        self._pause = PAUSE
        self._give_back(sessions)
        return "applied" if keep else "tried"

    def _knows(self, source: pymysql.Connection[Any], op: Op) -> bool:
        """Whether the server that is read has the operation: its rows are not older then."""
        with source.cursor() as cursor:
            sql = f"SELECT 1 FROM {self._ops} WHERE seq = %s AND op_id = UNHEX(%s)"
            return bool(cursor.execute(sql, (op.seq, op.op_id.hex)))

    def _behind(self, sessions: _Sessions) -> str:
        self._give_back(sessions)
        return "behind"

    def _statements(
        self, source: pymysql.Connection[Any], touched: Touched
    ) -> list[tuple[str, list[str | None]]]:
        """What makes the touched rows as the source has them, deletes first."""
        deletes, upserts = [], []
        for name, keys in touched.items():
            early = self._tables[name]
            ordered = sorted(keys)
            condition = " OR ".join(f"({key_condition(early.plan, key)})" for key in ordered)
            found: set[bytes] = set()
            for image in look_up(source, early.plan, condition, "provisional"):
                if isinstance(image, BadRow):
                    raise _Unfit
                found.add(b"\t".join(image.split(b"\t", early.plan.key)[: early.plan.key]))
                upserts.append((early.upsert, fields(image)))
            deletes += [(early.delete, fields(key)) for key in ordered if key not in found]
        return deletes + upserts

    def _apply(
        self,
        target: psycopg.Connection[Any],
        names: Mapping[str, Any],
        statements: list[tuple[str, list[str | None]]],
        *,
        keep: bool,
    ) -> None:
        with target.pipeline():
            target.execute("BEGIN")
            if keep:
                # Its answer is waited for: nothing is sent after a refusal.
                target.execute(Q["claim"], names).fetchone()
            for sql, values in statements:
                target.execute(sql.encode(), values)
            target.execute("COMMIT" if keep else "ROLLBACK")

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


class _Unfit(Exception):
    """A row has no form in the target."""


def _comparable(name: str, column: ColumnPlan) -> str:
    return f"{name}::text" if column.target_type == "json" else name
