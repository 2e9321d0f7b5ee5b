"""Rows that the source cannot hold, kept in the target until a later change makes up for them.

They are written down before the source commits the transaction that would have held them, and
marked before it commits the one that makes up for them. Either note carries the position of its
transaction: whoever begins anew at the source's position, which a failover of the source may have
put back, drops what it has not committed. They go once the target sends neither again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from bridge.names import TableName, literal_postgres, quote_postgres
from bridge.reverse.pgoutput import UNCHANGED, Unchanged, Value
from bridge.reverse.writer import Key, Row, Writer
from bridge.store.sql import queries
from bridge.types.base import NULL
from bridge.types.copytext import escape

Q = queries("bridge.reverse", "queries.sql")
Place = tuple[TableName, bytes]
"""A table of the source, and COPY text of a key (without a key: of the row, and a number)."""
DUPLICATE = "duplicate-key"


@dataclass(frozen=True, slots=True)
class Entry:
    """Why a row cannot be held, since which change, and what it is (names of the target).

    `gone`: the source has no row under this key.
    """

    lsn: int
    code: str
    column: str
    value: str
    image: dict[str, str | None]
    gone: bool = False

    def row(self, writer: Writer) -> Row:
        """The image in the order of the plan's columns; what is missing did not change."""
        return tuple(self._value(column.target_name) for column in writer.plan.columns)

    def _value(self, name: str) -> Value:
        if name not in self.image:
            return UNCHANGED
        text = self.image[name]
        return None if text is None else text.encode()


def image_of(writer: Writer, row: Row) -> dict[str, str | None]:
    """A row by the names of its columns, as far as its values are known."""
    return {
        column.target_name: None if value is None else value.decode()
        for column, value in zip(writer.plan.columns, row, strict=True)
        if not isinstance(value, Unchanged)
    }


def key_text(key: Key | Row) -> bytes:
    """COPY text of a key, or of a whole row."""
    return b"\t".join(escape(value) if isinstance(value, bytes) else NULL for value in key)


