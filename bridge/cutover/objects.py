"""Constraints and triggers of the target, which act while it has authority and at no other time.

Foreign keys and checks are added without looking at the rows there are, which is quick; `validate`
looks at them later, and locks no writer out (PostgreSQL, ALTER TABLE, "VALIDATE CONSTRAINT").
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import psycopg

from bridge.databases.postgres import limit_locks
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, quote_postgres
from bridge.sink.constraints import Constraint, constraints
from bridge.sink.existing import Existing, read_existing
from bridge.sink.objects import Step as SchemaStep
from bridge.sink.objects import absent, apply_steps, plan_schema
from bridge.store.sql import queries

Q = queries("bridge.cutover", "objects.sql")
Connection = psycopg.Connection[Any]
Noted = Mapping[str, Any]
"""A constraint that a switch makes, as the journal has it: kind, schema, table, name."""


def make_triggers(conn: Connection, plans: Sequence[TablePlan]) -> int:
    """Makes the triggers that are missing, disabled; before the fence. Returns how many."""
    made = [each for each in absent(read_existing(conn, plans), plans) if each.kind == "trigger"]
    for trigger in made:
        with conn.transaction():
            conn.execute(trigger.create.encode())
    return len(made)


def wanted(conn: Connection, plans: Sequence[TablePlan]) -> list[Noted]:
    """The constraints that `install` will make; to be noted before."""
    found = absent(read_existing(conn, plans), plans)
    return [_noted(each) for each in found if each.kind != "trigger"]


def install(conn: Connection, plans: Sequence[TablePlan], seconds: float) -> list[str]:
    """Adds what is missing and enables the triggers, in one transaction; returns their names.

    Waits for locks up to `seconds`, then raises psycopg's LockNotAvailable; needs none where all is
    there.
    """
    existing = read_existing(conn, plans)
    missing = absent(existing, plans)
    asleep = [each for each in _triggers(plans) if not _enabled(existing, each)]
    with conn.transaction():
        limit_locks(conn, seconds)
        for each in missing:
            conn.execute(each.create.encode())
        for trigger in asleep:
            conn.execute(_alter(trigger, "ENABLE"))
    return [f"{each.kind} {each.name} of {each.table}" for each in missing]


def remove(
    conn: Connection, plans: Sequence[TablePlan], noted: Collection[Noted], seconds: float
) -> None:
    """Drops what `install` made and disables the triggers; may be repeated.

    Waits for locks as `install` does, and needs none where nothing was made: DROP CONSTRAINT would
    wait for all who read the table, also for one that is not there.
    """
    existing = read_existing(conn, plans)
    awake = [each for each in _triggers(plans) if _enabled(existing, each)]
    columns = {key: [each[key] for each in noted] for key in ("schema", "table", "name")}
    there = conn.execute(Q["constraints"], columns).fetchall()
    with conn.transaction():
        limit_locks(conn, seconds)
        for schema, table, name in there:
            place = TableName(schema, table).postgres
            conn.execute(f"ALTER TABLE {place} DROP CONSTRAINT {quote_postgres(name)}".encode())
        for trigger in awake:
            conn.execute(_alter(trigger, "DISABLE"))


def validate(
    conn: Connection,
    plans: Sequence[TablePlan],
    progress: Callable[[SchemaStep], None] = lambda _: None,
) -> int:
    """Looks at the rows that were there before the constraints; returns how many were left."""
    steps = plan_schema(conn, plans, "constraints", [plan.target for plan in plans])
    apply_steps(conn, steps, progress)
    return len(steps)


def _triggers(plans: Sequence[TablePlan]) -> list[Constraint]:
    return [each for each in constraints(plans)[0] if each.kind == "trigger"]


def _enabled(existing: Existing, trigger: Constraint) -> bool:
    return existing.triggers[trigger.table].get(trigger.name, False)


def _alter(trigger: Constraint, verb: str) -> bytes:
    name = quote_postgres(trigger.name)
    return f"ALTER TABLE {trigger.table.postgres} {verb} TRIGGER {name}".encode()


def _noted(each: Constraint) -> Noted:
    table = each.table
    return {
        "kind": each.kind,
        "schema": table.schema,
        "table": table.table,
        "name": each.name,
    }
