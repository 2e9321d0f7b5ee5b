"""Rows that the target cannot hold: kept in the control schema, out of the target.

The entry of a key is replaced with each change of that key: a later good image or a delete removes
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from bridge.change.batch import BadRow
from bridge.errors import TableStopped
from bridge.sink.target import Target
from bridge.store.state import Q

MOST_ROWS = 1000
"""A table with more bad rows than this has a problem of mapping, not of rows: it stops."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The quarantine of one pipeline; every act is part of the caller's transaction."""

    pipeline: str
    most_rows: int = MOST_ROWS

    def replace(
        self, conn: psycopg.Connection[Any], target: Target, touched: list[bytes], bad: list[BadRow]
    ) -> None:
        """The touched keys' entries go, those of the bad rows come.

        The entry of a key that stays bad keeps its number.
        """
        still = {row.key for row in bad}
        gone = [key for key in touched if key not in still]
        conn.execute(Q["quarantine_remove"], {**self._names(target), "keys": gone})
        self.add(conn, target, bad)

    def add(self, conn: psycopg.Connection[Any], target: Target, bad: list[BadRow]) -> None:
        """Adds entries; raises TableStopped when they become too many."""
        if not bad:
            return
        target.quarantined = True
        names = self._names(target)
        with conn.cursor() as cursor:
            cursor.executemany(
                Q["quarantine_add"],
                [
                    {
                        **names,
                        "key": row.key,
                        "code": row.code,
                        "column": row.column,
                        "value": row.text,
                        "raw": row.raw,
                        "at": row.at,
                    }
                    for row in bad
                ],
            )
        found = conn.execute(Q["quarantine_count"], names).fetchone()
        if found and found[0] > self.most_rows:
            stop = TableStopped(
                f"{target.source}: more than {self.most_rows} rows cannot be represented,"
                f" the last one because of {bad[-1].code} in {bad[-1].column}",
                f"give the column a policy in its mapping file, then: dbbridge tables resync"
                f" {target.source.word}",
                "too-many-bad-rows",
            )
            stop.table = target.source
            raise stop

    def refuse(
        self,
        conn: psycopg.Connection[Any],
        target: Target,
        row: tuple[bytes, bytes],
        error: psycopg.Error,
    ) -> None:
        """Quarantines a row that PostgreSQL itself refused, under its SQLSTATE."""
        self.add(conn, target, [refused(row[0], row[1], error, "stream")])

    def clear(self, conn: psycopg.Connection[Any], target: Target) -> None:
        """Removes all entries of the table."""
        conn.execute(Q["clear_quarantine"], self._names(target))

    def _names(self, target: Target) -> dict[str, Any]:
        return {
            "pipeline": self.pipeline,
            "schema": target.source.schema,
            "table": target.source.table,
            "generation": target.generation,
        }


def refused(key: bytes, line: bytes, error: psycopg.Error, at: str) -> BadRow:
    """The entry for a row that PostgreSQL refused; its raw image is the COPY line."""
    reason = error.diag.message_primary or "refused"
    column = error.diag.column_name or error.diag.constraint_name or ""
    return BadRow(key, f"refused-{error.sqlstate}", column, reason, line, at)
