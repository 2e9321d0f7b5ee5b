"""What a server is busy with: how many statements run, how far a replica is behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
import pymysql
from pymysql.constants import ER
from pymysql.cursors import DictCursor

from bridge.errors import ServerRefused

# Whoever may not see what another role's session does sees its locks: a virtual transaction id is
# held while a statement runs, or a transaction is open (manual: pg_stat_activity, pg_locks).
_ACTIVE = """
SELECT count(*) FROM pg_catalog.pg_stat_activity a
WHERE a.pid <> pg_backend_pid()
  AND CASE WHEN a.state IS NULL THEN
        a.pid IN (SELECT pid FROM pg_catalog.pg_locks WHERE locktype = 'virtualxid' AND granted)
      ELSE a.state = 'active' AND a.backend_type = 'client backend' END"""
_BEHIND = """
SELECT pg_is_in_recovery(),
       CASE WHEN pg_last_wal_receive_lsn() IS NOT NULL
                 AND pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END"""


def mysql_running(conn: pymysql.Connection[Any]) -> int:
    """Statements that the server runs at the moment, this one not counted (Threads_running)."""
    (row,) = _rows(conn, "SHOW GLOBAL STATUS LIKE 'Threads_running'")
    return int(row["Value"]) - 1


def postgres_running(conn: psycopg.Connection[Any]) -> int:
    """Statements that the server runs at the moment, this one not counted.

    Open transactions of roles that the account may not look at are counted with them.
    """
    row = conn.execute(_ACTIVE).fetchone()
    return int(row[0]) if row else 0


def mysql_behind(conn: pymysql.Connection[Any]) -> float | None:
    """Seconds that the replica is behind; None if it does not replicate. Raises ServerRefused."""
    try:
        try:
            rows = _rows(conn, "SHOW REPLICA STATUS")  # MySQL 8.0.22, MariaDB 10.5.1
        except pymysql.err.ProgrammingError:
            rows = _rows(conn, "SHOW SLAVE STATUS")
    except pymysql.err.OperationalError as error:
        if error.args[0] != ER.SPECIFIC_ACCESS_DENIED_ERROR:
            raise
        raise ServerRefused(
            "the account may not see the replica's lag",
            "MySQL: GRANT REPLICATION CLIENT ON *.* TO …; MariaDB: GRANT SLAVE MONITOR ON *.* TO …",
        ) from error
    found = [row[name] for row in rows for name in _SECONDS if name in row]
    return max(map(float, found)) if found and None not in found else None


_SECONDS = ("Seconds_Behind_Source", "Seconds_Behind_Master")


def postgres_behind(conn: psycopg.Connection[Any]) -> float | None:
    """Seconds that the standby is behind; None if it is none, or has replayed nothing."""
    row = conn.execute(_BEHIND).fetchone()
    return float(row[1]) if row and row[0] and row[1] is not None else None


def _rows(conn: pymysql.Connection[Any], sql: str) -> Sequence[dict[str, Any]]:
    with conn.cursor(DictCursor) as cursor:
        cursor.execute(sql)
        return tuple(cursor.fetchall())
