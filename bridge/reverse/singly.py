"""Changes one by one, in their order: what the source refuses is known by its row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pymysql
from pymysql.constants import ER

from bridge.reverse.batch import Change
from bridge.reverse.ledger import DUPLICATE, Entry, Ledger, image_of, key_text
from bridge.reverse.pgoutput import UNCHANGED
from bridge.reverse.session import LENIENT, SESSION
from bridge.reverse.values import Unheld
from bridge.reverse.writer import Key, ReverseStopped, Row, Writer, merged

COLLISIONS = frozenset({ER.DUP_ENTRY, ER.BAD_NULL_ERROR, 1761, 1762, 1869, 1586})
"""Another row has a unique value, or (by the guard of the upsert) was met in the place of this."""
NEW_ROWS = COLLISIONS | {
    ER.DATA_TOO_LONG, ER.TRUNCATED_WRONG_VALUE, ER.TRUNCATED_WRONG_VALUE_FOR_FIELD,
    ER.WARN_DATA_OUT_OF_RANGE, ER.WARN_DATA_TRUNCATED, 1292, 1300, 1364, 1367, 1411, 1690,
    3140, 3141, 3143, 3150, 3151, 3156, 3157, 3819, 3903, 4025, 4078, 118, 139, 1118, 1526, 1748,
    1713,
}  # fmt: skip
"""Errors about a row's values: too long, out of range, no text, no JSON or one that is too deep,
refused by a CHECK, too large for a page, without a partition."""
_OLD_CHARSET = 1287
_SPOT = b"SAVEPOINT bridge_row"
_PACKET = 1 << 12
"""Bytes of a packet beside a statement's text, with room."""


