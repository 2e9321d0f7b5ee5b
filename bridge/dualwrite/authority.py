"""Who has authority over a group of tables: a row with an epoch on each side.

A write commits only where the row of its own side says so, in the epoch that the writer knows, read
under a lock that it holds until its commit. What is read without a lock only tells the way.

Both rows are written under both sides' locks, the target's first. If only that was done, the epochs
differ: the source's writers go on, and no provisional write is taken, until the command is given
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import psycopg
import pymysql
from pymysql.constants import ER

from bridge.cutover.journal import Journal
from bridge.cutover.journal import Q as JOURNAL
from bridge.databases.mysql import limit_row_locks
from bridge.databases.postgres import limit_locks
from bridge.errors import BridgeError, ServerRefused
from bridge.names import TableName, bindable
from bridge.replicate.ops import AUTHORITY_TABLE, OPS_TABLE, definitions
from bridge.store.authority import Authority, Mode, Side, read_authorities
from bridge.store.sql import queries
from bridge.store.state import Q as STORE

__all__ = [
    "MODES",
    "Authority",
    "Mode",
    "Side",
    "change",
    "make_tables",
    "read_source",
    "read_target",
    "record_op",
    "record_op_or_fail",
    "set_up",
    "write_source",
    "write_target",
]

Q = queries("bridge.dualwrite", "queries.sql")
MODES: tuple[Mode, ...] = ("cdc", "shadow", "provisional")
LOCK_SECONDS = 10
"""How long a change waits for transactions of writers."""


class StaleEpoch(BridgeError):
    """The authority over a group changed since the writer looked; nothing was written."""

    transient = True


class Closed(BridgeError):
    """Nobody has authority for a moment: a switch is under way."""

    transient = True


def read_source(
    conn: pymysql.Connection[Any], database: str, *, locked: str | None = None
) -> dict[str, Authority]:
    """The source's rows by group; none if the tables are not made yet.

    With `locked` that group's alone, once those who hold it are through, and held until the end of
    the transaction.
    """
    condition = "" if locked is None else " WHERE grp = %s FOR UPDATE"
    values = () if locked is None else (locked,)
    table = bindable(TableName(database, AUTHORITY_TABLE).mysql)
    try:
        with conn.cursor() as cursor:
            cursor.execute(
                f"SELECT grp, epoch, authority, mode, reads_percent FROM {table}{condition}", values
            )
            rows = cursor.fetchall()
    except pymysql.err.ProgrammingError as error:
        if error.args[0] != ER.NO_SUCH_TABLE:
            raise
        return {}
    return {str(row[0]): Authority(*row) for row in rows}


def read_target(conn: psycopg.Connection[Any], pipeline: str) -> dict[str, Authority]:
    """The target's rows by group; none if the control schema is not made yet."""
    try:
        return {one.group: one for one in read_authorities(conn, pipeline)}
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return {}


def make_tables(conn: pymysql.Connection[Any], database: str) -> None:
    """Makes those of the layer's tables in the source that are missing.

    Raises ServerRefused with the statements for somebody who may.
    """
    wanted = definitions(database)
    with conn.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", (database,)
        )
        there = {str(name) for (name,) in cursor.fetchall()}
    statements = [statement for name, statement in wanted.items() if name not in there]
    try:
        with conn.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    except pymysql.err.OperationalError as error:
        if error.args[0] not in (ER.TABLEACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR):
            raise
        raise ServerRefused(
            f"the account may not make the tables of the dual-write layer in {database}",
            "have somebody run, who may: " + "; ".join(statements),
        ) from error


def change(
    source: pymysql.Connection[Any],
    target: psycopg.Connection[Any],
    pipeline: str,
    database: str,
    group: str,
    *,
    mode: Mode | None = None,
    reads_percent: int | None = None,
) -> Authority:
    """Sets mode or reads of a group on both sides under a new epoch, which it returns.

    Raises Busy while a switch is under way, StaleEpoch where the two sides do not agree on who has
    authority, and the drivers' errors where a lock is not had within `LOCK_SECONDS`.
    """
    source.autocommit(False)
    limit_row_locks(source, LOCK_SECONDS)
    try:
        with target.transaction():
            names = {"pipeline": pipeline, "group": group}
            limit_locks(target, LOCK_SECONDS)
            target.execute(STORE["ensure_pipeline"], names)
            target.execute(Q["ensure_ops"], names)
            target.execute(STORE["lock_authority"], names)
            Journal(target, pipeline).require_rest(group)
            there = read_target(target, pipeline).get(group)
            here = read_source(source, database, locked=group).get(group)
            now = _next(group, here, there)
            if mode is not None:
                now = replace(now, mode=mode)
            if reads_percent is not None:
                now = replace(now, reads_percent=reads_percent)
            write_target(target, pipeline, now)
        write_source(source, database, pipeline, now)
        source.commit()
    except BaseException:
        source.rollback()
        raise
    return now


