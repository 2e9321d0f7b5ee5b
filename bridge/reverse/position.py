"""How far a group is applied: one row of the source's own, in the transaction that applies.

It is the first row that such a transaction changes, by which readers of the source's log know it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.constants import ER

from bridge.errors import BridgeError, ServerRefused
from bridge.names import TableName, bindable

REVERSE_TABLE = "_bridge_reverse"


class ReverseTaken(BridgeError):
    """Another process applies this group, or a later switch has begun."""


def definition(database: str) -> str:
    """The statement that makes the positions' table."""
    text = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"
    return (
        f"CREATE TABLE IF NOT EXISTS {TableName(database, REVERSE_TABLE).mysql} ("
        f"grp varchar(64) {text} PRIMARY KEY, slot varchar(63) {text},"
        " lsn bigint unsigned NOT NULL, epoch bigint NOT NULL,"
        " changed timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)) ENGINE=InnoDB"
    )


def make_table(conn: pymysql.Connection[Any], database: str) -> None:
    """Makes it, if it is not there; raises ServerRefused with the statement for who may."""
    with conn.cursor() as cursor:
        if cursor.execute(
            "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            (database, REVERSE_TABLE),
        ):
            return
        try:
            cursor.execute(definition(database))
        except pymysql.err.OperationalError as error:
            if error.args[0] not in (ER.TABLEACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR):
                raise
            raise ServerRefused(
                f"the account may not make {database}.{REVERSE_TABLE}",
                f"have somebody run, who may: {definition(database)}",
            ) from error


@dataclass(slots=True)
class Position:
    """The row of a group; `lsn`: every transaction whose commit record stands before is applied."""

    database: str
    group: str
    slot: str
    epoch: int
    lsn: int = 0

    def read(self, conn: pymysql.Connection[Any], flip: int) -> None:
        """Reads the row under its lock, and begins it at `flip` where a switch is new.

        Ends its own transaction. Raises ReverseTaken where the row is of a later switch.
        """
        with conn.cursor() as cursor:
            cursor.execute(
                f"SELECT lsn, epoch, slot FROM {self._table} WHERE grp = %s FOR UPDATE",
                (self.group,),
            )
            row = cursor.fetchone()
            if row is not None and row[1] > self.epoch:
                conn.rollback()
                raise self._taken(f"epoch {row[1]} has begun")
            if row is not None and row[1] == self.epoch and row[2] == self.slot:
                self.lsn = max(int(row[0]), flip)
            else:
                self.lsn = flip
            cursor.execute(
                f"INSERT INTO {self._table} (grp, slot, lsn, epoch, changed)"
                " VALUES (%s, %s, %s, %s, UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE"
                " slot = %s, lsn = %s, epoch = %s, changed = UTC_TIMESTAMP(6)",
                (self.group, self.slot, self.lsn, self.epoch, self.slot, self.lsn, self.epoch),
            )
        conn.commit()

    def move(self, conn: pymysql.Connection[Any], lsn: int) -> None:
        """The first statement of a transaction; raises ReverseTaken if the row is not as known."""
        with conn.cursor() as cursor:
            found = cursor.execute(
                f"UPDATE {self._table} SET lsn = %s, changed = UTC_TIMESTAMP(6)"
                " WHERE grp = %s AND slot = %s AND epoch = %s AND lsn = %s",
                (lsn, self.group, self.slot, self.epoch, self.lsn),
            )
        if found != 1:
            raise self._taken("it is not where this process left it")

    def _taken(self, why: str) -> ReverseTaken:
        return ReverseTaken(
            f"the position of group {self.group} in {self.database}.{REVERSE_TABLE}: {why}",
            "another process applies this group; nothing was written by this one",
        )

    @property
    def _table(self) -> str:
        return bindable(TableName(self.database, REVERSE_TABLE).mysql)
