"""The dual-write layer of an application that uses SQLAlchemy.

`DualWrite` has an engine for each side and knows which one has authority. Its sessions behave as
sessions on that side do. While it is the source, each committed transaction that wrote something is
an *operation*: one more statement before COMMIT records it, if the source has authority in the
epoch that this instance knows (`record_op`); after COMMIT it is written to the target early, where
the group's mode says so (`Provisional`). Once the target has authority, the same place checks the
target's epoch, and only the target is written.

The commit itself is where this happens, not an event of the session, so that Core, ORM and both
kinds of sessions go the same way.
"""

from __future__ import annotations

import asyncio
import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from pymysql.constants import ER
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine, ExceptionContext
from sqlalchemy.util import await_only

from bridge.change.batch import Op
from bridge.dualwrite.authority import (
    Authority,
    Closed,
    Q,
    Side,
    StaleEpoch,
    record_op,
)
from bridge.dualwrite.behind import Behind
from bridge.dualwrite.groups import group_of
from bridge.dualwrite.heartbeat import Heartbeat
from bridge.dualwrite.lookout import Lookout, Sides
from bridge.dualwrite.provisional import Committed, Provisional
from bridge.dualwrite.reading import Place, Reading, Wish
from bridge.dualwrite.recorder import KEY, WRITTEN, NotCarried, Operation, Recorder, TargetRecorder
from bridge.errors import ConfigError
from bridge.mapping.plan import TablePlan
from bridge.names import TableName

T = TypeVar("T")

FENCED = frozenset({ER.TABLEACCESS_DENIED_ERROR, ER.COLUMNACCESS_DENIED_ERROR, 1290})
"""What a source's fence says to who has begun before it (1290: read_only)."""


