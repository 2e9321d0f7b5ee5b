"""A table that is copied again: made beside the one that serves, and put in its place."""

from __future__ import annotations

from dataclasses import replace

import psycopg

from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, fit_postgres, quote_postgres
from bridge.sink import ddl
from bridge.store.state import Connection

_OWNED = """
SELECT 'CONSTRAINT', conname FROM pg_constraint
WHERE conrelid = %(relation)s::regclass AND contype <> 'n'
UNION ALL
SELECT 'SEQUENCE', s.relname FROM pg_depend d JOIN pg_class s ON s.oid = d.objid
WHERE d.refobjid = %(relation)s::regclass AND d.classid = 'pg_class'::regclass AND s.relkind = 'S'
"""
"""Constraints and identity sequences of a table; indexes come from their definitions."""


def beside(name: TableName, generation: int) -> TableName:
    """Where the next generation of a table is made."""
    return TableName(name.schema, fit_postgres(f"{name.table}__copy{generation}"))


def create(conn: Connection, plan: TablePlan, relation: TableName) -> None:
    """Makes the plan's table under another name, empty; one that was left half done goes first."""
    conn.execute(f"DROP TABLE IF EXISTS {relation.postgres}".encode())
    for statement in ddl.create_table(replace(plan, target=relation)):
        conn.execute(statement.encode())


def swap(conn: Connection, plan: TablePlan, *, old: TableName, new: TableName) -> None:
    """Drops `old` and gives `new` its name, and its indexes, constraints and sequences theirs.

    Part of the caller's transaction. Raises TableStopped where something else in the target (a
    view, a foreign key) hangs on the old table.
    """
    names = [
        (made.name, wanted.name)
        for made, wanted in zip(
            ddl.indexes(replace(plan, target=new)), ddl.indexes(plan), strict=True
        )
    ]
    owned = conn.execute(_OWNED, {"relation": new.postgres}).fetchall()
    try:
        conn.execute(f"DROP TABLE {old.postgres}".encode())
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
