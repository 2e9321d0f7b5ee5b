"""Applies batches to PostgreSQL: rows and position in one transaction.

A batch goes through staging tables: COPY, then one DELETE and one INSERT … ON CONFLICT a table.
Where PostgreSQL refuses a value, the batch is rolled back and applied again carefully: touched keys
are deleted first (which also solves unique values that move between rows), and halving finds the
rows that are to blame; they go to quarantine, the others in.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg

from bridge.change.batch import BadRow, Batch, Image, Segment, TableOps
from bridge.errors import TableStopped
from bridge.names import TableName
from bridge.sink.cascade import Cascades
from bridge.sink.handover import hand_over, tell_violations
from bridge.sink.ops import claim, evict
from bridge.sink.quarantine import Quarantine
from bridge.sink.target import Target
from bridge.store.checkpoint import Checkpoint
from bridge.store.state import Q

STAGED_TABLES = 32
"""Staging tables kept in a session: PostgreSQL empties each of them at every commit."""
COUNT_SECONDS = 1.0
"""How often the tables' counters are written; they inform, and may lag behind a crash."""
_REFUSED = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
)
"""SQLSTATE classes 22, 23 and 54 (an index entry too long): the row is to blame, not the schema or
the server."""


class Applier:
    """The one writer of a stream's tables, over a connection of its own (autocommit)."""

    def __init__(
        self,
        conn: psycopg.Connection[Any],
        targets: Iterable[Target],
        checkpoint: Checkpoint,
        quarantine: Quarantine,
    ) -> None:
        self._conn = conn
        self._targets = {target.source: target for target in targets}
        self._checkpoint = checkpoint
        self._quarantine = quarantine
        self._cascades = Cascades(self._targets.values())
        self._staged: dict[TableName, None] = {}
        self._dirty: set[TableName] = set()
        self._open = False
        self._savepoint: tuple[dict[TableName, None], set[TableName]] | None = None
        self._counts: dict[TableName, list[int]] = {}
        self._counted = time.monotonic()
        conn.execute("SET enable_hashjoin = off; SET enable_mergejoin = off")

    def apply(self, batch: Batch) -> None:
        """Applies a batch; commits with its position if it ends at a source commit.

        Raises TableStopped for a table that cannot go on, LeaseLost, or psycopg's errors for a
        server that went away; in each case nothing of the open transaction remains.
        """
        try:
            self._begin(batch)
            self._claim(batch)
            try:
                self._run(batch.segments, careful=False)
            except _REFUSED:
                self._undo(batch)
                self._claim(batch)
                self._run(batch.segments, careful=True)
            if self._savepoint is not None:
                self._conn.execute("RELEASE SAVEPOINT batch")
            self._note(batch)
            if batch.ends:
                self._commit(batch)
        except BaseException:
            self.abandon()
            raise

    def cancel(self) -> None:
        """Ends the statement that another thread waits for; that one raises QueryCanceled."""
        self._conn.cancel_safe()

    def abandon(self) -> None:
        """Rolls back what is open, so that a stream may start again from its checkpoint."""
        self._open = False
        self._staged.clear()
        self._dirty.clear()
        if not self._conn.closed and not self._conn.broken:
            self._conn.execute("ROLLBACK")

    def tell(self) -> None:
        """Writes the counters that wait for the next batch; outside of transactions."""
        if not self._open:
            self._write_counts()

    def _begin(self, batch: Batch) -> None:
        if self._open:
            self._conn.execute("SAVEPOINT batch")
            self._savepoint = dict(self._staged), set(self._dirty)
        else:
            self._conn.execute("BEGIN")
            self._open = True
            self._savepoint = None
            self._checkpoint.begin(self._conn, batch)

    def _claim(self, batch: Batch) -> None:
        if batch.ops:
            claim(self._conn, self._quarantine.pipeline, batch.ops)

    def _undo(self, batch: Batch) -> None:
        """Back to the state before this batch, its transaction open.

        Within a transaction the staging tables then hold again what earlier batches left in them.
        """
        if self._savepoint is not None:
            self._conn.execute("ROLLBACK TO SAVEPOINT batch")
            self._staged, self._dirty = dict(self._savepoint[0]), set(self._savepoint[1])
        else:
            self._conn.execute("ROLLBACK; BEGIN")
            self._staged.clear()
            self._dirty.clear()
            self._checkpoint.begin(self._conn, batch)

    def _commit(self, batch: Batch) -> None:
        self._write_counts()
        self._checkpoint.save(self._conn, batch)
        self._conn.execute("COMMIT")
        self._open = False
        self._dirty.clear()

    def _run(self, segments: list[Segment], *, careful: bool) -> None:
        for segment in segments:
            if segment.cascades:
                with _blame(segment.cascades[0].parent, careful=careful):
                    self._cascades.apply(self._conn, segment.cascades)
            for name, ops in segment.tables.items():
                with _blame(name, careful=careful):
                    self._table(self._targets[name], ops, careful=careful)

    def _table(self, target: Target, ops: TableOps, *, careful: bool) -> None:
        if ops.truncate:
            self._conn.execute(target.truncate.encode())
            self._quarantine.clear(self._conn, target)
        if ops.counts:
            self._multiset(target, ops.counts)
        if ops.rows:
            self._keyed(target, ops.rows, careful=careful)

    def _keyed(self, target: Target, rows: Mapping[bytes, Image | None], *, careful: bool) -> None:
        lines = [image for image in rows.values() if type(image) is bytes]
        others = []
        if len(lines) < len(rows):
            others = [item for item in rows.items() if type(item[1]) is not bytes]
        bad = [image for _, image in others if isinstance(image, BadRow)]
        if target.quarantined or bad:
            self._quarantine.replace(self._conn, target, list(rows), bad)
        if careful:
            self._delete(target, list(rows))
            whole = [(key, image) for key, image in rows.items() if type(image) is bytes]
            self._insert_or_quarantine(target, whole)
            return
        if others:
            self._delete(target, [key for key, _ in others])
        if lines:
            self._fill(target, target.copy_rows, lines)
            self._conn.execute(target.upsert_rows.encode())

    def _delete(self, target: Target, keys: list[bytes]) -> None:
        self._fill(target, target.copy_keys, keys)
        self._conn.execute(target.delete_keys.encode())

    def _insert_or_quarantine(self, target: Target, rows: list[tuple[bytes, bytes]]) -> None:
        """Inserts rows whose keys are free; halves until each refused row stands alone."""
        if not rows:
            return
        self._stage(target)
        self._conn.execute("SAVEPOINT half")
        try:
            self._fill(target, target.copy_rows, [line for _, line in rows])
            self._conn.execute(target.insert_rows.encode())
        except _REFUSED as error:
            self._conn.execute("ROLLBACK TO SAVEPOINT half")
            if len(rows) == 1 and self._evict(target, rows, error):
                self._insert_or_quarantine(target, rows)
                return
            if len(rows) == 1:
                self._quarantine.refuse(self._conn, target, rows[0], error)
                return
            middle = len(rows) // 2
            self._insert_or_quarantine(target, rows[:middle])
            self._insert_or_quarantine(target, rows[middle:])
            return
        self._conn.execute("RELEASE SAVEPOINT half")

    def _evict(self, target: Target, rows: list[tuple[bytes, bytes]], error: psycopg.Error) -> bool:
        """Whether a row that a provisional write put there too early has made room."""
        if not isinstance(error, psycopg.errors.UniqueViolation):
            return False
        self._fill(target, target.copy_rows, [line for _, line in rows])
        index = error.diag.constraint_name or ""
        return evict(self._conn, self._quarantine.pipeline, target, index)

    def _multiset(self, target: Target, counts: Mapping[bytes, int]) -> None:
        fewer = [line for line, n in counts.items() for _ in range(-n)]
        more = [line for line, n in counts.items() for _ in range(n)]
        if fewer:
            self._fill(target, target.copy_rows, fewer)
            # Without an index to go by, nested loops would take the product of both sides.
            self._conn.execute("SET LOCAL enable_hashjoin = on")
            found = self._conn.execute(target.delete_equal.encode()).rowcount
            self._conn.execute("SET LOCAL enable_hashjoin = off")
            if found != len(fewer):
                raise TableStopped(
                    f"{target.source}: {len(fewer) - found} rows to delete are not in the target",
                    f"copy the table again: dbbridge tables resync {target.source.word}",
                    "row-not-found",
                )
        if more:
            self._fill(target, target.copy_rows, more)
            self._conn.execute(target.insert_rows.encode())

    def _fill(self, target: Target, copy: str, lines: Iterable[bytes]) -> None:
        self._stage(target)
        if target.source in self._dirty:
            self._conn.execute(target.clear_stages.encode())
        self._dirty.add(target.source)
        with self._conn.cursor() as cursor, cursor.copy(copy.encode()) as stream:
            stream.write(b"\n".join(lines) + b"\n")

    def _stage(self, target: Target) -> None:
        if target.source in self._staged:
            return
        if len(self._staged) >= STAGED_TABLES:
            oldest = next(iter(self._staged))
            del self._staged[oldest]
            self._conn.execute(self._targets[oldest].drop_stages.encode())
        self._conn.execute(target.create_stages.encode())
        self._staged[target.source] = None

    def _note(self, batch: Batch) -> None:
        if batch.handovers:
            hand_over(self._conn, self._quarantine.pipeline, batch.handovers)
        if batch.violations:
            tell_violations(self._conn, self._quarantine.pipeline, batch)
        for name, counts in batch.counts.items():
            mine = self._counts.setdefault(name, [0, 0, 0])
            for i in range(3):
                mine[i] += counts[i]

    def _write_counts(self) -> None:
        now = time.monotonic()
        if not self._counts or now - self._counted < COUNT_SECONDS:
            return
        self._counted = now
        names = list(self._counts)
        columns = list(zip(*self._counts.values(), strict=True))
        self._conn.execute(
            Q["count_changes"],
            {
                "pipeline": self._quarantine.pipeline,
                "schemas": [name.schema for name in names],
                "tables": [name.table for name in names],
                "generations": [self._targets[name].generation for name in names],
                "inserts": list(columns[0]),
                "updates": list(columns[1]),
                "deletes": list(columns[2]),
            },
        )
        self._counts.clear()


@contextmanager
def _blame(name: TableName, *, careful: bool) -> Iterator[None]:
    """Turns errors of the target's schema into a stop of the one table.

    In the careful pass so do refused rows that no halving could single out: a key, or a child row
    that a cascade changes.
    """
    try:
        yield
    except (psycopg.errors.ProgrammingError, psycopg.errors.NotSupportedError) as error:
        raise _stop(name, error) from error
    except _REFUSED as error:
        if careful:
            raise _stop(name, error) from error
        raise
    except TableStopped as error:
        error.table = error.table or name
        raise


def _stop(name: TableName, error: psycopg.Error) -> TableStopped:
    stop = TableStopped(
        f"{name}: PostgreSQL refused the change: {error.diag.message_primary or error}",
        f"mend the target table, then: dbbridge tables resume {name.word}",
        f"refused-{error.sqlstate}",
    )
    stop.table = name
    return stop
