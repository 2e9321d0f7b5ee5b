"""Whether the source can be followed, and is the one that the pipeline's positions come from.

A server that took the old one's place (a replica after a failover) has all that was applied; one
that lacks some of it would be taken for the same, and what differs would stay in the target.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import pymysql

from bridge.capture.binlog.positions import has_executed, logged_at
from bridge.capture.findings import server_findings
from bridge.change.position import Position
from bridge.errors import SourceError

Key = TypeVar("Key")

PATIENCE = 3.0
"""Seconds for commits that a stream has read and other sessions do not see yet."""
_POLL_SECONDS = 0.05


def check_settings(conn: pymysql.Connection[Any]) -> None:
    """Raises SourceError where `dbbridge check` finds an error in the source's settings."""
    errors = [one for one in server_findings(conn) if one.severity == "error"]
    if errors:
        what = "; ".join(f"{one.message} ({one.code})" for one in errors)
        hint = errors[0].hint if len(errors) == 1 else "dbbridge check tells what to do for each"
        raise SourceError(f"the source cannot be followed: {what}", hint)


def obstacle(
    conn: pymysql.Connection[Any], identity: str, known: str, positions: Iterable[Position]
) -> str:
    """What speaks against going on from these positions; '' for nothing.

    `identity` names this server, `known` the one that the positions' coordinates belong to
    ('': not known). Raises SourceError and ServerUnreachable.
    """
    another = known not in ("", identity)
    for position in positions:
        if position.kind == "file" and another:
            return "without GTID a position says nothing on another server"
        if lacking(conn, {position: [position]}):
            return f"it does not have the changes up to {position}, which were applied"
        if another and not _same_log(conn, identity, known, position):
            return f"its server_id is the old one's, and its log has not {position} at that place"
    return ""


def lacking(conn: pymysql.Connection[Any], needed: Mapping[Key, Sequence[Position]]) -> list[Key]:
    """Those of which this server does not have all that they need, nor gets it within a moment."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = [
            key
            for key, positions in needed.items()
            if not all(has_executed(conn, position) for position in positions)
        ]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(_POLL_SECONDS)


def _same_log(conn: pymysql.Connection[Any], identity: str, known: str, position: Position) -> bool:
    """MariaDB's GTIDs name no server but by its number: whether two of one number are one server.

    A server that was renamed or moved still has its log; a new one has another at that place. One
    with a number of its own has the position's GTID from a common primary, or refuses it.
    """
    if position.kind != "mariadb-gtid" or not position.file or not position.text:
        return True
    if identity.partition("@")[0] != known.partition("@")[0]:
        return True
    there = logged_at(conn, position)
    return there is not None and position.covers(there)
