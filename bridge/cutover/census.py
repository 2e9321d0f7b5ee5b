"""Who writes on both sides, watched over days: the accounts, hosts and programs.

MySQL counts statements by account in performance_schema, and tells each session's program. Where
that is off (MariaDB's default), user_statistics counts rows (`userstat`), and else only those are
seen who are in a transaction that has written at the moment of a look. In PostgreSQL whoever holds
a transaction that has written is met, and pg_stat_statements, where it is there, counts by role.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import psycopg
import pymysql
from psycopg.types.json import Jsonb

from bridge.cutover.counting import Look, Who, between, latest
from bridge.cutover.fences.rights import rows
from bridge.cutover.gates.transactions import REFUSED, programs
from bridge.cutover.under_way import under_way
from bridge.store.sql import queries

Q = queries("bridge.cutover", "census.sql")
LOOK_SECONDS = 10.0
"""How often both servers are looked at. A look takes some milliseconds on each."""

_EVENTS = (
    "insert", "insert_select", "replace", "replace_select", "update", "update_multi", "delete",
    "delete_multi", "load", "execute_sql", "call_procedure",
)  # fmt: skip
_NAMES = ", ".join([*(f"'statement/sql/{name}'" for name in _EVENTS), "'statement/com/Execute'"])
_ACCOUNTS = f"""
SELECT USER, HOST, SUM(COUNT_STAR)
FROM performance_schema.events_statements_summary_by_account_by_event_name
WHERE EVENT_NAME IN ({_NAMES}) AND USER IS NOT NULL AND SUM_ROWS_AFFECTED > 0
GROUP BY USER, HOST"""
_SESSIONS = f"""
SELECT t.PROCESSLIST_ID, t.PROCESSLIST_USER, t.PROCESSLIST_HOST, SUM(s.COUNT_STAR)
FROM performance_schema.events_statements_summary_by_thread_by_event_name s
JOIN performance_schema.threads t ON t.THREAD_ID = s.THREAD_ID
WHERE s.EVENT_NAME IN ({_NAMES}) AND t.PROCESSLIST_USER IS NOT NULL AND s.SUM_ROWS_AFFECTED > 0
GROUP BY t.PROCESSLIST_ID, t.PROCESSLIST_USER, t.PROCESSLIST_HOST"""
_USERS = """
SELECT USER, ROWS_INSERTED + ROWS_UPDATED + ROWS_DELETED FROM information_schema.USER_STATISTICS
WHERE ROWS_INSERTED + ROWS_UPDATED + ROWS_DELETED > 0"""

SAMPLED = (
    "the source counts no statements (performance_schema and userstat are off): only writers that"
    " had a transaction open when looked at were seen"
)
NO_SCHEMA = "the account may not read performance_schema in the source"
NO_PROCESS = "the account may not see other sessions' transactions in the source (PROCESS)"


class Census:
    """Looks at both servers from time to time, and writes down who was seen to write.

    Serves one thread. `source` opens nothing: all sessions are handed to `tick`.
    """

    def __init__(self, pipeline: str, seconds: float = LOOK_SECONDS) -> None:
        self._pipeline = pipeline
        self._seconds = seconds
        self._next = 0.0
        self._source: Look | None = None
        self._target: Look | None = None

    def due(self) -> bool:
        """Whether it is time for a look."""
        return time.monotonic() >= self._next

    def tick(self, source: pymysql.Connection[Any], control: psycopg.Connection[Any]) -> None:
        """Looks, if it is time to. `control`: on the target, in autocommit mode.

        Raises the drivers' errors when a connection breaks.
        """
        if not self.due():
            return
        self._next = time.monotonic() + self._seconds
        here, there = look_at_source(source), look_at_target(control)
        self._write(control, "source", between(self._source, here), here.unseen)
        self._write(control, "target", between(self._target, there), there.unseen)
        self._source, self._target = latest(self._source, here), latest(self._target, there)

    def _write(
        self,
        control: psycopg.Connection[Any],
        side: str,
        found: dict[Who, int],
        unseen: Sequence[str],
    ) -> None:
        writers = [
            {"account": w.account, "host": w.host, "program": w.program[:200], "statements": count}
            for w, count in sorted(found.items())
        ]
        names = {"pipeline": self._pipeline, "side": side, "unseen": list(unseen)}
        control.execute(Q["looked"], {**names, "writers": Jsonb(writers)})


def look_at_source(source: pymysql.Connection[Any]) -> Look:
    """One look; what the account may not see is left out, and said."""
    met, unseen = _met(source)
    if _on(source, "performance_schema"):
        try:
            return _by_schema(source, met, unseen)
        except pymysql.Error as error:
            if error.args[0] not in REFUSED:
                raise
            unseen = [*unseen, NO_SCHEMA]
    elif _on(source, "userstat"):
        if NO_PROCESS not in unseen:  # without it the table is empty, and nothing is refused
            counted = {Who(str(user), ""): int(n) for user, n in rows(source, _USERS)}
            return Look(counted, {}, met, tuple(unseen))
    else:
        unseen = [*unseen, SAMPLED]
    return Look(None, {}, met, tuple(unseen))


def _by_schema(source: pymysql.Connection[Any], met: tuple[Who, ...], unseen: list[str]) -> Look:
    counted = {Who(str(user), str(host)): int(n) for user, host, n in rows(source, _ACCOUNTS)}
    found = rows(source, _SESSIONS)
    named = programs(source) if found else {}
    sessions = {
        int(number): (Who(str(user), str(host or ""), named.get(int(number), "")), int(count))
        for number, user, host, count in found
    }
    return Look(counted, sessions, met, tuple(unseen))


def _met(source: pymysql.Connection[Any]) -> tuple[tuple[Who, ...], list[str]]:
    try:
        found = [one for one in under_way(source) if one.writes]
    except pymysql.Error as error:
        if error.args[0] not in REFUSED:
            raise
        return (), [NO_PROCESS]
    named = programs(source) if found else {}
    return tuple(Who(one.user, one.host, named.get(one.session, "")) for one in found), []


def _on(source: pymysql.Connection[Any], variable: str) -> bool:
    found = rows(source, "SHOW GLOBAL VARIABLES LIKE %s", (variable,))
    return bool(found) and str(found[0][1]).upper() in ("ON", "1")


def look_at_target(control: psycopg.Connection[Any]) -> Look:
    """One look; the daemon's own role is told by its sessions' names."""
    met = tuple(
        Who(user, host, program) for user, host, program in control.execute(Q["writing"]).fetchall()
    )
    try:
        counts = control.execute(Q["has_statements"]).fetchone()
        if not counts or not counts[0]:
            return Look(met=met)
        counted = {Who(user, ""): int(n) for user, n in control.execute(Q["statements"])}
    except psycopg.Error as error:
        if error.sqlstate not in ("42501", "55000"):  # not loaded, or not permitted
            raise
        return Look(met=met)
    return Look(counted, {}, met)
