"""Proof that nobody writes tables of the source any more."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

import pymysql
from pymysql.constants import ER

from bridge.cutover.fences import sessions
from bridge.cutover.fences.base import (
    Connection,
    Evidence,
    Limits,
    Proof,
    Session,
    SourceFence,
    distinct,
)
from bridge.cutover.fences.rights import execute
from bridge.names import TableName


def drain(conn: Connection, fence: SourceFence, evidence: Evidence, limits: Limits) -> Proof:
    """Waits until every write that began before the fence was set is over.

    A statement that had passed the check of its rights, but holds no lock yet, is waited for before
    the tables are locked: the lock waits for all that hold one, and lets go at once.
    """
    deadline = time.monotonic() + limits.seconds
    exempt = {account.user for account in fence.subject.exempt}
    upto = sessions.newest(conn)
    ended, left = sessions.end_all(conn, lambda: fence.leftovers(conn, evidence, upto), deadline)
    if left:
        return Proof(False, tuple(left), tuple(ended))
    passed = _await_statements(conn, exempt, limits, deadline)
    if not passed.holds:
        return Proof(False, passed.blockers, (*ended, *passed.ended))
    tables = fence.subject.tables
    if not tables:
        return Proof(True, (), tuple(ended))
    locks = ", ".join(f"{name.mysql} READ" for name in tables)
    rest = Limits(max(0.0, deadline - time.monotonic()), limits.lock_seconds, limits.end)
    proof = insist(conn, f"LOCK TABLES {locks}", tables, rest, exempt)
    execute(conn, "UNLOCK TABLES")
    return Proof(proof.holds, proof.blockers, (*ended, *passed.ended, *proof.ended))


def _await_statements(
    conn: Connection, exempt: Collection[str], limits: Limits, deadline: float
) -> Proof:
    known = sessions.sessions(conn)
    counting = {i for i, each in known.items() if each.user not in exempt}
    before = {each for each in sessions.running(conn) if each[0] in counting}
    patience = min(deadline, time.monotonic() + limits.lock_seconds)
    ended: dict[int, Session] = {}
    while before:
        before &= sessions.running(conn)
        late = [known[i] for i, _ in before]
        if time.monotonic() > deadline:
            return Proof(False, tuple(late), tuple(ended.values()))
        if limits.end and time.monotonic() > patience:
            fresh = [each for each in late if each.id not in ended]
            ended |= {each.id: each for each in sessions.end(conn, fresh)}
        if before:
            time.sleep(sessions.PAUSE)
    return Proof(True, (), tuple(ended.values()))


def insist(
    conn: Connection,
    statement: str,
    tables: Sequence[TableName],
    limits: Limits,
    exempt: Collection[str],
) -> Proof:
    """Carries out a statement that locks tables, ending who stands in the way if he may.

    Nobody is ended unless it is tried again afterwards.
    """
    deadline = time.monotonic() + limits.seconds
    ended: list[Session] = []
    try:
        while True:
            wait = max(1, round(min(limits.lock_seconds, deadline - time.monotonic())))
            execute(conn, f"SET SESSION lock_wait_timeout = {wait}")
            try:
                execute(conn, statement)
            except pymysql.err.MySQLError as error:
                if error.args[0] not in (ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK):
                    raise
            else:
                return Proof(True, (), distinct(ended))
            found = sessions.blockers(conn, tables)
            if time.monotonic() > deadline:
                return Proof(False, tuple(found), distinct(ended))
            if limits.end:
                ended += sessions.end(conn, [each for each in found if each.user not in exempt])
    finally:
        execute(conn, "SET SESSION lock_wait_timeout = DEFAULT")
