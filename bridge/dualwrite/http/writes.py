"""Operations of callers, each request one transaction of the layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import delete, insert, update
from sqlalchemy.engine import Connection, Engine, Transaction
from sqlalchemy.exc import DBAPIError, IntegrityError

from bridge.dualwrite.http import answers
from bridge.dualwrite.http.answers import Once, Taken
from bridge.dualwrite.http.models import Delete, Insert, Update, Upsert
from bridge.dualwrite.http.problems import Problem, problem_of, transient
from bridge.dualwrite.http.tables import Carried, Tables
from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.recorder import operation_of
from bridge.errors import BridgeError

Operation = Insert | Update | Upsert | Delete
TRIES = 3
"""Of a transaction that lost a race, in which nothing was written."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results as JSON, the token for reads after it, and whether it was written before."""

    results: bytes
    after: str | None
    repeated: bool = False


class _Raced(Exception):
    """Somebody made the row between the look and the insert."""


class Writes:
    """Carries out transactions where the authority is."""

    def __init__(self, dual: DualWrite, tables: Tables) -> None:
        self._dual = dual
        self._tables = tables

    def run(self, operations: Sequence[Operation], once: Once | None) -> Outcome:
        """All of the operations, or none; raises Problem and the servers' errors."""
        tables = [self._tables.get(each.table) for each in operations]
        for left in reversed(range(TRIES)):
            engine = self._engine(tables)
            side = "source" if engine is self._dual.source else "target"
            try:
                if once is not None and side == "target":
                    before = self._given_by_the_source(once)
                    if before is not None:
                        return before
                return self._transaction(engine, side, operations, tables, once)
            except Taken:
                assert once is not None
                found = answers.given(engine, side, once)
                if found is not None:
                    return Outcome(*found, repeated=True)
            except _Raced:
                if not left:
                    raise _busy() from None
            except (DBAPIError, BridgeError) as error:
                if not left or not transient(error):
                    raise
        raise _busy()

    def _engine(self, tables: Sequence[Carried]) -> Engine:
        known = self._dual.authorities()
        lacking = sorted({table.group for table in tables} - set(known)) if known else []
        if lacking:
            raise Problem(
                503,
                "group-not-set-up",
                f"nobody was given authority over the group {lacking[0]}",
                f"an operator runs: dbbridge cutover mode provisional --group {lacking[0]}",
            )
        return self._dual.engine([table.plan.source for table in tables])

    def _given_by_the_source(self, once: Once) -> Outcome | None:
        """The answer that the source gave before the authority moved."""
        try:
            found = answers.given(self._dual.source, "source", once)
        except (DBAPIError, BridgeError) as error:
            known = problem_of(error)
            raise Problem(
                503,
                "source-away",
                "whether this Idempotency-Key was used before the switch cannot be asked",
                "try again when the source is back, or send a new request without the key",
                again=5,
            ) from (known or error)
        return None if found is None else Outcome(*found, repeated=True)

    def _transaction(
        self,
        engine: Engine,
        side: str,
        operations: Sequence[Operation],
        tables: Sequence[Carried],
        once: Once | None,
    ) -> Outcome:
        with engine.connect() as conn:
            with conn.begin() as transaction:
                operation = operation_of(conn, make=True)
                assert operation is not None
                # The recorder knows the source's names only.
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
                _commit(transaction, once)
            op = operation.op
        return Outcome(results, answers.token(op.seq, op.op_id) if op else None)


def _commit(transaction: Transaction, once: Once | None) -> None:
    """Commits; whoever loses the connection meanwhile does not know what became of it.

    Only a transaction with a key may then be run again.
    """
    try:
        transaction.commit()
    except DBAPIError as error:
        if once is not None or not error.connection_invalidated:
            raise
        raise Problem(
            503,
            "commit-unknown",
            "the connection broke during the commit: it may have been written or not",
            "read the rows before sending it again; with an Idempotency-Key it could be at once",
        ) from error


def _busy() -> Problem:
    return Problem(503, "busy", "other transactions were faster", "try again", again=1)


def _result(
    conn: Connection, side: str, table: Carried, asked: Operation, number: int
) -> dict[str, Any]:
    try:
        key = _CARRIED_OUT[type(asked)](conn, side, table, asked)
    except Problem as problem:
        if number:
            problem.detail = f"operation {number}: {problem.detail}"
        raise
    return {"do": asked.do, "table": table.name, "key": table.shown_key(key)}


def _insert(conn: Connection, side: str, table: Carried, asked: Any) -> dict[str, Any]:
    values = table.values(asked.values, side)
    result = conn.execute(insert(table.on(side)).values(values))
    made = result.inserted_primary_key
    names = [column.key for column in table.on(side).primary_key]
    return dict(zip(names, made, strict=True)) if made is not None else {}


def _update(conn: Connection, side: str, table: Carried, asked: Any) -> dict[str, Any]:
    key = table.key_values(asked.key, side)
    if not _changed(conn, side, table, key, asked.values):
        raise _absent(table)
    return key


def _upsert(conn: Connection, side: str, table: Carried, asked: Any) -> dict[str, Any]:
    key = table.key_values(asked.key, side)
    if _changed(conn, side, table, key, asked.values):
        return key
    values = table.values(asked.values, side)
    try:
        with conn.begin_nested():
            conn.execute(insert(table.on(side)).values(key | values))
    except IntegrityError:
        # The row itself may have come meanwhile; another unique value is the caller's affair.
        if _exists(conn, side, table, key):
            raise _Raced from None
        raise
    return key


def _delete(conn: Connection, side: str, table: Carried, asked: Any) -> dict[str, Any]:
    key = table.key_values(asked.key, side)
    if not conn.execute(delete(table.on(side)).where(table.where(key, side))).rowcount:
        raise _absent(table)
    return key


def _changed(
    conn: Connection, side: str, table: Carried, key: dict[str, Any], given: dict[str, Any]
) -> bool:
    """Whether there is such a row; it has the values now."""
    named = [name for name in given if name in key]
    if named:
        raise Problem(
            422, "key-in-values", f"{table.name}.{named[0]} is of the key", "a key does not change"
        )
    if not given:
        return _exists(conn, side, table, key)
    statement = update(table.on(side)).where(table.where(key, side))
    return bool(conn.execute(statement.values(table.values(given, side))).rowcount)


def _exists(conn: Connection, side: str, table: Carried, key: dict[str, Any]) -> bool:
    query = table.on(side).select().where(table.where(key, side)).with_for_update()
    return conn.execute(query).first() is not None


def _absent(table: Carried) -> Problem:
    return Problem(404, "no-such-row", f"{table.name} has no row of this key", "upsert makes one")


_CARRIED_OUT: dict[type[Any], Any] = {
    Insert: _insert,
    Update: _update,
    Upsert: _upsert,
    Delete: _delete,
}
