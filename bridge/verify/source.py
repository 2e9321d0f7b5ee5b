"""Reading one table in the source: sums over ranges, hashes by key, rows of given keys.

A reader holds one session and serves one thread. Each statement sees one consistent state of its
server; nothing is locked.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import pymysql
from pymysql.constants import ER

from bridge.capture.binlog.positions import lower_bound, upper_bound
from bridge.capture.chunks import key_index
from bridge.change.position import Position
from bridge.verify.digest import SEPARATOR, source_text
from bridge.verify.recheck import Key, Reading, Value
from bridge.verify.subject import Subject
from bridge.verify.values import (
    KEYS_A_QUERY,
    LONGEST_SECONDS,
    LOOSE_KEYS_A_QUERY,
    Glance,
    Totals,
    joined,
    key_of_row,
    parts,
    value_of_row,
)

_LIMIT = (
    "SET SESSION sql_mode = '', group_concat_max_len = 1073741824"
    "/*!50708 , max_execution_time = {0:.0f} *//*M!100101 , max_statement_time = {1:.3f} */"
)
"""In milliseconds and seconds (MySQL 5.7.8, MariaDB 10.1.1)."""


def source_session(
    conn: pymysql.Connection[Any], seconds: float = LONGEST_SECONDS
) -> pymysql.Connection[Any]:
    """The session, giving every value as the text that the server sent (bytes if it is binary).

    Its statements may take so many `seconds`.
    """
    conn.decoders = {}
    with conn.cursor() as cursor:
        cursor.execute(_LIMIT.format(seconds * 1000, seconds))
    return conn


SourceSession: TypeAlias = "pymysql.Connection[Any] | Callable[[], pymysql.Connection[Any]]"
"""A session, or what gives it when it is needed (always the same one)."""


class SourceReader:
    """MySQL's or MariaDB's side, over a session of `source_session`."""

    def __init__(self, session: SourceSession, subject: Subject) -> None:
        self._session = session
        self.subject = subject

    @property
    def _conn(self) -> pymysql.Connection[Any]:
        return self._session() if callable(self._session) else self._session

    def cancel(self) -> None:
        """Ends the session, and so the wait of the thread that has a statement under way."""
        sock = vars(self._conn)["_sock"]
        if sock is not None:  # else the connection broke
            with suppress(OSError):  # ended already
                sock.shutdown(socket.SHUT_RDWR)

    def about(self, subject: Subject) -> SourceReader:
        """The same session for another subject."""
        return SourceReader(self._session, subject)

    def totals(self, conditions: Sequence[str], bucket: str = "0") -> Totals:
        """Rows and hash sums by bucket."""
        sums = [f"SUM({each})" for each in self.subject.hash.sources]
        outputs = [bucket, "COUNT(*)", *sums]
        rows = self.query(self.subject.source(outputs, conditions, "GROUP BY 1"))
        return {int(place): (int(count), joined(total)) for place, count, *total in rows}

    def glance(self, conditions: Sequence[str]) -> Glance:
        """All rows at once, read by the key's index, which is their order.

        What is longer than max_allowed_packet is cut off or NULL, and then agrees with nothing.
        """
        subject = self.subject
        text = f"GROUP_CONCAT({subject.hash.texts[0]} SEPARATOR 0x{SEPARATOR.encode().hex()})"
        ((rows, found),) = self.query(
            subject.source(
                ["COUNT(*)", f"SHA2({text},256)"], conditions, hint=key_index(subject.plan).hint
            )
        )
        return Glance(int(rows), found)

    def hashes(self, conditions: Sequence[str]) -> dict[Key, int]:
        """The hash of every row."""
        outputs, key = (
            [*self.subject.keys.source, *self.subject.hash.sources],
            self.subject.plan.key,
        )
        rows = self.query(self.subject.source(outputs, conditions))
        return {key_of_row(row[:key]): joined(row[key:]) for row in rows}

    def next_bound(
        self, lower: Key | None, rows: int, conditions: Sequence[str] = ()
    ) -> Key | None:
        """The key of the row that is `rows` rows after `lower`; None if there are fewer."""
        keys = self.subject.keys
        where = [*keys.source_range(lower, None), *conditions]
        condition = f" WHERE {' AND '.join(where)}" if where else ""
        found = self.query(
            f"SELECT {','.join(keys.source)} FROM {self.subject.plan.source.mysql}"
            f"{key_index(self.subject.plan).hint}{condition}"
            f" ORDER BY {','.join(keys.source_order())} LIMIT 1 OFFSET {rows - 1}"
        )
        return key_of_row(found[0]) if found else None

    def extent(self, column: str) -> tuple[int, int] | None:
        """Least and greatest value of an integer column that begins an index."""
        (low, high), *_ = self.query(
            f"SELECT MIN({column}),MAX({column}) FROM {self.subject.plan.source.mysql}"
        )
        return None if low is None else (int(low), int(high))

    def read(self, keys: Sequence[Key]) -> Reading:
        """See `recheck.Source`. A table that is emptied meanwhile is read again."""
        while True:
            low = self._snapshot()
            try:
                rows = self.sample(keys)
            except pymysql.err.OperationalError as error:
                if error.args[0] != ER.TABLE_DEF_CHANGED:
                    raise
                continue
            finally:
                self._conn.rollback()
            return Reading(rows, low, self.upper_bound())

    def lower_bound(self, *, by_gtid: bool) -> Position | None:
        """Everything up to there is visible to reads that begin now; None if no bound is known.

        On MariaDB it has no GTIDs unless they are asked for.
        """
        if by_gtid:
            return lower_bound(self._conn)
        try:
            return self._snapshot()
        finally:
            self._conn.rollback()

    def _snapshot(self) -> Position | None:
        """Begins a transaction that reads one state; everything up to the position is in it.

        MariaDB's coordinates do: to find their GTID, the server would read its log from the start.
        """
        if self.subject.plan.table.flavor != "mariadb":
            return lower_bound(self._conn, with_snapshot=True)
        self.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.query("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        said = {str(n).lower(): v for n, v in self.query("SHOW STATUS LIKE 'binlog_snapshot_%'")}
        file = str(said.get("binlog_snapshot_file", ""))
        return Position.at(file, int(said["binlog_snapshot_position"])) if file else None

    def sample(self, keys: Sequence[Key]) -> Mapping[Key, Value]:
        """See `recheck.Source`."""
        subject, found = self.subject, dict[Key, Value]()
        texts = [source_text(column) for column in subject.loose]
        outputs = [*subject.keys.source, *subject.strict_hash.sources]
        outputs += [*subject.hash.sources, *texts] if texts else []
        for some in parts(keys, LOOSE_KEYS_A_QUERY if texts else KEYS_A_QUERY):
            condition = subject.keys.source_condition(some)
            if condition:
                wanted = set(some)
                for row in self.query(subject.source(outputs, [condition])):
                    key = key_of_row(row[: subject.plan.key])
                    if key in wanted:
                        found[key] = value_of_row(row[subject.plan.key :], subject.loose)
        return found

    def existing(self, keys: Sequence[Key]) -> set[Key]:
        """Those of the keys that have a row."""
        found: set[Key] = set()
        for some in parts(keys, KEYS_A_QUERY):
            condition = self.subject.keys.source_condition(some)
            if condition:
                rows = self.query(self.subject.source(self.subject.keys.source, [condition]))
                found.update(map(key_of_row, rows))
        return found

    def keys_where(self, condition: str) -> list[Key]:
        """The keys of the rows for which the condition holds; of keyless tables, the hashes."""
        subject = self.subject
        outputs = subject.keys.source if subject.keys.ordered else [subject.hash.source]
        return [key_of_row(row) for row in self.query(subject.source(outputs, [condition]))]

    def upper_bound(self) -> Position:
        """See `recheck.Source`."""
        return upper_bound(self._conn)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows, their values as the server's text."""
        with self._conn.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())
