"""Whether a connector's position goes with the source that the pipeline knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pymysql
from pymysql.cursors import Cursor

from bridge.capture.dialect import read_dialect
from bridge.findings import Finding, finding


def position_findings(
    conn: pymysql.Connection[Cursor], offset: Mapping[str, Any]
) -> Iterator[Finding]:
    """What is wrong with an offset that Kafka Connect has committed for the connector.

    MySQL's sets of GTIDs tell servers apart; without them the name of the log's file at least has
    to be there. MariaDB's positions are not looked at. Raises pymysql's errors.
    """
    if read_dialect(conn).mariadb or not offset.get("file"):
        return
    gtids = str(offset.get("gtids") or "")
    if gtids:
        yield from _by_gtids(conn, gtids)
        return
    files = _files(conn)
    if files and offset["file"] not in files:
        message = f"the connector stands in {offset['file']}, the source has {files[0]} and later"
        yield finding("K042", message=message)


def _by_gtids(conn: pymysql.Connection[Cursor], gtids: str) -> Iterator[Finding]:
    query = (
        "SELECT GTID_SUBTRACT(%(read)s, @@GLOBAL.gtid_executed),"
        " GTID_SUBTRACT(@@GLOBAL.gtid_purged, %(read)s)"
    )
    with conn.cursor(Cursor) as cursor:
        cursor.execute(query, {"read": gtids})
        row: Any = cursor.fetchone()
    unknown, purged = (str(text).replace("\n", "") for text in row)
    if unknown:
        message = f"the connector has read {unknown}, which the source does not have"
        yield finding("K042", message=message)
    elif purged:
        message = f"the source has purged {purged}, which the connector has not read"
        yield finding("K042", message=message)


def _files(conn: pymysql.Connection[Cursor]) -> list[str]:
    """The source's log; [] if the account may not ask."""
    with suppress(pymysql.err.OperationalError), conn.cursor(Cursor) as cursor:
        cursor.execute("SHOW BINARY LOGS")
        return [str(row[0]) for row in cursor.fetchall()]
    return []