class DualWrite:
    """One application instance's view of a pipeline.

    `source` and `target` are the application's engines (of an async engine: its `sync_engine`).
    `plans` are the carried tables. `strict` refuses what cannot be written early; otherwise it is
    left to the stream and counted. `behind`: commits do not wait for their early writes, which
    are made right behind them.
    """

    def __init__(
        self,
        sides: Sides,
        plans: Mapping[TableName, TablePlan],
        source: Engine,
        target: Engine,
        *,
        strict: bool = False,
        behind: bool = False,
    ) -> None:
        self.sides = sides
        self.database = sides.database
        self.source, self.target = source, target
        self.early = Provisional(
            sides.pipeline, sides.database, plans, sides.open_source, sides.open_target
        )
        self._behind = Behind(self.early) if behind else None
        self._reading = Reading(sides.pipeline, sides.open_target)
        self._groups = {name: group_of(name, plan.group) for name, plan in plans.items()}
        self.lookout = Lookout(sides)
        epochs = weakref.WeakMethod(self._epochs)
        self.heartbeat = Heartbeat(sides.open_target, sides.pipeline, epochs)
        _listen(source, Recorder(plans, sides.database, strict=strict))
        _listen(target, TargetRecorder(plans))
        for engine in (source, target):
            event.listen(engine, "handle_error", self._failed)
        _take_over_commits(source, self._commit_source)
        _take_over_commits(target, self._commit_target)

    def engine(self, tables: Iterable[TableName] | None = None) -> Engine:
        """The engine of the side that has authority over all groups; raises Closed.

        `tables`: over their groups, where the transaction touches no others.
        """
        known = self.authorities()
        groups = known if tables is None else {self._groups[name] for name in tables}
        sides = {known[group].side for group in groups if group in known} or {"source"}
        if sides == {"source"}:
            return self.source
        if sides == {"target"}:
            return self.target
        raise Closed(
            "a switch is under way, and nobody has authority over all groups now",
            "try the transaction again in a moment",
        )

    def reads(
        self, group: str, wish: Wish | None = None, tables: Iterable[TableName] | None = None
    ) -> Engine:
        """The engine for reads of a group, or of some of its tables (names in the source).

        As many per cent of them as the group's row says, and those that wish for it, go to the
        target while it may answer. Raises Closed, and ConfigError for a group that is not there.
        """
        side = self.reads_side(group, wish, tables)
        return self.source if side == "source" else self.target

    def reads_side(
        self, group: str, wish: Wish | None = None, tables: Iterable[TableName] | None = None
    ) -> Place:
        """The same side by its name."""
        named = [name for name, of in self._groups.items() if of == group]
        if not named:
            raise ConfigError(
                f"there is no group “{group}”",
                "there are: " + ", ".join(sorted(set(self._groups.values()))[:20]),
            )
        known, asked = self.authorities().get(group), wish or Wish()
        chosen = named if tables is None else tables
        return self._wait(lambda: self._reading.side(group, known, chosen, asked))

    def authorities(self) -> dict[str, Authority]:
        """The groups' rows, as `Lookout.rows` has them; none: not set up."""
        self.heartbeat.start()
        known = self.lookout.known()
        return self._wait(self.lookout.rows) if known is None else known

    def _epochs(self) -> dict[str, int]:
        return {name: known.epoch for name, known in self.lookout.rows().items()}

    def _wait(self, work: Callable[[], T]) -> T:
        """Does it; the event loop of an asynchronous engine goes on meanwhile."""
        if self.source.dialect.is_async:
            done: T = await_only(asyncio.to_thread(work))
            return done
        return work()

    def close(self) -> None:
        """Ends the layer's own sessions; the engines are the application's."""
        self.heartbeat.stop()
        if self._behind is not None:
            self._behind.close()
        self.early.close()
        self._reading.close()
        self.lookout.close()

    # -- authority ---------------------------------------------------------------------------

    def _failed(self, context: ExceptionContext) -> None:
        """A statement that a fence has stopped is one of an instance that does not know yet."""
        error = context.original_exception
        side: Side = "source" if context.dialect is self.source.dialect else "target"
        operation = context.connection.info.get(KEY) if context.connection else None
        if operation is None or not _fenced(error):
            return
        self.lookout.forget()
        known = self.authorities()
        groups = self.concerned(operation, known)
        if any(known[group].side != side for group in groups if group in known):
            raise stale(groups) from error

    # -- commits -----------------------------------------------------------------------------

    def _commit_source(self, conn: Any, commit: Callable[[Any], None]) -> None:
        operation: Operation | None = conn.info.pop(KEY, None)
        known = self.authorities() if operation is not None else {}
        groups = [] if operation is None else self.concerned(operation, known)
        # A group without a row was never set up, so the source has it, and the stream brings it.
        held = [known[group] for group in groups if group in known]
        if operation is None or not held:
            _commit(operation, conn, commit)
            return
        op_id = operation.op_id or uuid.uuid4()
        sql, values = record_op(self.database, [(one.group, one.epoch) for one in held])
        cursor = conn.cursor()
        try:
            cursor.execute(sql, (op_id.hex, *values))
            recorded, number = cursor.rowcount == 1, cursor.lastrowid
        finally:
            cursor.close()
        if not recorded:
            self.lookout.forget()
            raise stale(groups)
        _commit(operation, conn, commit)
        conn.info[WRITTEN] = op = Op(op_id, int(number))
        self.recorded(operation, op, groups, held)

    def recorded(
        self, operation: Operation, op: Op, groups: list[str], held: list[Authority]
    ) -> None:
        """What follows the commit of an operation that was recorded as `op`: the early write."""
        operation.op = op
        if len(held) == len(groups):
            self._write_early(held, op, operation)

    def concerned(self, operation: Operation, known: Mapping[str, Authority]) -> list[str]:
        """The groups that an operation writes; all, where a statement in text does not tell.

        Whoever tells himself what his statements touch names all tables, if not all keys.
        """
        if operation.unknown and not operation.told:
            return sorted(known)
        return sorted({self._groups[name] for name in operation.tables})

    def _write_early(self, held: list[Authority], op: Op, operation: Operation) -> None:
        if operation.unknown:
            self.early.counts.add("not-carried")
            return  # half an operation is nothing that anybody has written
        modes = {one.mode for one in held}
        if not operation.touched or modes not in ({"shadow"}, {"provisional"}):
            return
        one = Committed({each.group: each.epoch for each in held}, op, operation.touched)
        keep = modes == {"provisional"}
        if self._behind is not None and keep:
            self._behind.add(one)
        else:
            self._wait(lambda: self.early.write(one, keep=keep))

    def _commit_target(self, conn: Any, commit: Callable[[Any], None]) -> None:
        operation: Operation | None = conn.info.pop(KEY, None)
        if operation is None:
            commit(conn)
            return
        known = self.authorities()
        cursor = conn.cursor()
        try:
            for group in self.concerned(operation, known):
                names = {"pipeline": self.sides.pipeline, "group": group}
                cursor.execute(Q["hold"], {**names, "epoch": known[group].epoch})
        except (psycopg.Error, KeyError) as error:
            self.lookout.forget()
            if getattr(error, "sqlstate", None) == "DBW05":
                raise NotCarried(
                    "writes run at READ COMMITTED once the target has authority",
                    "make the engine without isolation_level, or with READ COMMITTED",
                ) from error
            if isinstance(error, KeyError) or error.sqlstate == "DBW01":
                raise stale(sorted(known)) from error
            raise
        finally:
            cursor.close()
        _commit(operation, conn, commit)


