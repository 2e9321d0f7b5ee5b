"""Statements over single rows of a carried table, for either side's driver.

They are made once for each set of columns, and say themselves what they touch: neither is left to
SQLAlchemy and the recorder, which would take longer for it than the driver for all the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy.engine import Connection, CursorResult

from bridge.dualwrite.http.tables import Carried
from bridge.dualwrite.recorder import Operation, operation_of
from bridge.dualwrite.values import key_text
from bridge.names import bindable, quote_mysql, quote_postgres

MOST = 1000
"""Statements that are kept: callers choose the columns."""

Given = Mapping[str, Any]
"""Values by the source's column names, as the side's driver takes them."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a driver executes."""

    sql: str
    values: tuple[Any, ...]


def inserting(side: str, table: Carried, values: Given) -> Statement:
    """Inserts a row; on the target it gives the key back."""
    return Statement(_insert(table, side, tuple(values)), tuple(values.values()))


def updating(side: str, table: Carried, key: Given, values: Given) -> Statement:
    """Gives the row of a key these values."""
    sql = _update(table, side, tuple(values), tuple(key))
    return Statement(sql, (*values.values(), *key.values()))


def deleting(side: str, table: Carried, key: Given) -> Statement:
    """Deletes the row of a key."""
    return Statement(_delete(table, side, tuple(key)), tuple(key.values()))


def inserted(table: Carried, values: Given, number: int) -> dict[str, Any]:
    """The key of a row that the source got, as far as it is known; `number`: its insert id."""
    key = {name: values.get(name) for name in table.key}
    if table.counted and not key[table.counted]:  # MySQL takes 0 for NULL
        key[table.counted] = number
    return key


def insert(conn: Connection, side: str, table: Carried, values: Given) -> dict[str, Any]:
    """Inserts a row; its key as far as it is known."""
    done = _execute(conn, inserting(side, table, values))
    if side == "source":
        key = inserted(table, values, done.lastrowid)
    else:
        key = dict(zip(table.key, done.one(), strict=True)) if table.key else {}
    _touched(conn, side, table, key)
    return key


def update(conn: Connection, side: str, table: Carried, key: Given, values: Given) -> bool:
    """Whether there is such a row; it has the values now."""
    done = _execute(conn, updating(side, table, key, values))
    return _found(conn, side, table, key, done.rowcount)


def delete(conn: Connection, side: str, table: Carried, key: Given) -> bool:
    """Whether there was such a row."""
    done = _execute(conn, deleting(side, table, key))
    return _found(conn, side, table, key, done.rowcount)


def exists(conn: Connection, side: str, table: Carried, key: Given) -> bool:
    """Whether there is such a row, which is locked."""
    sql = _exists(table, side, tuple(key))
    return conn.exec_driver_sql(sql, tuple(key.values())).first() is not None


def _found(conn: Connection, side: str, table: Carried, key: Given, count: int) -> bool:
    if count:
        _touched(conn, side, table, key)
    return bool(count)


def _execute(conn: Connection, statement: Statement) -> CursorResult[Any]:
    return conn.exec_driver_sql(statement.sql, statement.values)


def _touched(conn: Connection, side: str, table: Carried, key: Given) -> None:
    if side == "source":
        operation = operation_of(conn, make=True)
        assert operation is not None
        touched(operation, table, key)


def touched(operation: Operation, table: Carried, key: Given) -> None:
    """Tells the operation, which is written early while the source has authority."""
    plan = table.plan
    known = key_text(plan, [key[name] for name in table.key]) if plan.key else None
    if known is None:
        operation.unknown += 1
    else:
        operation.touched.setdefault(plan.source, set()).add(known)


# -- text ----------------------------------------------------------------------------------------


@lru_cache(MOST)
def _insert(table: Carried, side: str, names: tuple[str, ...]) -> str:
    columns = ", ".join(_column(table, side, name) for name in names)
    sql = f"INSERT INTO {_place(table, side)} "
    if names or side == "source":
        sql += f"({columns}) VALUES ({', '.join(['%s'] * len(names))})"
    else:
        sql += "DEFAULT VALUES"
    if side == "target" and table.key:
        sql += f" RETURNING {', '.join(_column(table, side, name) for name in table.key)}"
    return sql


@lru_cache(MOST)
def _update(table: Carried, side: str, names: tuple[str, ...], key: tuple[str, ...]) -> str:
    changes = ", ".join(f"{_column(table, side, name)} = %s" for name in names)
    return f"UPDATE {_place(table, side)} SET {changes} WHERE {_same(table, side, key)}"


@lru_cache(MOST)
def _delete(table: Carried, side: str, key: tuple[str, ...]) -> str:
    return f"DELETE FROM {_place(table, side)} WHERE {_same(table, side, key)}"


@lru_cache(MOST)
def _exists(table: Carried, side: str, key: tuple[str, ...]) -> str:
    return f"SELECT 1 FROM {_place(table, side)} WHERE {_same(table, side, key)} FOR UPDATE"


def _same(table: Carried, side: str, key: tuple[str, ...]) -> str:
    return " AND ".join(f"{_column(table, side, name)} = %s" for name in key)


def _place(table: Carried, side: str) -> str:
    plan = table.plan
    return bindable(plan.source.mysql if side == "source" else plan.target.postgres)


def _column(table: Carried, side: str, name: str) -> str:
    if side == "source":
        return bindable(quote_mysql(name))
    return bindable(quote_postgres(table.columns[name].target_name))
