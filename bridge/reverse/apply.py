"""Batches into the source, each in one transaction whose first row is the position.

The quick way is a few statements for the last images of a batch. Where these fail (a unique value
that wanders between rows, a row that cannot be held), the transaction goes back to its beginning
and the batch is applied change by change, which meets every state that the target was in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pymysql
from pymysql.constants import ER

from bridge.databases.mysql import source_error
from bridge.errors import BridgeError, ServerUnreachable
from bridge.reverse.batch import Batch, Change, Statement
from bridge.reverse.ledger import Ledger, key_text
from bridge.reverse.position import Position
from bridge.reverse.singly import NEW_ROWS, Singly
from bridge.reverse.writer import ReverseStopped

AGAIN = frozenset({ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT, 1020, 1180, 1290, 1836, 3100})
"""The same may succeed later: deadlock, lock timeout, a snapshot of MariaDB's that is too old, an
error at commit, a server that is read-only for now."""
_SPOT = b"SAVEPOINT bridge_batch"


def meaning(error: pymysql.Error) -> BridgeError:
    """The source's error; transient ones are tried again."""
    code = error.args[0] if error.args else 0
    if code in AGAIN:
        return ServerUnreachable(f"the source: {error.args[-1]} ({code})", "it is tried again")
    return source_error(error)


class Applier:
    """Applies batches one after the other; the session is its own, without autocommit."""

    def __init__(self, conn: pymysql.Connection[Any], position: Position, ledger: Ledger) -> None:
        self._conn = conn
        self._position = position
        self._ledger = ledger
        self._singly = Singly(conn, ledger)
        self._told: int | None = None
        """The position that the open transaction has set."""
        self.slow = 0
        """Batches that were applied change by change."""

    def apply(self, batch: Batch) -> None:
        """Commits the batch with the position, unless it is a part that is not the last.

        Raises ReverseStopped, ReverseTaken, and the drivers' errors; nothing is committed then.
        """
        if self._told is None or self._told != batch.position:
            # Of a transaction in parts, the end is only known with the last one.
            self._position.move(self._conn, batch.position)
            self._position.lsn = self._told = batch.position
        if batch.changes:
            self._changes(batch)
        if not batch.whole:
            return
        self._ledger.write()
        self._conn.commit()
        self._told = None
        self._ledger.committed(batch.position)

    def _changes(self, batch: Batch) -> None:
        if self._at_once(batch):
            with self._conn.cursor() as cursor:
                cursor.execute(_SPOT)
            try:
                for statement in batch.statements or ():
                    self._run(statement)
            except (_Unexpected, pymysql.err.MySQLError) as error:
                if isinstance(error, pymysql.err.MySQLError) and _broken(error):
                    raise
                with self._conn.cursor() as cursor:
                    cursor.execute(b"ROLLBACK TO " + _SPOT)
            else:
                return
        self.slow += 1
        self._singly.apply(batch.changes)

    def _at_once(self, batch: Batch) -> bool:
        """Whether the quick way may be tried."""
        if batch.statements is None or self._concerned(batch.changes):
            return False
        return all(len(statement.sql) <= self._singly.most for statement in batch.statements)

    def _run(self, statement: Statement) -> None:
        with self._conn.cursor() as cursor:
            found = cursor.execute(statement.sql)
            if statement.rows is not None and found != statement.rows:
                raise _Unexpected
            if cursor.warning_count and self._singly.warnings():
                raise _Unexpected

    def _concerned(self, changes: Sequence[Change]) -> bool:
        """Whether a row of the batch has an entry in the ledger."""
        if not len(self._ledger):
            return False
        for writer in {change.writer for change in changes}:
            mine = [change for change in changes if change.writer is writer]
            keys: set[bytes] | None = set()
            if any(change.empties for change in mine) or not writer.keyed:
                keys = None
            else:
                for change in mine:
                    keys |= {key_text(key) for key in _keys(change)}  # type: ignore[operator]
            if self._ledger.concerns(writer.plan.source, keys):
                return True
        return False


def _keys(change: Change) -> list[Any]:
    found = [] if change.old is None else [change.old]
    if change.new is not None:
        found.append(change.writer.key(change.new))
    return found


def _broken(error: pymysql.err.MySQLError) -> bool:
    """Whether the transaction is gone, rather than one statement of it refused."""
    code = error.args[0] if error.args else 0
    refused = isinstance(error, (pymysql.err.DataError, pymysql.err.IntegrityError))
    return code in AGAIN or not (refused or code in NEW_ROWS)


class _Unexpected(Exception):
    """Other rows were found than there must be, or the server warned."""


__all__ = ["Applier", "ReverseStopped", "meaning"]
