"""The journal: how far each group's cutover has come, kept in the target.

One operator at a time is at a group: he holds an advisory lock with his session (`take`) and counts
the attempt up. Every change compares state and attempt under the row's lock, so that an operator
who was left behind changes nothing (Superseded). It also goes into the history, in one transaction,
which is durable whatever the role's settings are.

A change made while the connection is in a transaction belongs to it: to flip, open the target's row
and `advance` in one; to make any other change of the target depend on the attempt, `guard` first.
"""

from __future__ import annotations

import getpass
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from bridge.cutover.evidence import merged
from bridge.cutover.transitions import INITIAL, TABLE, Event, State, advance
from bridge.cutover.waivers import Waivers
from bridge.databases.postgres import limit_locks
from bridge.errors import BridgeError
from bridge.store.sql import queries
from bridge.store.state import Connection
from bridge.store.state import Q as STORE

Q = queries("bridge.cutover", "queries.sql")
PATIENCE_SECONDS = 1.0
"""How long to wait for PostgreSQL to notice that a killed operator's session is gone."""
EVICTION_SECONDS = 30.0
"""How long a session that was ended may take to be gone: its server may have much else to do."""
SCHEDULED: tuple[State, ...] = ("source-primary", "arming", "armed")
"""In these a switch may be announced; it begins with fencing."""
GRACE_SECONDS = 5.0
"""So long after its deadline an operator's session is ended by whoever takes the group."""
TAKEN_SECONDS = 120.0
"""How long whoever takes over may take to bring a group to rest, unless he says otherwise."""


class Busy(BridgeError):
    """Somebody is at this group's cutover; nothing was changed."""

    transient = True


class Superseded(BridgeError):
    """Another operator took over since; this one changed nothing more."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A switch that somebody waits to make."""

    at: datetime
    by: str
    plan: str


