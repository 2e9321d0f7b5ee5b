"""XA transactions that are prepared and not decided.

Their rows stand in the log where they were prepared, and nobody sees them until they are committed.
"""

from __future__ import annotations

from typing import Any

import pymysql
from pymysql.constants import ER
from pymysql.cursors import Cursor

WAY_ON = "commit or roll back what XA RECOVER shows"
_REFUSED = frozenset({ER.SPECIFIC_ACCESS_DENIED_ERROR, ER.XAER_RMERR})
"""MySQL 8.0 answers XAER_RMERR where the account has no XA_RECOVER_ADMIN."""


def prepared(conn: pymysql.Connection[Any]) -> int | None:
    """How many there are; None if the account may not ask. Raises pymysql's errors."""
    try:
        with conn.cursor(Cursor) as cursor:
            cursor.execute("XA RECOVER")
            return len(cursor.fetchall())
    except pymysql.Error as error:
        if error.args[0] not in _REFUSED:
            raise
        return None


def undecided(count: int) -> str:
    """The words for it."""
    what = "1 XA transaction is" if count == 1 else f"{count} XA transactions are"
    return f"{what} prepared on the source"
