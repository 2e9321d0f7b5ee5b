"""Generated keys go on where the other side's ended.

Both sides' next number is the greater of what either would give next: numbers that an application
has seen, of rows that are gone by now perhaps, never come again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
import pymysql

from bridge.errors import ServerRefused
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, bindable, quote_mysql, quote_postgres
from bridge.types.base import ColumnPlan

HEADROOM = 1000
"""Numbers left out at a switch: an application may hold some that it drew before the fence."""
LOCK_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Raised:
    """A column whose next generated number is `number` now; `full` if its type holds no more."""

    table: TableName
    column: str
    number: int
    full: bool = False

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "table": str(self.table),
            "column": self.column,
            "next": self.number,
            "full": self.full,
        }


def raise_target(
    source: pymysql.Connection[Any], target: psycopg.Connection[Any], plans: Iterable[TablePlan]
) -> list[Raised]:
    """Sequences of identity columns, behind the source's AUTO_INCREMENT and the rows there are.

    Neither waits for open writers, nor is undone by a rollback (PostgreSQL, "Sequence Manipulation
    Functions"): done twice it leaves another gap, and no more.
    """
    return [
        raised
        for plan, column in _generated(plans)
        if (raised := _raise_target(source, target, plan, column)) is not None
    ]


def raise_source(
    source: pymysql.Connection[Any], target: psycopg.Connection[Any], plans: Iterable[TablePlan]
) -> list[Raised]:
    """AUTO_INCREMENT of the source behind the target's sequences and the rows there are."""
    raised = []
    for plan, column in _generated(plans):
        wanted = max(_next_of_target(target, plan, column), _next_of_source(source, plan, column))
        if wanted > _next_in_catalogue(source, plan):
            _raise_source(source, plan, column, wanted)
        raised.append(Raised(plan.source, column.source.name, wanted))
    return raised


def _generated(plans: Iterable[TablePlan]) -> Iterable[tuple[TablePlan, ColumnPlan]]:
    for plan in plans:
        for column in plan.columns:
            if column.source.auto_increment:
                yield plan, column


def _raise_target(
    source: pymysql.Connection[Any],
    target: psycopg.Connection[Any],
    plan: TablePlan,
    column: ColumnPlan,
) -> Raised | None:
    sequence = _sequence(target, plan, column)
    if sequence is None:
        return None
    name, greatest, _ = sequence
    wanted = max(_next_of_source(source, plan, column), _next_of_target(target, plan, column))
    number = min(wanted + HEADROOM, max(wanted, greatest - HEADROOM))
    full = number > greatest
    target.execute("SELECT setval(%s::regclass, %s, %s)", (name, min(number, greatest), full))
    return Raised(plan.target, column.target_name, number, full)


def _sequence(
    target: psycopg.Connection[Any], plan: TablePlan, column: ColumnPlan
) -> tuple[str, int, int] | None:
    """The column's sequence, its greatest value, and what it gives next; None if it has none."""
    row = target.execute(
        "SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename), max_value,"
        " CASE WHEN last_value IS NULL THEN start_value ELSE last_value + increment_by END"
        " FROM pg_catalog.pg_sequences"
        " WHERE (quote_ident(schemaname) || '.' || quote_ident(sequencename))::regclass"
        " = pg_get_serial_sequence(%s, %s)::regclass",
        (plan.target.postgres, column.target_name),
    ).fetchone()
    return (str(row[0]), int(row[1]), int(row[2])) if row else None


def _next_of_target(target: psycopg.Connection[Any], plan: TablePlan, column: ColumnPlan) -> int:
    sequence = _sequence(target, plan, column)
    row = target.execute(
        f"SELECT max({quote_postgres(column.target_name)}) FROM {plan.target.postgres}".encode()
    ).fetchone()
    greatest = int(row[0] or 0) if row else 0
    return max(greatest + 1, sequence[2] if sequence else 1)


def _next_of_source(source: pymysql.Connection[Any], plan: TablePlan, column: ColumnPlan) -> int:
    with source.cursor() as cursor:
        cursor.execute(f"SELECT MAX({quote_mysql(column.source.name)}) FROM {plan.source.mysql}")
        (greatest,) = cursor.fetchone() or (None,)
    return max(int(greatest or 0) + 1, _next_in_catalogue(source, plan))


def _next_in_catalogue(source: pymysql.Connection[Any], plan: TablePlan) -> int:
    """AUTO_INCREMENT, which MySQL caches for a day unless it is told not to.

    See information_schema_stats_expiry in its manual.
    """
    with source.cursor() as cursor:
        if cursor.execute("SHOW VARIABLES LIKE 'information_schema_stats_expiry'"):
            cursor.execute("SET SESSION information_schema_stats_expiry = 0")
        cursor.execute(
            "SELECT auto_increment FROM information_schema.tables"
            " WHERE (table_schema, table_name) = (%s, %s)",
            (plan.source.schema, plan.source.table),
        )
        (number,) = cursor.fetchone() or (None,)
    return int(number or 1)


def _raise_source(
    source: pymysql.Connection[Any], plan: TablePlan, column: ColumnPlan, wanted: int
) -> None:
    """A row with the number before, rolled back: it waits for nobody, as ALTER TABLE would.

    The counter stays where it is by a rollback (MySQL, "AUTO_INCREMENT Handling in InnoDB"). Where
    no such row can be, because of a unique value or a check, the definition is altered.
    """
    table = bindable(plan.source.mysql)
    source.autocommit(False)
    try:
        with source.cursor() as cursor:
            cursor.execute("SET SESSION foreign_key_checks = 0, sql_mode = ''")
            cursor.execute(
                f"INSERT IGNORE INTO {table} ({bindable(quote_mysql(column.source.name))})"
                " VALUES (%s)",
                (wanted - 1,),
            )
    except pymysql.MySQLError:
        pass  # seen below
    finally:
        source.rollback()
        source.autocommit(True)
    if _next_in_catalogue(source, plan) >= wanted:
        return
    try:
        with source.cursor() as cursor:
            cursor.execute(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
            cursor.execute(f"ALTER TABLE {plan.source.mysql} AUTO_INCREMENT = {wanted:d}")
    except pymysql.MySQLError as error:
        raise ServerRefused(
            f"AUTO_INCREMENT of {plan.source} cannot be raised to {wanted}: {error.args[-1]}",
            "end the sessions that read it, or grant ALTER on it to the account of the fence",
        ) from error
