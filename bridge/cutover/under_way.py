"""Transactions that other sessions have open on the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pymysql

from bridge.cutover.fences.rights import rows

NOT_CONVERTED = 3854
"""ER_CANNOT_CONVERT_STRING: what MySQL answers to whoever asks INFORMATION_SCHEMA for transactions
or sessions while anybody runs a statement with a character beyond the first 65,536 (an emoji, say),
since these tables keep statements in utf8mb3. No sql_mode changes that."""

# trx_started is in the server's time zone, whatever the session's is.
_BY_ENGINE = """
SELECT t.trx_mysql_thread_id, COALESCE(p.USER, ''), COALESCE(p.HOST, ''),
       TIMESTAMPDIFF(SECOND, CONVERT_TZ(t.trx_started, 'SYSTEM', '+00:00'), UTC_TIMESTAMP()),
       t.trx_rows_modified > 0, t.trx_rows_modified + t.trx_lock_structs > 0,
       LEFT(COALESCE(t.trx_query, p.INFO, ''), 200)
FROM information_schema.INNODB_TRX t
JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id
WHERE t.trx_mysql_thread_id <> CONNECTION_ID()"""
# Whoever changes rows, or reads them to change them, holds this lock until the transaction ends.
_BY_SCHEMA = """
SELECT t.PROCESSLIST_ID, COALESCE(t.PROCESSLIST_USER, ''),
       CONCAT(COALESCE(t.PROCESSLIST_HOST, ''), ':'), x.TIMER_WAIT / 1e12,
       w.OWNER_THREAD_ID IS NOT NULL, w.OWNER_THREAD_ID IS NOT NULL,
       LEFT(COALESCE(t.PROCESSLIST_INFO, ''), 200)
FROM performance_schema.events_transactions_current x
JOIN performance_schema.threads t ON t.THREAD_ID = x.THREAD_ID
LEFT JOIN (
    SELECT DISTINCT OWNER_THREAD_ID FROM performance_schema.metadata_locks
    WHERE LOCK_TYPE = 'SHARED_WRITE' AND LOCK_STATUS = 'GRANTED'
) w ON w.OWNER_THREAD_ID = t.THREAD_ID
WHERE x.STATE = 'ACTIVE' AND t.PROCESSLIST_ID <> CONNECTION_ID()"""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A session's open transaction.

    `seconds`: since it began. `writes`: it has changed rows; `locks`: or has locked some.
    `statement`: what it runs now, its first 200 characters; '' for nothing.
    """

    session: int
    user: str
    host: str
    seconds: float
    writes: bool
    locks: bool
    statement: str


def under_way(source: pymysql.Connection[Any]) -> list[UnderWay]:
    """All that are open, but the own one. Needs PROCESS.

    Where MySQL cannot show them, performance_schema is asked, which needs SELECT on it: of those
    who read rows to change them it says that they have. Raises the driver's errors.
    """
    try:
        found = rows(source, _BY_ENGINE)
    except pymysql.Error as error:
        if error.args[0] != NOT_CONVERTED:
            raise
        found = rows(source, _BY_SCHEMA)
    return [
        UnderWay(
            int(number),
            str(user),
            str(host).rpartition(":")[0] or str(host),
            float(seconds or 0),
            bool(writes),
            bool(locks),
            str(statement),
        )
        for number, user, host, seconds, writes, locks, statement in found
    ]
