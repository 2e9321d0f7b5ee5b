"""Sessions of PostgreSQL that take their time to end."""

from __future__ import annotations

from typing import Any

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]


def hinder(conn: Connection, by: Connection) -> None:
    """The session cannot end until the transaction of `by`, a superuser's, does.

    Whoever ends drops its temporary tables, and keeps the locks of the session until then.
    """
    conn.execute("CREATE TEMPORARY TABLE lingering ()")
    ((schema,),) = conn.execute("SELECT pg_my_temp_schema()::regnamespace::text").fetchall()
    by.execute(f"LOCK TABLE {schema}.lingering IN ACCESS SHARE MODE".encode())
