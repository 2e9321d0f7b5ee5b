"""Opens and closes the two sides for the bridge's own writers: the rows of authority.

A row only ever goes to a higher epoch. An operator who was left behind belongs to a lower one, and
one who does a step again finds it done.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pymysql

from bridge.cutover.fences.base import Session
from bridge.cutover.journal import Q as JOURNAL
from bridge.cutover.journal import Superseded
from bridge.databases.mysql import limit_row_locks
from bridge.databases.postgres import limit_locks
from bridge.dualwrite.authority import (
    Authority,
    read_source,
    read_target,
    write_source,
    write_target,
)
from bridge.store.state import Q as STORE


def known(
    source: pymysql.Connection[Any],
    target: psycopg.Connection[Any],
    database: str,
    pipeline: str,
    group: str,
    seconds: float,
) -> Authority:
    """What both sides know of the group, in the higher of their epochs.

    Under both rows' locks: whoever sets mode or reads writes the one side after the other. Each is
    waited for up to `seconds`, as in `set_target` and `set_source`: new writers wait meanwhile.
    """
    with target.transaction():
        limit_locks(target, seconds)
        target.execute(STORE["lock_authority"], {"pipeline": pipeline, "group": group})
        limit_row_locks(source, seconds)
        source.begin()
        try:
            here = read_source(source, database, locked=group).get(group)
        finally:
            source.rollback()
        there = read_target(target, pipeline).get(group)
    rows = [row for row in (here, there) if row is not None]
    return max(rows, key=lambda row: row.epoch, default=Authority(group, 0))


def holders(target: psycopg.Connection[Any], pipeline: str, group: str) -> list[Session]:
    """Sessions that hold the target's row."""
    names = {"pipeline": pipeline, "group": group}
    return [Session(*row) for row in target.execute(JOURNAL["door_holders"], names)]


def set_target(
    conn: psycopg.Connection[Any], pipeline: str, row: Authority, seconds: float
) -> None:
    """Writes the target's row, once those who hold the old one are through.

    In the transaction that is open, or in one of its own. Raises Superseded where the row is of a
    later epoch, psycopg's LockNotAvailable after `seconds`.
    """
    names = {"pipeline": pipeline, "group": row.group}
    with conn.transaction():
        limit_locks(conn, seconds)
        conn.execute(JOURNAL["durable"])
        conn.execute(STORE["lock_authority"], names)
        if not _stands(read_target(conn, pipeline).get(row.group), row):
            write_target(conn, pipeline, row)


def set_source(
    conn: pymysql.Connection[Any], database: str, pipeline: str, row: Authority, seconds: float
) -> None:
    """The same for the source's row, in a transaction of its own; `conn` is in autocommit mode."""
    limit_row_locks(conn, seconds)
    conn.begin()
    try:
        there = read_source(conn, database, locked=row.group).get(row.group)
        if not _stands(there, row):
            write_source(conn, database, pipeline, row)
        conn.commit()
    except BaseException:
        conn.rollback()
        raise


def _stands(there: Authority | None, wanted: Authority) -> bool:
    if there is None or there.epoch < wanted.epoch:
        return False
    if (there.epoch, there.side) == (wanted.epoch, wanted.side):
        return True
    raise Superseded(
        f"group {wanted.group} is at epoch {there.epoch} by now ({there.side}),"
        f" and was to be {wanted.side} in epoch {wanted.epoch}",
        "see how it goes on: dbbridge cutover status",
    )