def _commit(operation: Operation | None, conn: Any, commit: Callable[[Any], None]) -> None:
    """From here on an error may be one of a transaction that is committed."""
    if operation is not None:
        operation.committing = True
    commit(conn)


def _fenced(error: BaseException) -> bool:
    """Whether a driver of either side says that the right to write was taken away."""
    if isinstance(error, psycopg.Error):
        return error.sqlstate == "42501"
    return bool(error.args) and error.args[0] in FENCED


def stale(groups: list[str]) -> StaleEpoch:
    """The error for a transaction of an instance that does not know of a change."""
    return StaleEpoch(
        f"authority or mode of {', '.join(groups)} changed since this instance looked;"
        " nothing was written",
        "run the transaction again",
    )


def _listen(engine: Engine, recorder: Recorder) -> None:
    @event.listens_for(engine, "before_execute")
    def before(conn: Connection, statement: Any, many: Any, params: Any, _: Any) -> None:
        recorder.before(conn, statement, many, params)

    @event.listens_for(engine, "after_execute")
    def after(conn: Connection, statement: Any, *rest: Any) -> None:
        recorder.after(conn, statement, rest[-1])

    @event.listens_for(engine, "before_cursor_execute")
    def before_cursor(conn: Connection, _: Any, statement: str, *rest: Any) -> None:
        recorder.before_cursor(conn, statement, rest[1])

    @event.listens_for(engine, "rollback")
    def rolled_back(conn: Connection) -> None:
        if not conn.invalidated:  # else what it had is gone with it
            conn.connection.info.pop(KEY, None)

    @event.listens_for(engine, "prepare_twophase")
    def prepared(*_: Any) -> None:
        raise NotCarried(
            "two-phase commits are logged in two parts and are not followed",
            "commit in one phase: twophase=False",
        )


def _take_over_commits(
    engine: Engine, commit: Callable[[Any, Callable[[Any], None]], None]
) -> None:
    dialect: Any = engine.dialect
    original = dialect.do_commit

    def do_commit(dbapi_connection: Any) -> None:
        try:
            commit(dbapi_connection, original)
        except BaseException:
            # SQLAlchemy takes a transaction whose commit was called for ended, and hands the
            # session to the next one, which would commit what this one must not.
            with suppress(Exception):
                dbapi_connection.rollback()
            raise

    dialect.do_commit = do_commit
