"""Plans made from live tables, and copies of them chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import psycopg

from bridge.capture.catalog import read_catalog
from bridge.capture.chunks import Bound, next_bound
from bridge.capture.snapshot import read_chunk
from bridge.change.batch import BadRow
from bridge.databases.endpoint import parse_url
from bridge.databases.mysql import connect
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, quote_postgres
from bridge.sink.copy import copy_blocks
from bridge.types import family_of
from bridge.types.base import ColumnPlan, Policy, SourceColumn


def session(database: Any) -> Any:
    """A session on a source database as the bridge opens it."""
    return connect(parse_url(database.url))


def run(conn: Any, *statements: str) -> list[Any]:
    """Runs statements; the rows of the last one."""
    with conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def plan_of(
    database: Any,
    table: str,
    *,
    targets: Mapping[str, str] | None = None,
    policies: Mapping[str, Policy] | None = None,
    key: Sequence[str] | None = None,
    where: str = "",
    brief_lock: bool = False,
) -> TablePlan:
    """The plan of a live table: each column's first proposal, or what `targets` says."""
    with closing(session(database)) as conn:
        source = read_catalog(conn, database.name, [table])[TableName(database.name, table)]
    names = tuple(source.primary_key if key is None else key)

    def planned(column: SourceColumn) -> ColumnPlan:
        family = family_of(column)
        assert family is not None
        proposal = family.proposals(column)[0]
        plan = ColumnPlan(
            column,
            column.name,
            (targets or {}).get(column.name, proposal.target_type),
            column.nullable and column.name not in names,
            (policies or {}).get(column.name, proposal.policy),
        )
        assert family.accepts(plan) == ""
        return plan

    carried = [column for column in source.columns if not column.generated]
    ordered = sorted(carried, key=lambda c: names.index(c.name) if c.name in names else len(names))
    return TablePlan(
        source,
        TableName("public", table[:30]),
        tuple(map(planned, ordered)),
        len(names),
        "v1",
        where=where,
        brief_lock=brief_lock,
    )


def create_target(target: psycopg.Connection[Any], plan: TablePlan) -> None:
    """Makes the plan's target table."""
    columns = [
        f"{quote_postgres(c.target_name)} {c.target_type}"
        + ("" if c.target_nullable else " NOT NULL")
        for c in plan.columns
    ]
    if plan.key:
        names = ", ".join(quote_postgres(c.target_name) for c in plan.key_columns)
        columns.append(f"PRIMARY KEY ({names})")
    target.execute(f"CREATE TABLE {plan.target.postgres} ({', '.join(columns)})".encode())


def chunks_of(conn: Any, plan: TablePlan, rows: int) -> list[tuple[Bound | None, Bound | None]]:
    """All chunks of a table."""
    found: list[tuple[Bound | None, Bound | None]] = []
    lower: Bound | None = None
    while True:
        upper = next_bound(conn, plan, lower, rows)
        found.append((lower, upper))
        if upper is None:
            return found
        lower = upper


def lines_of(
    conn: Any,
    plan: TablePlan,
    lower: Bound | None = None,
    upper: Bound | None = None,
    bad: list[BadRow] | None = None,
) -> list[bytes]:
    """The lines of one chunk; no bad rows are expected unless a list for them is given."""
    found: list[BadRow] = [] if bad is None else bad
    lines = b"".join(read_chunk(conn, plan, lower, upper, found)).split(b"\n")
    assert lines.pop() == b""
    assert bad is not None or not found
    return lines


def copy_table(
    conn: Any, target: psycopg.Connection[Any], plan: TablePlan, rows: int = 1000
) -> list[BadRow]:
    """Copies a table chunk by chunk, a transaction each; the rows that were set aside."""
    bad: list[BadRow] = []
    for lower, upper in chunks_of(conn, plan, rows):
        with target.transaction():
            blocks = read_chunk(conn, plan, lower, upper, bad)
            copy_blocks(target, plan, plan.target, blocks, bad)
    return bad
