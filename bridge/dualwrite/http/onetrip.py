"""Most writes to the source: rows, the operation's record and the commit in one round trip.

It goes where no statement depends on what one before it did: rows are inserted, or a single row is
changed or removed. The event loop itself waits for the answer, since several threads that wait for
their turns at the interpreter take longer than the servers do. Whatever does not go like that, or
is refused, is rolled back and left to the way that all else goes, which says what is wrong.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pymysql
from pymysql.constants import ER

from bridge.change.batch import Op
from bridge.dualwrite.authority import Authority, record_op_or_fail
from bridge.dualwrite.http import statements
from bridge.dualwrite.http.models import Delete, Insert, Update
from bridge.dualwrite.http.problems import busy, commit_unknown, source_away
from bridge.dualwrite.http.statements import Statement
from bridge.dualwrite.http.tables import Carried
from bridge.dualwrite.http.wire import Answers, Lost, Refused, Session
from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.recorder import Operation
from bridge.errors import BridgeError, ServerUnreachable

MOST_TEXT = 1 << 18
"""Bytes of a text; more than that takes its time anyway."""
ROLLBACK = b"ROLLBACK"
IDLE_SECONDS = 60.0
"""After that a session is not used again: what stands between may have forgotten its connection,
and whether a text got through would not be known."""
END_SECONDS = 1.0
MOST_WAITING = 32
"""Writes for each session, whose callers would else wait for one another without end."""


@dataclass(frozen=True, slots=True)
class ToSource:
    """How sessions are opened that `Trips` may use; `seconds`: the longest wait for an answer."""

    connect: Callable[[], pymysql.Connection[Any]]
    seconds: float


@dataclass(frozen=True, slots=True)
class Done:
    """A committed transaction: each operation's key, and what it is recorded as."""

    keys: list[dict[str, Any]]
    op: Op


@dataclass(frozen=True, slots=True)
class _Step:
    """A statement and the row that it is about; of an insert, `given` are all values."""

    table: Carried
    statement: Statement
    given: dict[str, Any]
    inserts: bool

    def key(self, number: int) -> dict[str, Any]:
        """The row's, where the statement's insert id was `number`."""
        return statements.inserted(self.table, self.given, number) if self.inserts else self.given