@dataclass(frozen=True, slots=True)
class Record:
    """A group's row, as it was read, or as this operator left it.

    `operator` is who took the group last, at `taken_at`; `holder` is the process number of the
    session that has the lock (None: nobody is at it). `evidence` is what was changed and is not
    undone yet.
    """

    group: str
    state: State = INITIAL
    attempt: int = 0
    operator: str = ""
    taken_at: datetime | None = None
    plan: str = ""
    deadline: datetime | None = None
    began_at: datetime | None = None
    changed_at: datetime | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    schedule: Schedule | None = None
    holder: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the history; `seconds` is how long the state before had lasted.

    Beside the events of the table there are "taken" (an operator took the group) and "failed".
    """

    at: datetime
    attempt: int
    operator: str
    before: State
    event: str
    after: State
    seconds: float
    detail: Mapping[str, Any]


def whoami() -> str:
    """This operator as others are told of him: user@host and process number."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in a container
        user = str(os.getuid())
    return f"{user}@{platform.node()} pid {os.getpid()}"


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of a pipeline, over a session in autocommit that the caller keeps open."""

    conn: Connection
    pipeline: str

    def read(self, group: str) -> Record:
        """A group's record; the initial one if it was never touched."""
        return next(iter(self._records(group)), Record(group))

    def read_all(self) -> dict[str, Record]:
        """All groups that were ever touched."""
        return {record.group: record for record in self._records(None)}

    def states(self) -> dict[str, State]:
        """The same, states alone: cheap enough to be asked for all the time."""
        return dict(self._rows(Q["states"], {"pipeline": self.pipeline}))

    def history(self, group: str) -> tuple[Step, ...]:
        """All that happened to a group, oldest first."""
        return tuple(Step(*row) for row in self._rows(Q["history"], self._names(group)))

    def take(
        self,
        group: str,
        operator: str = "",
        *,
        evict: bool = False,
        timeout: float = TAKEN_SECONDS,
    ) -> Record:
        """Takes the group for this session, under a new attempt, until `release` or its end.

        `timeout`, in seconds from now, is the new deadline of what is under way: whoever takes over
        may stand still like the one before. Raises Busy, naming who has the group. With `evict`, or
        where he is past his deadline, his session is ended instead; the connection to the source
        that he may still have is for the caller to end, before anything else is done.
        """
        assert self.conn.autocommit
        names = self._names(group)
        self.conn.execute(STORE["ensure_pipeline"], names)
        self.conn.execute(Q["ensure"], names)
        if not self._lock(names):
            holder = self.read(group)
            if not (evict or self.overdue(holder)):
                raise _busy(holder)
            self._evict(holder, names)
        try:
            with self.conn.transaction():
                self.conn.execute(Q["durable"])
                before = self.read(group)
                rests = TABLE[before.state].resting
                taken = {**names, "operator": operator or whoami()}
                self.conn.execute(Q["take"], {**taken, "rests": rests, "timeout": timeout})
                self._add_step(group, before.state, "taken", None, {})
            return self.read(group)
        except BaseException:
            with suppress(psycopg.Error):  # the connection may be gone, and the lock with it
                self.conn.execute(Q["unlock"], names)
            raise

    def release(self, record: Record) -> None:
        """Lets others take the group."""
        self.conn.execute(Q["unlock"], self._names(record.group))

    def guard(self, record: Record) -> None:
        """Locks the row until the end of the transaction that is open, if it is as in `record`.

        Raises Superseded otherwise.
        """
        assert self.conn.info.transaction_status == TransactionStatus.INTRANS
        self._hold(record)

    def require_rest(self, group: str) -> None:
        """Keeps a group from beginning a cutover until the end of the transaction that is open.

        For whoever changes its authority rows in any other way: a new epoch in the middle of a
        switch would make the rows' closing do nothing. Raises Busy where one is under way.
        """
        assert self.conn.info.transaction_status == TransactionStatus.INTRANS
        names = self._names(group)
        self.conn.execute(STORE["ensure_pipeline"], names)
        self.conn.execute(Q["ensure"], names)
        rows = self._rows(Q["hold_at_rest"], names)
        if any(not TABLE[state].resting for (state,) in rows):
            raise _busy(self.read(group))

    def advance(
        self,
        record: Record,
        event: Event,
        detail: Mapping[str, Any] | None = None,
        *,
        plan: str | None = None,
        timeout: float | None = None,
    ) -> Record:
        """Commits the next state, and returns the record as it is then.

        `detail` is for the history; `plan` is the hash of what was agreed to; `timeout`, in
        seconds from now, sets the deadline, which stays until the group rests. Raises
        IllegalTransition, or Superseded; nothing is changed then.
        """
        after = advance(record.state, event)
        changes = {
            **self._names(record.group),
            "after": after,
            "plan": plan,
            "timeout": timeout,
            "begins": TABLE[record.state].resting,
            "rests": TABLE[after].resting,
            "waits": after in SCHEDULED,
        }
        with self.conn.transaction():
            self.conn.execute(Q["durable"])
            since, _ = self._hold(record)
            self.conn.execute(Q["advance"], changes)
            told = dict(detail or {})
            if record.state in ("flipping", "reverse-flipping"):
                waived = Waivers(self.conn, self.pipeline).clear(record.group)
                told |= {"waived": waived} if waived else {}
            self._add_step(record.group, record.state, event, since, told)
            return self.read(record.group)

    def note(self, record: Record, evidence: Mapping[str, Any]) -> Record:
        """Adds to the evidence (bridge.cutover.evidence.merged: what is known stays).

        Call it before what it tells of is done. Raises Superseded.
        """
        with self.conn.transaction():
            self.conn.execute(Q["durable"])
            _, known = self._hold(record)
            return self._replace_evidence(record, merged(known, evidence))

    def forget(self, record: Record, *keys: str) -> Record:
        """Removes keys of the evidence, once what they tell of is undone. Raises Superseded."""
        with self.conn.transaction():
            self.conn.execute(Q["durable"])
            _, known = self._hold(record)
            left = {key: value for key, value in known.items() if key not in keys}
            return self._replace_evidence(record, left)

    def fail(self, record: Record, error: str) -> Record:
        """Writes down why the attempt ended; the state stays. Raises Superseded."""
        with self.conn.transaction():
            self._hold(record)
            self.conn.execute(Q["fail"], {**self._names(record.group), "error": error})
            self._add_step(record.group, record.state, "failed", None, {"error": error})
        return replace(record, error=error)

    def schedule(self, group: str, at: datetime, plan: str = "", operator: str = "") -> Record:
        """Announces a switch; whoever waits for it takes the group then, and looks again.

        Raises IllegalTransition where no switch can begin.
        """
        before = self.read(group).state
        advance(before, "switch")
        names = {**self._names(group), "before": before}
        self.conn.execute(STORE["ensure_pipeline"], names)
        self.conn.execute(Q["ensure"], names)
        bound = {**names, "at": at, "plan": plan, "operator": operator or whoami()}
        if self.conn.execute(Q["schedule"], bound).rowcount != 1:
            raise _busy(self.read(group))
        return self.read(group)

    def unschedule(self, group: str) -> bool:
        """Calls it off; false if nothing was announced (or it has begun)."""
        return self.conn.execute(Q["unschedule"], self._names(group)).rowcount == 1

    def _lock(self, names: Mapping[str, Any]) -> bool:
        try:
            with self.conn.transaction():
                limit_locks(self.conn, PATIENCE_SECONDS)
                self.conn.execute(Q["lock"], names)
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    def overdue(self, holder: Record) -> bool:
        """Whether he is past his deadline, and some seconds more, by the target's clock."""
        if holder.deadline is None:
            return False
        row = self.conn.execute(
            "SELECT clock_timestamp() > %s + %s * interval '1 second'",
            (holder.deadline, GRACE_SECONDS),
        ).fetchone()
        return bool(row and row[0])

    def _evict(self, holder: Record, names: Mapping[str, Any]) -> None:
        """The session of that very attempt; if another one came meanwhile, it stays."""
        ended = {"attempt": holder.attempt, "milliseconds": round(EVICTION_SECONDS * 1000)}
        try:
            self.conn.execute(Q["evict"], {**names, **ended})
        except psycopg.errors.InsufficientPrivilege as error:
            raise _busy(holder) from error
        if not self._lock(names):
            raise _busy(self.read(holder.group))

    def _hold(self, record: Record) -> tuple[datetime, dict[str, Any]]:
        names = {**self._names(record.group), "before": record.state, "attempt": record.attempt}
        row = self.conn.execute(Q["guard"], names).fetchone()
        if row is not None:
            changed_at, evidence = row
            return changed_at, evidence
        now = self.read(record.group)
        raise Superseded(
            f"{now.operator} took over group {record.group} "
            f"(attempt {now.attempt}, this was {record.attempt}); it is {now.state} by now",
            "see how it goes on: dbbridge cutover status",
        )

    def _replace_evidence(self, record: Record, evidence: dict[str, Any]) -> Record:
        names = self._names(record.group)
        self.conn.execute(Q["note"], {**names, "evidence": Jsonb(evidence)})
        return replace(record, evidence=evidence)

    def _add_step(
        self,
        group: str,
        before: State,
        event: str,
        since: datetime | None,
        detail: Mapping[str, Any],
    ) -> None:
        step = {"before": before, "event": event, "since": since, "detail": Jsonb(dict(detail))}
        self.conn.execute(Q["add_step"], {**self._names(group), **step})

    def _records(self, group: str | None) -> list[Record]:
        names = {"pipeline": self.pipeline, "group": group}
        return [_record(row) for row in self._rows(Q["read"], names)]

    def _rows(self, query: str, names: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        try:
            with self.conn.transaction():
                return self.conn.execute(query, names).fetchall()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return []  # before the first sync there is no control schema

    def _names(self, group: str) -> dict[str, Any]:
        return {"pipeline": self.pipeline, "group": group}


def _record(row: tuple[Any, ...]) -> Record:
    *facts, at, by, plan, holder = row
    schedule = Schedule(at, by, plan) if at else None
    return replace(Record(*facts), schedule=schedule, holder=holder)


def _busy(holder: Record) -> Busy:
    since = f" since {holder.taken_at:%Y-%m-%d %H:%M:%S %Z}" if holder.taken_at else ""
    who = f"{holder.operator}{since}" if holder.operator else "somebody who is just beginning"
    return Busy(
        f"group {holder.group} is {holder.state}, and {who} is at it",
        "wait for that one to end, or end it there; dbbridge cutover status shows how it goes on",
    )
