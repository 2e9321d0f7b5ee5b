"""Sessions of the source: who is there, who stands in the way of a lock, and how they are ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import pymysql
from pymysql.constants import ER

from bridge.capture.dialect import read_dialect
from bridge.cutover.fences.base import Connection, Session
from bridge.cutover.fences.rights import execute, rows
from bridge.cutover.under_way import UnderWay, under_way
from bridge.names import TableName

PAUSE = 0.005
"""Seconds between two looks."""
LOCK_WAIT_TIMEOUT = ER.LOCK_WAIT_TIMEOUT
LOGGING_IN = "unauthenticated user"
_NO_SUCH_THREAD = 1094
_READING = "^[[:space:](]*SELECT[^a-zA-Z0-9_]"
_BACKGROUND = ("Sleep", "Daemon", "Binlog Dump", "Binlog Dump GTID", "Connect", "Killed")

_SESSIONS = {
    False: "SELECT t.processlist_id, COALESCE(t.processlist_user, 'unauthenticated user'),"
    " t.processlist_host,"
    " COALESCE(a.attr_value, ''), COALESCE(t.processlist_info, ''), COALESCE(t.processlist_time, 0)"
    " FROM performance_schema.threads t LEFT JOIN performance_schema.session_connect_attrs a"
    " ON a.processlist_id = t.processlist_id AND a.attr_name = 'program_name'"
    " WHERE t.processlist_id <> CONNECTION_ID() AND t.type = 'FOREGROUND'"
    " AND t.processlist_command <> 'Daemon'",
    True: "SELECT id, user, host, '', COALESCE(info, ''), time FROM information_schema.processlist"
    " WHERE id <> CONNECTION_ID()",
}
_RUNNING = {
    False: "SELECT t.processlist_id, COALESCE(MIN(s.event_id), 0)"
    " FROM performance_schema.threads t LEFT JOIN performance_schema.events_statements_current s"
    " ON s.thread_id = t.thread_id AND COALESCE(s.nesting_event_level, 0) = 0"
    " WHERE t.processlist_id <> CONNECTION_ID() AND t.type = 'FOREGROUND'"
    " AND t.processlist_command NOT IN %s AND COALESCE(t.processlist_info, '') NOT RLIKE %s"
    " GROUP BY t.processlist_id",
    True: "SELECT id, query_id FROM information_schema.processlist"
    " WHERE id <> CONNECTION_ID() AND command NOT IN %s AND COALESCE(info, '') NOT RLIKE %s",
}
_HOLDERS = (
    "SELECT t.processlist_id, CONCAT(l.object_schema, '.', l.object_name)"
    " FROM performance_schema.metadata_locks l"
    " LEFT JOIN performance_schema.threads t ON t.thread_id = l.owner_thread_id"
    " WHERE l.object_type = 'TABLE' AND l.lock_status = 'GRANTED'"
    " AND l.lock_type NOT IN ('INTENTION_EXCLUSIVE', 'SHARED', 'SHARED_HIGH_PRIO', 'SHARED_READ',"
    " 'SHARED_READ_ONLY') AND (l.object_schema, l.object_name) IN ({})"
    " AND COALESCE(t.processlist_id, 0) <> CONNECTION_ID()"
)
DETACHED = "a transaction whose session is gone (XA RECOVER lists it)"


def sessions(conn: Connection) -> dict[int, Session]:
    """All sessions but this one, by their ids."""
    found = rows(conn, _SESSIONS[read_dialect(conn).mariadb])
    return {
        int(i): Session(int(i), user or "", host or "", program, statement, float(seconds))
        for i, user, host, program, statement, seconds in found
    }


def running(conn: Connection) -> set[tuple[int, int]]:
    """The statements but SELECT that run now: its session's id, and a number of its own."""
    found = rows(conn, _RUNNING[read_dialect(conn).mariadb], (_BACKGROUND, _READING))
    return {(int(i), int(number)) for i, number in found}


def in_transactions(conn: Connection) -> list[Session]:
    """Sessions with a transaction that changed or locked rows, those without if there are none."""
    known = sessions(conn)
    found = under_way(conn)
    chosen = [one for one in found if one.locks] or found
    return [_for(one, known) for one in chosen if one.session in known]


def changing(conn: Connection) -> list[Session]:
    """Sessions whose open transaction has changed rows."""
    known = sessions(conn)
    return [_for(one, known) for one in under_way(conn) if one.writes and one.session in known]


def _for(one: UnderWay, known: Mapping[int, Session]) -> Session:
    return replace(known[one.session], seconds=one.seconds)


def blockers(conn: Connection, tables: Sequence[TableName]) -> list[Session]:
    """Sessions that keep the tables from being locked.

    On MySQL those that hold them, with the table; on MariaDB, which does not tell, all with a
    transaction. `id` is 0 for a prepared XA transaction without a session.
    """
    if read_dialect(conn).mariadb:
        return in_transactions(conn)
    known = sessions(conn)
    since = {one.session: one.seconds for one in under_way(conn)}
    places = ", ".join(["(%s, %s)"] * len(tables))
    values = [part for name in tables for part in (name.schema, name.table)]
    found: dict[int, Session] = {}
    for i, table in rows(conn, _HOLDERS.format(places), values):
        if i is None:
            found[0] = Session(0, "", "", statement=DETACHED, table=table)
        elif i in known:
            found[i] = replace(known[i], seconds=since.get(i, known[i].seconds), table=table)
    return list(found.values())


def newest(conn: Connection) -> int:
    """The id of the youngest session; ids grow."""
    return max(sessions(conn), default=0)


def of_users(conn: Connection, users: Collection[str], upto: int) -> list[Session]:
    """Sessions up to the id `upto` that logged in under one of the names, whatever their host.

    Those count that are just logging in: they may have passed what was closed to them since.
    """
    return [
        each
        for each in sessions(conn).values()
        if each.id <= upto and (each.user in users or each.user == LOGGING_IN)
    ]


def end(conn: Connection, victims: Iterable[Session]) -> list[Session]:
    """Ends sessions; returns those that were there. They may take a while to roll back."""
    ended = []
    for each in victims:
        if each.id == 0:
            continue
        try:
            execute(conn, f"KILL CONNECTION {each.id}")
        except pymysql.err.MySQLError as error:
            if error.args[0] != _NO_SUCH_THREAD:
                raise
        else:
            ended.append(each)
    return ended


def end_all(
    conn: Connection, find: Callable[[], list[Session]], deadline: float
) -> tuple[list[Session], list[Session]]:
    """Ends what `find` gives until it gives nothing; returns who was ended and who is still there.

    `deadline` is one of time.monotonic().
    """
    ended: dict[int, Session] = {}
    while True:
        left = find()
        if not left or time.monotonic() > deadline:
            return list(ended.values()), left
        fresh = [each for each in left if each.id not in ended]
        ended |= {each.id: each for each in end(conn, fresh)}
        time.sleep(PAUSE)
