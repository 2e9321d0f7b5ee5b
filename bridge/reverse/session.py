"""The session in the source: nothing is bent, fired or cascaded there on the way in."""

from __future__ import annotations

from typing import Any

import pymysql

from bridge.databases.endpoint import Endpoint
from bridge.databases.mysql import connect

SESSION = (
    "SET SESSION sql_mode='STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES',"
    " foreign_key_checks=0, unique_checks=1, innodb_lock_wait_timeout=10"
)
"""Strict: what does not fit is an error. Cascades come as rows of their own (no foreign keys); a 0
is a 0; dates that no calendar has may come back. Beside the UTC of every session."""
LENIENT = "SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'"


def open_session(endpoint: Endpoint) -> pymysql.Connection[Any]:
    """A session without autocommit; an UPDATE counts the rows that it finds."""
    conn = connect(endpoint, found_rows=True)
    with conn.cursor() as cursor:
        cursor.execute(SESSION)
    conn.autocommit(False)
    return conn
