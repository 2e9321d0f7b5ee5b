"""Locks of the target that others hold: they are waited for a little at a time, then ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

import psycopg

from bridge.cutover.fences.base import Limits, Proof, Session, distinct

Connection = psycopg.Connection[tuple[Any, ...]]
IN_THE_WAY = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    # “tuple concurrently updated”: who changed the same table's definition or rights has committed.
    psycopg.errors.InternalError_,
)
"""What others' locks make of a statement; it may go through the next time."""
FIRST_SECONDS = 0.05
"""How long locks are waited for at first, doubled each time: a writer who holds one table and waits
for another would wait for PostgreSQL to find the deadlock, and so would all others."""


def insist(
    conn: Connection,
    act: Callable[[float], None],
    blockers: Callable[[], list[Session]],
    limits: Limits,
    exempt: Collection[str] = (),
) -> Proof:
    """Does it by `act`, which is told how long to wait for a lock, again and again.

    Sessions of roles that are `exempt` are not ended; others are only where it is tried again
    afterwards. Where the proof does not hold nothing was done.
    """
    began = time.monotonic()
    deadline, patience = began + limits.seconds, began + limits.lock_seconds
    ended: list[Session] = []
    seconds = FIRST_SECONDS
    while True:
        seconds = min(2 * seconds, limits.lock_seconds, limits.seconds)
        try:
            act(seconds)
        except IN_THE_WAY:
            found, now = blockers(), time.monotonic()
            if now > deadline:
                return Proof(False, tuple(found), distinct(ended))
            if limits.end and now > patience:
                ended += _end(conn, [each for each in found if each.user not in exempt])
        else:
            return Proof(True, (), distinct(ended))


def _end(conn: Connection, victims: Sequence[Session]) -> list[Session]:
    """Those that it may end; others still stand in the way when it is tried again."""
    ended = []
    for each in victims:
        if each.id:
            with suppress(psycopg.errors.InsufficientPrivilege), conn.transaction():
                conn.execute("SELECT pg_terminate_backend(%s)", (each.id,))
                ended.append(each)
    return ended
