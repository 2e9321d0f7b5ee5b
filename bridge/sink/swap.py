"""A table that is copied again: made beside the one that serves, and put in its place."""

from __future__ import annotations

from dataclasses import replace

import psycopg

from bridge.databases.postgres import limit_locks
from bridge.errors import ServerRefused, ServerUnreachable, TableStopped
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, fit_postgres, quote_postgres
from bridge.sink import ddl
from bridge.store.state import Connection, Q

_OWNED = """
SELECT 'CONSTRAINT', conname FROM pg_constraint
WHERE conrelid = %(relation)s::regclass AND contype <> 'n'
UNION ALL
SELECT 'SEQUENCE', s.relname FROM pg_depend d JOIN pg_class s ON s.oid = d.objid
WHERE d.refobjid = %(relation)s::regclass AND d.classid = 'pg_class'::regclass AND s.relkind = 'S'
"""
"""Constraints and identity sequences of a table; indexes come from their definitions."""
SWAP_SECONDS = 2.0
"""How long sessions that use the old table are waited for, while all tables stand still."""
DROP_SECONDS = 5.0
"""The same where an operator asked for it; a worker may be putting a chunk into the table."""


class InUse(ServerUnreachable):
    """Other sessions do not let a table go that is to be dropped."""


def beside(name: TableName, generation: int) -> TableName:
    """Where the next generation of a table is made."""
    return TableName(name.schema, fit_postgres(f"{name.table}__copy{generation}"))


def create(conn: Connection, plan: TablePlan, relation: TableName) -> None:
    """Makes the plan's table under another name, empty; one that was left half done goes first."""
    drop(conn, relation)
    for statement in ddl.create_table(replace(plan, target=relation)):
        conn.execute(statement.encode())


def drop(conn: Connection, relation: TableName) -> None:
    """Drops a table, if it is there; part of the caller's transaction.

    Raises InUse, and ServerRefused where something else in the target hangs on it.
    """
    try:
        _drop(conn, relation, DROP_SECONDS)
    except psycopg.errors.DependentObjectsStillExist as error:
        raise ServerRefused(
            f"{relation} cannot be dropped: {error.diag.message_detail}",
            "drop what hangs on it, and ask again",
        ) from error


def _drop(conn: Connection, relation: TableName, seconds: float) -> None:
    limit_locks(conn, seconds)
    try:
        with conn.transaction():
            conn.execute(f"DROP TABLE IF EXISTS {relation.postgres}".encode())
    except psycopg.errors.LockNotAvailable as error:
        found = conn.execute(Q["users_of"], {"relation": relation.postgres}).fetchall()
        users = ", ".join(f"{name or 'session'} ({state}, pid {pid})" for pid, name, state in found)
        raise InUse(
            f"{relation} is in use{f' by {users}' if users else ''}",
            "wait for those sessions, or end them (pg_terminate_backend)",
        ) from error


def swap(conn: Connection, plan: TablePlan, *, old: TableName, new: TableName) -> None:
    """Drops `old` and gives `new` its name, and its indexes, constraints and sequences theirs.

    Part of the caller's transaction. Raises InUse, and TableStopped where something else in the
    target (a view, a foreign key) hangs on the old table.
    """
    names = [
        (made.name, wanted.name)
        for made, wanted in zip(
            ddl.indexes(replace(plan, target=new)), ddl.indexes(plan), strict=True
        )
    ]
    owned = conn.execute(_OWNED, {"relation": new.postgres}).fetchall()
    try:
        _drop(conn, old, SWAP_SECONDS)
    except psycopg.errors.DependentObjectsStillExist as error:
        stop = TableStopped(
            f"{plan.source}: {old} cannot be replaced: {error.diag.message_detail}",
            f"drop what hangs on it, then: dbbridge tables resume {plan.source.word}",
            "swap-refused",
        )
        stop.table = plan.source
        raise stop from error
    target = plan.target
    conn.execute(f"ALTER TABLE {new.postgres} RENAME TO {quote_postgres(target.table)}".encode())
    for made, wanted in names:
        index = TableName(target.schema, made)
        conn.execute(
            f"ALTER INDEX IF EXISTS {index.postgres} RENAME TO {quote_postgres(wanted)}".encode()
        )
    for kind, name in owned:
        wanted = fit_postgres(name.replace(new.table, target.table, 1))
        if wanted == name:
            continue
        if kind == "CONSTRAINT":
            sql = (
                f"ALTER TABLE {target.postgres} RENAME CONSTRAINT {quote_postgres(name)}"
                f" TO {quote_postgres(wanted)}"
            )
        else:
            sequence = TableName(target.schema, name)
            sql = f"ALTER SEQUENCE {sequence.postgres} RENAME TO {quote_postgres(wanted)}"
        conn.execute(sql.encode())
