"""Operations of the dual-write layer that nobody can be late with any more are forgotten.

A provisional write holds the group's lock in shared mode from before it looks whether its operation
is still remembered until it commits. With the lock held exclusively nobody is in between, so the
number up to which all is forgotten can rise and the claims can go. They stay while a table is
behind the others: which of its rows are early, its stream is still to know.
"""

from __future__ import annotations

import time
from contextlib import closing

import psycopg
import pymysql
import structlog
from pymysql.constants import ER

from bridge.capture.dialect import read_dialect
from bridge.databases.postgres import limit_locks
from bridge.names import TableName, bindable
from bridge.replicate.ops import OPS_TABLE
from bridge.replicate.servers import Servers
from bridge.store.lease import Lease
from bridge.store.state import Connection, Q

EVERY_SECONDS = 60.0
KEEP_SECONDS = 600.0
"""How long a claim is remembered; a provisional write is refused by its limits long before."""
LOCK_SECONDS = 2.0
"""How long claims that are under way are waited for."""
KEEP_DAYS = 2
"""How long the source remembers operations, which are the applications' idempotency keys too."""
MOST_ROWS = 10_000
"""Rows of the source that are deleted at once."""
_DENIED = (ER.TABLEACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR, ER.NO_SUCH_TABLE)

log = structlog.get_logger("dbbridge.sync")


class Pruner:
    """Prunes at most every `EVERY_SECONDS`; what hinders it is told, and tried again."""

    def __init__(
        self, servers: Servers, lease: Lease, *, keep_seconds: float = KEEP_SECONDS
    ) -> None:
        self._servers = servers
        self._lease = lease
        self._keep_seconds = keep_seconds
        self._last = time.monotonic()

    def tick(self, conn: Connection) -> None:
        """`conn` is the daemon's session with the target. Raises LeaseLost."""
        if time.monotonic() - self._last > EVERY_SECONDS:
            self._last = time.monotonic()
            self.prune(conn)

    def prune(self, conn: Connection) -> None:
        """See the module. Raises LeaseLost."""
        names = {"pipeline": self._lease.pipeline, "seconds": self._keep_seconds}
        row = conn.execute(Q["prunable_ops"], names).fetchone()
        if row is None or row[0] is None:
            return
        number = int(row[0])
        try:
            self._forget(conn, number)
        except psycopg.errors.LockNotAvailable:
            return
        self._prune_source(number)

    def begin_anew(self, conn: Connection) -> None:
        """The stream begins where it never was: what happened before it will not be claimed.

        So all operations that have a number by now are forgotten, before the tables stream. Raises
        LeaseLost, and psycopg's error where a lock is not had soon.
        """
        with closing(self._servers.source()) as source, source.cursor() as cursor:
            if read_dialect(source).mysql_since(8, 0):
                cursor.execute("SET SESSION information_schema_stats_expiry = 0")
            cursor.execute(
                "SELECT MAX(auto_increment) FROM information_schema.tables"
                " WHERE table_schema = DATABASE() AND table_name = %s",
                (OPS_TABLE,),
            )
            (following,) = cursor.fetchone() or (None,)
        if following is not None:
            self._forget(conn, int(following) - 1)

    def _forget(self, conn: Connection, number: int) -> None:
        names = {"pipeline": self._lease.pipeline, "number": number}
        with conn.transaction():
            limit_locks(conn, LOCK_SECONDS)
            for (group,) in conn.execute(Q["authority_groups"], names).fetchall():
                conn.execute(Q["lock_authority"], {**names, "group": group})
            self._lease.guard(conn)
            conn.execute(Q["forget_ops"], names)
            conn.execute(Q["drop_ops"], names)

    def _prune_source(self, number: int) -> None:
        """Deletes the rows of the source that are old, where its account may."""
        with closing(self._servers.source()) as source, source.cursor() as cursor:
            cursor.execute("SELECT DATABASE()")
            (database,) = cursor.fetchone() or (None,)
            if database is None:
                return
            table = bindable(TableName(str(database), OPS_TABLE).mysql)
            try:
                cursor.execute(
                    f"DELETE FROM {table} WHERE seq <= %s AND made < NOW() - INTERVAL %s DAY"
                    " ORDER BY seq LIMIT %s",
                    (number, KEEP_DAYS, MOST_ROWS),
                )
            except pymysql.Error as error:
                hint = "GRANT SELECT, DELETE on it" if error.args[0] in _DENIED else ""
                log.warning("operations-not-pruned", table=table, reason=str(error), hint=hint)
