"""Answers of the HTTP service go back with the authority, so that no request is done twice.

While the target has authority they are kept there. Before a reverse most of them are copied, and
what is new under its fence: a repeated request finds its answer on the side that is asked then.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import psycopg
import pymysql

from bridge.names import TableName, bindable
from bridge.replicate.ops import ANSWERS_TABLE

ROWS = 500
MARGIN = timedelta(minutes=10)
"""An answer is dated by the beginning of its transaction, and is seen after its end."""


def carry(
    source: pymysql.Connection[Any],
    target: psycopg.Connection[Any],
    database: str,
    since: datetime | None,
) -> datetime | None:
    """Copies answers that the source does not have, of `since` (None: ever) and later.

    Returns the date of the newest, for the next time. Both sessions in autocommit mode.
    """
    table = bindable(TableName(database, ANSWERS_TABLE).mysql)
    newest = since
    with target.transaction(), target.cursor("answers") as answers:
        answers.itersize = ROWS
        answers.execute(
            "SELECT op_id, request, answer, made FROM dbbridge.answers"
            " WHERE made >= coalesce(%s, '-infinity'::timestamptz) ORDER BY made",
            (since - MARGIN if since else None,),
        )
        while rows := answers.fetchmany(ROWS):
            values = [
                (op.bytes, bytes(request), answer, made) for op, request, answer, made in rows
            ]
            with source.cursor() as cursor:
                cursor.executemany(
                    f"INSERT IGNORE INTO {table} (op_id, request, answer, made)"
                    " VALUES (%s, %s, %s, %s)",
                    values,
                )
            newest = max(newest or rows[-1][3], rows[-1][3])
    return newest
