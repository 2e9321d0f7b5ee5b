"""Operations of callers, each request one transaction of the layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from pymysql.constants import ER
from sqlalchemy.engine import Connection, Engine, Transaction
from sqlalchemy.exc import DBAPIError, IntegrityError

from bridge.dualwrite.http import answers, statements
from bridge.dualwrite.http.answers import Once, Taken
from bridge.dualwrite.http.models import Delete, Insert, Update, Upsert
from bridge.dualwrite.http.problems import Problem, busy, commit_unknown, numbered, transient
from bridge.dualwrite.http.remembered import Remembered
from bridge.dualwrite.http.tables import Carried, Tables, absent
from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.recorder import Operation as Recorded
from bridge.dualwrite.recorder import operation_of
from bridge.errors import BridgeError

Operation = Insert | Update | Upsert | Delete
TRIES = 3
"""Of a transaction that lost a race, in which nothing was written."""
_ROLLED_BACK = frozenset({ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT})


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results as JSON, the token for reads after it, and whether it was written before."""

    results: bytes
    after: str | None
    repeated: bool = False


class _Again(Exception):
    """It is to be tried again; `problem`: what a caller is told in the end."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem


class Writes:
    """Carries out transactions where the authority is."""

    def __init__(self, dual: DualWrite, tables: Tables, remember_hours: float) -> None:
        self._dual = dual
        self._tables = tables
        self._remembered = Remembered(dual, remember_hours)

    def run(self, operations: Sequence[Operation], once: Once | None) -> Outcome:
        """All of the operations, or none; raises Problem and the servers' errors."""
        tables = [self._tables.get(each.table) for each in operations]
        for left in reversed(range(TRIES)):
            engine = self._dual.engine([table.plan.source for table in tables])
            side = "source" if engine is self._dual.source else "target"
            try:
                if once is not None and side == "target":
                    before = self._remembered.given(once, {table.group for table in tables})
                    if before is not None:
                        return Outcome(*before, repeated=True)
                return self._transaction(engine, side, operations, tables, once)
            except Taken:
                assert once is not None
                found = answers.given(engine, side, once)
                if found is not None:
                    return Outcome(*found, repeated=True)
            except _Again as again:
                if not left:
                    raise again.problem from None
            except (DBAPIError, BridgeError) as error:
                if not left or not transient(error):
                    raise
        raise busy()

    def _transaction(
        self,
        engine: Engine,
        side: str,
        operations: Sequence[Operation],
        tables: Sequence[Carried],
        once: Once | None,
    ) -> Outcome:
        with engine.connect() as conn, conn.begin() as transaction:
            operation = operation_of(conn, make=True)
            assert operation is not None
            operation.told = True
            # A request that finds nothing to change is bound to its epoch too.
            operation.tables |= {table.plan.source for table in tables}
            if once is not None:
                operation.op_id = once.op_id
                answers.take(conn, side, once)
            done = [
                _result(conn, side, table, each, number)
                for number, (table, each) in enumerate(zip(tables, operations, strict=True))
            ]
            results = msgspec.json.encode(done)
            if once is not None:
                answers.keep(conn, side, once, results)
            _commit(transaction, side, operation, once)
        op = operation.op
        return Outcome(results, answers.token(op.seq, op.op_id) if op else None)


def _commit(transaction: Transaction, side: str, operation: Recorded, once: Once | None) -> None:
    """Commits; raises `_Again`, or Problem without a key, where nobody knows what became of it.

    Only a transaction with a key may then be run again.
    """
    try:
        transaction.commit()
    except DBAPIError as error:
        if not (operation.committing and _left_open(side, error)):
            raise
        unknown = commit_unknown()
        raise (unknown if once is None else _Again(unknown)) from error


def _left_open(side: str, error: DBAPIError) -> bool:
    """Whether the transaction of a COMMIT that failed like that may be committed.

    PostgreSQL has rolled back what it refuses. The others say so only where somebody else was in
    the way: the same error may come while a replica is waited for, or after all is on disk.
    """
    if error.connection_invalidated:
        return True
    code = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return side == "source" and code not in _ROLLED_BACK


def _result(
    conn: Connection, side: str, table: Carried, asked: Operation, number: int
) -> dict[str, Any]:
    with numbered(number):
        key = _CARRIED_OUT[type(asked)](conn, side, table, asked)
    return shown(table, asked, key)


def shown(table: Carried, asked: Operation, key: dict[str, Any]) -> dict[str, Any]:
    """What a caller is told of an operation."""
    return {"do": asked.do, "table": table.name, "key": table.shown_key(key)}


def _insert(conn: Connection, side: str, table: Carried, asked: Any) -> dict[str, Any]:
    return statements.insert(conn, side, table, table.values(asked.values, side))


def _update(conn: Connection, side: str, table: Carried, asked: Any) -> dict[str, Any]:
    key = table.key_values(asked.key, side)
    if not _changed(conn, side, table, key, asked.values):
        raise absent(table)
    return key


def _upsert(conn: Connection, side: str, table: Carried, asked: Any) -> dict[str, Any]:
    key = table.key_values(asked.key, side)
    if _changed(conn, side, table, key, asked.values):
        return key
    values = table.values(asked.values, side)
    try:
        with conn.begin_nested():
            statements.insert(conn, side, table, key | values)
    except IntegrityError:
        # The row itself may have come meanwhile; another unique value is the caller's affair.
        if statements.exists(conn, side, table, key):
            raise _Again(busy()) from None  # somebody made it between the look and the insert
        raise
    return key


def _delete(conn: Connection, side: str, table: Carried, asked: Any) -> dict[str, Any]:
    key = table.key_values(asked.key, side)
    if not statements.delete(conn, side, table, key):
        raise absent(table)
    return key


def _changed(
    conn: Connection, side: str, table: Carried, key: dict[str, Any], given: dict[str, Any]
) -> bool:
    """Whether there is such a row; it has the values now."""
    changes = table.changes(key, given, side)
    if not changes:
        return statements.exists(conn, side, table, key)
    return statements.update(conn, side, table, key, changes)


_CARRIED_OUT: dict[type[Any], Any] = {
    Insert: _insert,
    Update: _update,
    Upsert: _upsert,
    Delete: _delete,
}