class Ledger:
    """The entries of a group; changes are kept aside until `committed`."""

    def __init__(
        self, pipeline: str, group: str, open_target: Callable[[], psycopg.Connection[Any]]
    ) -> None:
        self._names = {"pipeline": pipeline, "group": group}
        self._open = open_target
        self._conn: psycopg.Connection[Any] | None = None
        self._entries: dict[Place, Entry] = {}
        self._aside: dict[Place, tuple[int, Entry | None]] = {}
        self._first = self._last = 0
        """Positions of commits that made up for entries which were not settled yet (0: none)."""

    def load(self, position: int) -> None:
        """Reads what stands at a position of the source; raises psycopg's errors."""
        conn = self._connection()
        names = {**self._names, "lsn": position}
        with conn.transaction():
            conn.execute(Q["forget_uncommitted"], names)
            conn.execute(Q["unmark_uncommitted"], names)
            rows = conn.execute(Q["unrepresentable"], self._names).fetchall()
        self._first = self._last = position
        self._aside.clear()
        self._entries = {
            (TableName(schema, table), bytes(key)): Entry(
                int(lsn), code, column, value, json.loads(image), gone
            )
            for schema, table, key, lsn, code, column, value, image, gone in rows
        }

    def __len__(self) -> int:
        """Entries; what is aside may be counted twice."""
        return len(self._entries) + len(self._aside)

    def of_table(self, table: TableName) -> dict[bytes, Entry]:
        """A table's entries by key, with what is aside."""
        found = {key: entry for (name, key), entry in self._entries.items() if name == table}
        for (name, key), (_, entry) in self._aside.items():
            if name == table and entry is not None:
                found[key] = entry
            elif name == table:
                found.pop(key, None)
        return found

    def get(self, table: TableName, key: bytes) -> Entry | None:
        """The entry of a key."""
        aside = self._aside.get((table, key))
        return aside[1] if aside else self._entries.get((table, key))

    def concerns(self, table: TableName, keys: set[bytes] | None) -> bool:
        """Whether one of the keys has an entry, or some row waits for a value to become free.

        Without keys: whether any of the table's has one.
        """
        return any(
            keys is None or key in keys or entry.code == DUPLICATE
            for key, entry in self.of_table(table).items()
        )

    def add(self, table: TableName, key: bytes, entry: Entry) -> None:
        """A row that cannot be held."""
        self._aside[table, key] = (entry.lsn, entry)

    def heal(self, table: TableName, key: bytes, lsn: int) -> bool:
        """The row is good, or gone; whether there was an entry."""
        if self.get(table, key) is None:
            return False
        self._aside[table, key] = (lsn, None)
        return True

    def write(self) -> None:
        """Before the source commits; raises psycopg's errors."""
        if not self._aside:
            return
        conn = self._connection()
        with conn.transaction():
            for (table, key), (lsn, entry) in self._aside.items():
                names = {**self._names, "schema": table.schema, "table": table.table, "key": key}
                before = lsn if entry is not None else lsn + 1
                conn.execute(Q["mark_superseded"], {**names, "lsn": lsn, "before": before})
                if entry is not None:
                    conn.execute(Q["add_unrepresentable"], {**names, **_columns(entry)})

    def committed(self, position: int) -> None:
        """After the source has committed."""
        if not self._aside:
            return
        for place, (_, entry) in self._aside.items():
            if entry is None:
                self._entries.pop(place, None)
            else:
                self._entries[place] = entry
        self._aside.clear()
        self._first, self._last = self._first or position, position

    def settle(self, confirmed: int) -> None:
        """Removes what was made up for before a position that the target was told.

        Until then a failover of the source may undo that, and the change comes again, perhaps
        without the large values that only the entry has. Raises psycopg's errors.
        """
        if not self._first or confirmed < self._first:
            return
        self._connection().execute(Q["settle"], {**self._names, "lsn": confirmed})
        self._first = self._last if self._last > confirmed else 0

    def close(self) -> None:
        """Ends the session, if there is one."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def now(self, writer: Writer, key: Key) -> Row | None:
        """A row as the target has it now, for values that no change brought.

        It may be newer than the change, and then what made it so is still to come.
        """
        plan = writer.plan
        names = ", ".join(quote_postgres(column.target_name) for column in plan.columns)
        values = [part.decode() for part in key]
        found = " AND ".join(
            f"{quote_postgres(column.target_name)} ="
            f" {literal_postgres(value)}::{column.target_type}"
            for column, value in zip(plan.key_columns, values, strict=True)
        )
        rows = f"SELECT {names} FROM {plan.target.postgres} WHERE {found}"
        copy = f"COPY ({rows}) TO STDOUT"
        with self._connection().cursor() as cursor, cursor.copy(copy.encode()) as lines:
            data = b"".join(lines)
        if not data:
            return None
        return fields(data[:-1])

    def _connection(self) -> psycopg.Connection[Any]:
        if self._conn is None or self._conn.closed:
            self._conn = self._open()
        return self._conn


def unheld(
    conn: psycopg.Connection[Any], pipeline: str, group: str, position: int
) -> tuple[int, list[str]]:
    """Rows that a source which is at a position does not hold: how many, and some of them."""
    names = {"pipeline": pipeline, "group": group, "lsn": position}
    rows = conn.execute(Q["unheld"], names).fetchall()
    named = [
        f"{schema}.{table} {bytes(key).decode()} ({': '.join(filter(None, (column, code)))})"
        for schema, table, key, column, code, _ in rows
    ]
    return (rows[0][-1] if rows else 0), named


def _columns(entry: Entry) -> dict[str, Any]:
    return {
        "lsn": entry.lsn,
        "code": entry.code,
        "column": entry.column,
        "value": entry.value,
        "image": json.dumps(entry.image, ensure_ascii=False),
        "gone": entry.gone,
    }


def fields(line: bytes) -> tuple[bytes | None, ...]:
    """The values of a line of COPY text."""
    return tuple(_field(text) for text in line.split(b"\t"))


_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def _field(field: bytes) -> bytes | None:
    if field == NULL:
        return None
    return _ESCAPED.sub(lambda match: _LETTERS.get(match[1], match[1]), field)