class Trips:
    """Carries operations to the source on an event loop.

    `most` is how many sessions are open at once; `threads` do what blocks.
    """

    def __init__(self, dual: DualWrite, to_source: ToSource, threads: Executor, most: int) -> None:
        self._dual = dual
        self._to_source = to_source
        self._threads = threads
        self._free = asyncio.Semaphore(most)
        self._queue = most * MOST_WAITING
        self._idle: list[tuple[float, Session]] = []

    async def write(self, operations: Sequence[Any], tables: Sequence[Carried]) -> Done | None:
        """None where it does not go like this; nothing was written then.

        Raises Problem where the connection broke before the answer.
        """
        if not _fits(operations):
            return None
        try:
            steps = [_step(*each) for each in zip(operations, tables, strict=True)]
            known = self._dual.lookout.known() or await self._look()
            # What is told of it must not fail once it is committed.
            operation = _operation(steps, [1] * len(steps))
        except Exception:  # noqa: BLE001 (the other way says what is wrong, before its commit)
            return None
        groups = self._dual.concerned(operation, known)
        held = [known[group] for group in groups if group in known]
        if not held or any(one.mode == "shadow" or one.side != "source" for one in held):
            return None
        op_id = uuid4()
        sql, values = record_op_or_fail(
            self._dual.database, [(one.group, one.epoch) for one in held]
        )
        parts = [*(step.statement for step in steps), Statement(sql, (op_id.hex, *values))]
        await self._take()
        try:
            answers = await self._sent(parts)
        finally:
            self._free.release()
        if answers is None:
            return None
        numbers = [number for _, number in answers]
        operation = _operation(steps, numbers)
        op = Op(op_id, numbers[len(steps)])
        self._dual.recorded(operation, op, groups, held)
        return Done([step.key(n) for step, n in zip(steps, numbers, strict=False)], op)

    def close(self) -> None:
        """Hangs up."""
        while self._idle:
            self._idle.pop()[1].close()

    async def _take(self) -> None:
        """Waits for its turn at a session, as long as for an answer; raises Problem."""
        if self._free.locked():
            if not self._queue:
                raise busy()
            self._queue -= 1
            try:
                async with asyncio.timeout(self._to_source.seconds):
                    await self._free.acquire()
            except TimeoutError:
                raise busy() from None
            finally:
                self._queue += 1
        else:
            await self._free.acquire()

    async def _look(self) -> dict[str, Authority]:
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._dual.authorities
        )

    async def _sent(self, parts: Sequence[Statement]) -> Answers | None:
        """What became of each statement, and of the commit; None: rolled back, or not begun."""
        session = await self._session()
        try:
            mogrify = session.cursor.mogrify
            text = ";".join([*(mogrify(part.sql, part.values) for part in parts), "COMMIT"])
            sent = text.encode()
            if len(sent) > MOST_TEXT:
                return None
            return await session.execute(sent)
        except Refused as refused:
            await self._roll_back(session)
            if refused.done == len(parts):
                raise commit_unknown() from refused
            waited = refused.__cause__
            if isinstance(waited, pymysql.MySQLError) and waited.args[0] == ER.LOCK_WAIT_TIMEOUT:
                raise waited from None
            return None
        except Lost:
            await self._end(session)
            raise commit_unknown() from None
        except BaseException:
            session.close()
            raise
        finally:
            if session.alive:
                self._idle.append((time.monotonic(), session))

    async def _session(self) -> Session:
        while self._idle:
            since, session = self._idle.pop()
            if session.alive and time.monotonic() - since < IDLE_SECONDS:
                return session
            session.close()
        loop = asyncio.get_running_loop()
        try:
            conn = await loop.run_in_executor(self._threads, self._to_source.connect)
        except (pymysql.OperationalError, ServerUnreachable, OSError):
            raise source_away() from None
        return Session(conn, self._to_source.seconds)

    async def _end(self, session: Session) -> None:
        """Has the server end a session that says nothing, as far as that is quick.

        What it was sent would be executed even so, whenever whatever holds it up is over.
        """
        loop = asyncio.get_running_loop()
        ending = loop.run_in_executor(self._threads, self._kill, session.thread)
        await asyncio.wait({ending}, timeout=END_SECONDS)

    def _kill(self, thread: int) -> None:
        with (
            suppress(pymysql.MySQLError, BridgeError, OSError),
            closing(self._to_source.connect()) as conn,
            conn.cursor() as cursor,
        ):
            cursor.execute(f"KILL {int(thread)}")

    @staticmethod
    async def _roll_back(session: Session) -> None:
        if not session.alive:
            return
        try:
            await session.execute(ROLLBACK)
        except (Refused, Lost):
            session.close()


def _operation(steps: Sequence[_Step], numbers: Sequence[int]) -> Operation:
    """What the steps touch; raises whatever is wrong with what callers are told of them, too."""
    operation = Operation(told=True, tables={step.table.plan.source for step in steps})
    for step, number in zip(steps, numbers, strict=False):
        key = step.key(number)
        step.table.shown_key(key)
        statements.touched(operation, step.table, key)
    return operation


def _fits(operations: Sequence[Any]) -> bool:
    if len(operations) > 1:
        return all(isinstance(each, Insert) for each in operations)
    (one,) = operations
    return isinstance(one, Insert | Delete) or (isinstance(one, Update) and bool(one.values))


def _step(asked: Any, table: Carried) -> _Step:
    if isinstance(asked, Insert):
        values = table.values(asked.values, "source")
        return _Step(table, statements.inserting("source", table, values), values, inserts=True)
    key = table.key_values(asked.key, "source")
    if isinstance(asked, Delete):
        return _Step(table, statements.deleting("source", table, key), key, inserts=False)
    changes = table.changes(key, asked.values, "source")
    return _Step(table, statements.updating("source", table, key, changes), key, inserts=False)
