"""Blocks of COPY lines into a target table, with the rows that PostgreSQL refuses set aside.

The caller's transaction holds the chunk's rows, its quarantine and its done mark. It may therefore
commit with synchronous_commit = off: a crash of the server loses all three together or none, and a
chunk without its mark is copied again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import chain
from typing import Any

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from bridge.change.batch import BadRow
from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, quote_postgres
from bridge.sink.quarantine import MOST_ROWS, refused

UNIT = 16 << 20
"""Bytes of one COPY command; kept until PostgreSQL has taken them, to find what it refuses."""

_REFUSED = (psycopg.DataError, psycopg.IntegrityError)
"""SQLSTATE classes 22 and 23: a row is to blame."""
_NOT_THE_ROW = (
    errors.UniqueViolation,
    errors.ForeignKeyViolation,
    errors.ExclusionViolation,
    errors.BadCopyFileFormat,
)
"""Of these classes, what lies between rows, or in the columns."""


def copy_blocks(
    conn: psycopg.Connection[Any],
    plan: TablePlan,
    target: TableName,
    blocks: Iterable[bytes],
    bad: list[BadRow],
    most_bad: int = MOST_ROWS,
) -> tuple[int, int]:
    """Copies blocks of COPY lines over the plan's columns: (rows, bytes) that went in.

    A block that ends with a newline must end a line. Rows that PostgreSQL refuses (a CHECK, a value
    out of range) are added to `bad`, all others go in; of a table without a key it must take every
    row. Must be called inside a transaction, and closes `blocks`. Raises TableStopped
    (``duplicate-key``, ``refused-SQLSTATE``, ``rows-swallowed``, ``too-many-bad-rows``), psycopg's
    errors, and what `blocks` raises; the transaction can then only be rolled back.
    """
    if conn.info.transaction_status != TransactionStatus.INTRANS:
        raise ValueError("copy_blocks belongs into the transaction of the done mark")
    copier = _Copier(conn, plan, target, bad, most_bad)
    stream = _generator(blocks)
    with closing(stream):
        for block in stream:
            copier.take(_Unit(block, stream))
    return copier.rows, copier.bytes


class _Unit:
    """About `UNIT` bytes of a stream, which end with a line; remembers what was read."""

    def __init__(self, first: bytes, stream: Iterator[bytes]) -> None:
        self._blocks: list[bytes] = []
        self._reading = self._read(chain((first,), stream))

    def __iter__(self) -> Iterator[bytes]:
        return self._reading

    def _read(self, stream: Iterable[bytes]) -> Iterator[bytes]:
        size = 0
        for block in stream:
            self._blocks.append(block)
            size += len(block)
            yield block
            if size >= UNIT and block.endswith(b"\n"):
                return

    def lines(self) -> list[bytes]:
        """All its lines without their newlines; the unit forgets them."""
        for _ in self._reading:
            pass
        lines = b"".join(self._blocks).split(b"\n")[:-1]
        self._blocks.clear()
        return lines


class _Copier:
    """Copies units, each under a savepoint, and counts what went in."""

    def __init__(
        self,
        conn: psycopg.Connection[Any],
        plan: TablePlan,
        target: TableName,
        bad: list[BadRow],
        most_bad: int,
    ) -> None:
        self.rows = 0
        self.bytes = 0
        self._conn = conn
        self._plan = plan
        self._target = target
        self._bad = bad
        self._most_bad = most_bad
        columns = ", ".join(quote_postgres(column.target_name) for column in plan.columns)
        self._statement = (
            f"COPY {target.postgres} ({columns}) FROM STDIN WITH (ENCODING 'UTF8')"
        ).encode()

    def take(self, unit: _Unit) -> None:
        """Copies a unit; if PostgreSQL refuses it, all but the rows that are to blame."""
        try:
            self._copy(unit)
        except _REFUSED as error:
            self._explain(error)
            self._halve(unit.lines(), error)

    def _copy(self, blocks: Iterable[bytes]) -> None:
        """One COPY, whole or (with an error) not at all."""
        lines = size = 0
        with self._conn.transaction(), self._conn.cursor() as cursor:
            with cursor.copy(self._statement) as copy:
                for block in blocks:
                    copy.write(block)
                    lines += block.count(b"\n")
                    size += len(block)
            if cursor.rowcount != lines:
                raise self._stopped(
                    f"{lines} rows were given to {self._target}, and {cursor.rowcount} went in",
                    "a trigger or rule of the target table takes rows away: drop or disable it",
                    "rows-swallowed",
                )
        self.rows += lines
        self.bytes += size

    def _halve(self, lines: list[bytes], error: psycopg.Error) -> None:
        """Lines that were refused together: halves until each refused row stands alone."""
        if len(lines) == 1:
            self._set_aside(lines[0], error)
            return
        middle = len(lines) // 2
        for half in (lines[:middle], lines[middle:]):
            try:
                self._copy([b"\n".join([*half, b""])])
            except _REFUSED as again:
                self._explain(again)
                self._halve(half, again)

    def _set_aside(self, line: bytes, error: psycopg.Error) -> None:
        key = b"\t".join(line.split(b"\t", self._plan.key)[: self._plan.key])
        self._bad.append(refused(key, line, error, "copy"))
        if len(self._bad) > self._most_bad:
            raise self._stopped(
                f"more than {self._most_bad} rows of a chunk cannot be represented, the last"
                f" one because of: {error.diag.message_primary}",
                "give the column another type or a policy in the mapping file, then:"
                f" dbbridge tables resync {self._plan.source.word}",
                "too-many-bad-rows",
            ) from error

    def _explain(self, error: psycopg.Error) -> None:
        """Raises TableStopped if halving would blame rows that are not to blame."""
        reason = error.diag.message_primary or str(error)
        if not self._plan.key:
            raise self._stopped(
                f"PostgreSQL refuses a row: {reason}, and a table without a key has no quarantine",
                "give the column another type or a policy, or mend the row in the source",
                f"refused-{error.sqlstate}",
            ) from error
        if not isinstance(error, _NOT_THE_ROW):
            return
        detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
        if isinstance(error, errors.UniqueViolation):
            raise self._stopped(
                f"{self._target} has two rows with one key: {reason}{detail}",
                "if the target held rows before the copy, empty it; if rows that differ in the"
                " source become equal (by a policy, or in citext), map the column otherwise;"
                " unique indexes other than the key must wait until the copy is over",
                "duplicate-key",
            ) from error
        raise self._stopped(
            f"{self._target} refuses the copy: {reason}{detail}",
            "foreign keys and exclusion constraints come after the copy, and the columns must be"
            " those of the mapping",
            f"refused-{error.sqlstate}",
        ) from error

    def _stopped(self, message: str, hint: str, code: str) -> TableStopped:
        stop = TableStopped(f"{self._plan.source}: {message}", hint, code)
        stop.table = self._plan.source
        return stop


def _generator(blocks: Iterable[bytes]) -> Generator[bytes, None, None]:
    """The blocks as a generator, whose closing closes theirs."""
    yield from blocks