def _next(group: str, here: Authority | None, there: Authority | None) -> Authority:
    if here is not None and there is not None and here.side != there.side:
        raise StaleEpoch(
            f"group {group}: the source says {here.side}, the target {there.side}",
            "a switch was not ended: dbbridge cutover status",
        )
    known = there or here or Authority(group, 0)
    return replace(known, epoch=1 + max(a.epoch for a in (here, there, known) if a is not None))


def set_up(
    source: pymysql.Connection[Any],
    target: psycopg.Connection[Any],
    pipeline: str,
    database: str,
    group: str,
    seconds: float,
) -> None:
    """Gives a group the rows that it lacks: a write of a group without one is held by nothing.

    A group that never had one is the source's, for the stream alone. Both sessions are in
    autocommit mode; raises the drivers' errors where a lock is not had within `seconds`.
    """
    with target.transaction():
        limit_locks(target, seconds)
        target.execute(STORE["lock_authority"], {"pipeline": pipeline, "group": group})
        there = read_target(target, pipeline).get(group)
        here = read_source(source, database).get(group)
        wanted = there or here or Authority(group, 1)
        if there is None:
            write_target(target, pipeline, wanted)
    if here is None:
        source.begin()
        try:
            limit_row_locks(source, seconds)
            if group not in read_source(source, database, locked=group):
                write_source(source, database, pipeline, wanted)
            source.commit()
        except BaseException:
            source.rollback()
            raise


def write_target(conn: psycopg.Connection[Any], pipeline: str, now: Authority) -> None:
    """Makes the target's row what `now` says, in the open transaction, which holds its lock."""
    conn.execute(JOURNAL["durable"])
    conn.execute(Q["set_authority"], {**now.document(), "pipeline": pipeline})


def write_source(
    conn: pymysql.Connection[Any], database: str, pipeline: str, now: Authority
) -> None:
    """The same for the source's row."""
    table = bindable(TableName(database, AUTHORITY_TABLE).mysql)
    with conn.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (epoch, authority, mode, reads_percent, grp, pipeline)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE epoch = VALUES(epoch),"
            " authority = VALUES(authority), mode = VALUES(mode),"
            " reads_percent = VALUES(reads_percent), pipeline = VALUES(pipeline)",
            (now.epoch, now.side, now.mode, now.reads_percent, now.group, pipeline),
        )


Groups = Sequence[tuple[str, int]]
"""Names with epochs."""


def record_op(database: str, groups: Groups) -> tuple[str, tuple[object, ...]]:
    """The statement, with its values but for the operation's id, that ends a source's transaction.

    The id goes first, in hexadecimal digits (aiomysql cannot bind bytes).

    It inserts the operation if the source has authority over all groups in these epochs, and holds
    their rows until the commit; otherwise it inserts nothing. Its insert id is the number.
    """
    ops, epoch = _op(database, len(groups))
    return f"INSERT INTO {ops} (op_id, epoch) SELECT UNHEX(%s), {epoch}", _flat(groups)


def record_op_or_fail(database: str, groups: Groups) -> tuple[str, tuple[object, ...]]:
    """The same where more follows at once, which must not be executed without authority.

    Instead of inserting nothing it fails, also where the statement before it found no row: the
    epoch is NULL then, which the VALUES of one row never turn into something else, whatever
    sql_mode is (manual, "INSERT Statement").
    """
    ops, epoch = _op(database, len(groups))
    known = f"IF(ROW_COUNT() > 0, (SELECT {epoch}), NULL)"
    return f"INSERT INTO {ops} (op_id, epoch) VALUES (UNHEX(%s), {known})", _flat(groups)


@cache
def _op(database: str, groups: int) -> tuple[str, str]:
    """The table of operations, and what selects the epoch if there is authority over the groups."""
    ops, authority = (
        bindable(TableName(database, name).mysql) for name in (OPS_TABLE, AUTHORITY_TABLE)
    )
    pairs = ", ".join(["(%s, %s)"] * groups)
    return ops, (
        f"MAX(epoch) FROM {authority} WHERE (grp, epoch) IN ({pairs}) AND authority = 'source'"
        f" HAVING COUNT(*) = {groups} LOCK IN SHARE MODE"
    )


def _flat(groups: Groups) -> tuple[object, ...]:
    return tuple(value for pair in groups for value in pair)
