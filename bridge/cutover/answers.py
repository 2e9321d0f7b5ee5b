"""Answers of the HTTP service go back with the authority, so that no request is done twice.

While the target has authority they are kept there. Before a reverse most of them are copied, and
what is new under its fence: a repeated request finds its answer on the side that is asked then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pymysql

from bridge.names import TableName, bindable
from bridge.replicate.ops import ANSWERS_TABLE

ROWS = 500
MARGIN = timedelta(minutes=10)
"""An answer is dated by the beginning of its transaction, and is seen after its end."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What the source has: all answers of transactions before `horizon`, some of later ones.

    `horizon`: the first transaction (xid8) that may not have been over when answers were read;
    '' if they never were. `newest`: the date of the newest answer, None if there is none.
    """

    horizon: str = ""
    newest: datetime | None = None


NOTHING = Carried()


def carry(
    source: pymysql.Connection[Any],
    target: psycopg.Connection[Any],
    database: str,
    before: Carried = NOTHING,
) -> Carried:
    """Copies answers that the source does not have after what was carried `before`.

    Returns what it has then, for the next time. Both sessions in autocommit mode.
    """
    table = bindable(TableName(database, ANSWERS_TABLE).mysql)
    newest = before.newest
    with target.transaction(), target.cursor("answers") as answers:
        (horizon,) = target.execute(
            "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"
        ).fetchone() or ("",)
        answers.itersize = ROWS
        answers.execute(
            "SELECT op_id, request, answer, made FROM dbbridge.answers"
            " WHERE made >= coalesce(%s, '-infinity'::timestamptz)"
            " AND (%s = '' OR age(xmin) <= age(nullif(%s, '')::xid8::xid)) ORDER BY made",
            (newest - MARGIN if newest else None, before.horizon, before.horizon),
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
    return Carried(horizon, newest)
