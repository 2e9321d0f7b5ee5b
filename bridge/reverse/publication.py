"""What the target logs of a group's tables for the reader of its slot.

Tables are published as what they are, not by their names: one that was made anew is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from bridge.mapping.plan import TablePlan
from bridge.names import quote_postgres
from bridge.reverse.ledger import Q

_FULL = "f"
_IDENTITIES = {"d": "DEFAULT", "n": "NOTHING"}


def publish(
    conn: psycopg.Connection[Any],
    name: str,
    names: Mapping[str, str],
    plans: Sequence[TablePlan],
) -> None:
    """Makes the publication what it has to be, in the transaction that is open.

    An UPDATE of a published table without an identity fails; what it was is remembered.
    """
    there = conn.execute(Q["publication"], {"name": name}).fetchone()
    for sql in _publishing(there, name, plans):
        conn.execute(sql.encode())
    for plan in plans:
        if not plan.key:
            _make_full(conn, names, plan)


def unpublished(
    conn: psycopg.Connection[Any], name: str, plans: Sequence[TablePlan]
) -> list[tuple[str, str]]:
    """Why the reader would not get all that is written, and the statements that mend it."""
    there = conn.execute(Q["publication"], {"name": name}).fetchone()
    found = []
    statements = _publishing(there, name, plans)
    if statements:
        lacking = ", ".join(sorted(_names(plans) - set(there[1] if there else ())))
        what = f"the publication {name} is not as it was made"
        found.append((f"{what}, it lacks {lacking}" if lacking else what, "; ".join(statements)))
    for plan in plans:
        row = conn.execute(Q["table"], {"name": plan.target.postgres}).fetchone()
        if not plan.key and row is not None and row[0] != _FULL:
            found.append(
                (f"{plan.target} has no key, and its old rows are not logged", _full(plan))
            )
    return found


def _names(plans: Sequence[TablePlan]) -> set[str]:
    return {str(plan.target) for plan in plans}


def _publishing(there: Any, name: str, plans: Sequence[TablePlan]) -> list[str]:
    """The statements that make a publication, as it was found, what it has to be."""
    tables = ", ".join(sorted(plan.target.postgres for plan in plans))
    quoted = quote_postgres(name)
    if there is None:
        return [f"CREATE PUBLICATION {quoted} FOR TABLE {tables}"]
    statements = []
    if set(there[1]) != _names(plans):
        statements.append(f"ALTER PUBLICATION {quoted} SET TABLE {tables}")
    if not there[0]:
        kinds = "insert, update, delete, truncate"
        statements.append(f"ALTER PUBLICATION {quoted} SET (publish = '{kinds}')")
    return statements


def _make_full(conn: psycopg.Connection[Any], names: Mapping[str, str], plan: TablePlan) -> None:
    row = conn.execute(Q["table"], {"name": plan.target.postgres}).fetchone()
    if row is None or row[0] == _FULL:
        return
    identity = _IDENTITIES.get(row[0]) or f"USING INDEX {quote_postgres(row[5])}"
    conn.execute(
        Q["remember_identity"],
        {**names, "schema": plan.target.schema, "table": plan.target.table, "identity": identity},
    )
    conn.execute(_full(plan).encode())


def _full(plan: TablePlan) -> str:
    return f"ALTER TABLE {plan.target.postgres} REPLICA IDENTITY FULL"