class Singly:
    """Applies changes to the session's open transaction, and keeps the ledger."""

    def __init__(self, conn: pymysql.Connection[Any], ledger: Ledger) -> None:
        self._conn = conn
        self._ledger = ledger
        self.most = self._largest_packet() - _PACKET
        """Bytes of the longest statement; the server ends a session that sends a longer one."""

    def apply(self, changes: Sequence[Change]) -> None:
        """Raises ReverseStopped where the source does not have what it must."""
        for change in changes:
            if change.empties:
                self._empty(change)
            elif not change.writer.keyed:
                self._keyless(change)
            elif change.new is None:
                self._delete(change.writer, change.old or (), change.lsn)
            else:
                self._put(change, change.new)
        for writer in {change.writer: None for change in changes if change.writer.keyed}:
            self._try_again(writer, changes[-1].lsn)

    def warnings(self) -> list[tuple[Any, ...]]:
        """What the server warned of at the last statement, notes and old character sets apart."""
        with self._conn.cursor() as cursor:
            cursor.execute("SHOW WARNINGS")
            rows = cursor.fetchall()
        return [row for row in rows if row[0] != "Note" and row[1] != _OLD_CHARSET]

    # -- changes -----------------------------------------------------------------------------

    def _empty(self, change: Change) -> None:
        table = change.writer.plan.source
        self._must(change.writer.delete_all())
        for key in self._ledger.of_table(table):
            self._ledger.heal(table, key, change.lsn)

    def _delete(self, writer: Writer, key: Key, lsn: int) -> None:
        self._ledger.heal(writer.plan.source, key_text(key), lsn)
        try:
            statements = list(writer.deletes([key]))
        except Unheld:
            return  # such a key never came to the source
        for statement in statements:
            self._must(statement)

    def _put(self, change: Change, row: Row) -> None:
        writer, lsn = change.writer, change.lsn
        table, key = writer.plan.source, writer.key(row)
        old = change.old if change.old is not None and change.old != key else None
        entry = self._ledger.get(table, key_text(old or key))
        if entry is not None:
            row = merged(row, entry.row(writer))
        gone = entry is not None and entry.gone
        if gone and UNCHANGED in row:
            row = merged(row, self._ledger.now(writer, key) or row)
        if old is not None and UNCHANGED not in row and writer.alone:
            self._delete(writer, old, lsn)
            old, gone = None, True
        refused = self._written(writer, old or key, row, exists=old is not None, gone=gone)
        if old is not None or change.old is not None:
            self._leave(writer, change.old, key, lsn)
        if refused is None:
            self._ledger.heal(table, key_text(key), lsn)
            return
        if old is not None:
            row = merged(row, self._ledger.now(writer, key) or row)
            self._delete(writer, old, lsn)
            gone = True
        code, column, value = refused
        found = Entry(lsn, code, column, value, image_of(writer, row), gone)
        self._ledger.add(table, key_text(key), found)

    def _leave(self, writer: Writer, old: Key | None, key: Key, lsn: int) -> None:
        if old is not None and old != key:
            self._ledger.heal(writer.plan.source, key_text(old), lsn)

    def _written(
        self, writer: Writer, key: Key, row: Row, *, exists: bool, gone: bool
    ) -> tuple[str, str, str] | None:
        """Why the row could not be written under the key; None: it was."""
        partial = UNCHANGED in row
        if partial and gone:
            return "incomplete", "", "its large values are not known"
        try:
            if partial or exists:
                statement, rows = writer.update(key, row), 1
            else:
                (statement,) = writer.inserts([writer.rendered(row)])
                rows = None
        except Unheld as error:
            return error.code, error.column, error.text
        refused = self._try(statement, writer.zero_labels(row), rows)
        if refused == _MISSING:
            raise self._missing(writer, key)
        return refused

    def _try_again(self, writer: Writer, lsn: int) -> None:
        """Rows that waited for a unique value to become free."""
        table = writer.plan.source
        waiting = True
        while waiting:
            waiting = False
            for key, entry in self._ledger.of_table(table).items():
                if entry.code != DUPLICATE:
                    continue
                row = entry.row(writer)
                refused = self._written(writer, writer.key(row), row, exists=False, gone=entry.gone)
                if refused is None:
                    self._ledger.heal(table, key, lsn)
                    waiting = True

    def _keyless(self, change: Change) -> None:
        writer, table = change.writer, change.writer.plan.source
        if change.new is not None:
            refused = self._written(writer, (), change.new, exists=False, gone=False)
            if refused is not None:
                code, column, value = refused
                entry = Entry(change.lsn, code, column, value, image_of(writer, change.new))
                self._ledger.add(table, self._free(writer, change.new), entry)
        if change.gone is None:
            return
        try:
            found: Any = self._try(writer.delete_one(change.gone), 0, 1)
        except Unheld:
            found = _MISSING
        if found is not None and not self._healed(writer, change.gone, change.lsn):
            raise self._missing(writer, ())

    def _free(self, writer: Writer, row: Row) -> bytes:
        number, text = 0, key_text(row)
        while self._ledger.get(writer.plan.source, b"%b\t#%d" % (text, number)):
            number += 1
        return b"%b\t#%d" % (text, number)

    def _healed(self, writer: Writer, row: Row, lsn: int) -> bool:
        text = key_text(row) + b"\t#"
        for key in self._ledger.of_table(writer.plan.source):
            if key.rpartition(b"#")[0] + b"#" == text:
                return self._ledger.heal(writer.plan.source, key, lsn)
        return False

    # -- statements --------------------------------------------------------------------------

    def _must(self, statement: bytes) -> None:
        with self._conn.cursor() as cursor:
            cursor.execute(statement)

    def _try(self, statement: bytes, zeros: int, rows: int | None) -> tuple[str, str, str] | None:
        """Runs it; None if it did what it must, else why it was undone.

        The end of a session, or of its transaction, is raised.
        """
        if len(statement) > self.most:
            return "over-max-allowed-packet", "", f"{len(statement)} bytes"
        with self._conn.cursor() as cursor:
            cursor.execute(_SPOT)
            try:
                found = cursor.execute(statement)
                told = self.warnings() if cursor.warning_count else []
            except pymysql.err.MySQLError as error:
                code = int(error.args[0]) if error.args else 0
                if code not in NEW_ROWS and not isinstance(error, pymysql.err.DataError):
                    raise
                cursor.execute(b"ROLLBACK TO " + _SPOT)
                if zeros and self._leniently(statement, zeros):
                    return None
                return DUPLICATE if code in COLLISIONS else f"mysql-{code}", "", str(error.args[1])
            if told or (rows is not None and found != rows):
                cursor.execute(b"ROLLBACK TO " + _SPOT)
                return (f"mysql-{told[0][1]}", "", str(told[0][2])) if told else _MISSING
        return None

    def _leniently(self, statement: bytes, zeros: int) -> bool:
        """Once more for an ENUM's empty text: nothing else may be bent."""
        with self._conn.cursor() as cursor:
            cursor.execute(LENIENT)
            try:
                cursor.execute(statement)
                told = self.warnings()
            except (pymysql.err.DataError, pymysql.err.IntegrityError):
                told = []
            finally:
                cursor.execute(SESSION)
            if len(told) == zeros and all(row[1] == ER.WARN_DATA_TRUNCATED for row in told):
                return True
            cursor.execute(b"ROLLBACK TO " + _SPOT)
        return False

    def _missing(self, writer: Writer, key: Key) -> ReverseStopped:
        named = f"the row {b', '.join(key).decode(errors='replace')}" if key else "a row"
        return ReverseStopped(
            f"{writer.label}: {named} that the target changed is not in the source",
            "somebody else wrote to the source: compare with dbbridge verify, and copy its tables"
            " anew before another switch",
        )

    def _largest_packet(self) -> int:
        with self._conn.cursor() as cursor:
            cursor.execute("SELECT @@max_allowed_packet")
            row = cursor.fetchone()
        self._conn.rollback()
        return int(row[0]) if row else 1 << 20


_MISSING = ("missing", "", "")
