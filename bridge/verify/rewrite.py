"""Rows of the source written over those of the target, one batch at a time, beside the stream.

Who else writes the table is the stream (`sink.apply`), by deletes and upserts of whole rows, each
transaction together with its position. A batch is one transaction of the target:

1. The target's table is locked against writers (SHARE ROW EXCLUSIVE; readers go on). So the stream
   has nothing of this table under way, and will have nothing until the batch ends. No lock of ours
   is held while this one is waited for, and afterwards none of the stream's is needed, so that
   neither waits for the other in a circle; but for entries of the quarantine, which the stream
   writes before it comes to the table: such a circle ends with our short lock_timeout.
2. The position A is read that is applied now. It may grow meanwhile through other tables' changes;
   the rows of this table stay what A made of them.
3. The source is waited for until its reads surely see everything up to A (a *lower* bound covers
   A), and the rows are read: at S, somewhere at or past A. A commit stands in the log, and perhaps
   in the target, a moment before the source shows it: a row read without this wait could lack a
   change that the stream has already applied and never brings again.
4. They are written: what the source has replaces what the target has, what it has not is deleted.

Why that converges: a row's changes up to A are in what was read; those after A are all still to be
applied. Each is a whole image or a delete by key, so if the row changed in (A, S], the last of
these changes leaves what was read, and if it did not, nothing touches it. This is the copy of a row
with A as P0 (`tests/models`: copy by frontier), and it holds for two reasons that not every table
gives, just as there:

* The row's changes are all in the log. A cascade that is not logged acts on a row by what it
  refers to, and a row that is newer than the cascade need not be healed by a later image: one level
  of ON DELETE or ON UPDATE SET NULL is harmless, deeper ones and ON UPDATE CASCADE are not.
* Rows do not hinder each other. Where a secondary unique index is, a row of S can stand in the way
  of another one that the stream still brings as it was before S.

Such a table is written *exactly*: after the read, and with the lock held, the stream is awaited
until it has passed an *upper* bound of S. It can only do so if nothing in (A, S] touches this table
(or it would wait for the lock), so S is what the table was at the stream's own position. Where the
table is written to that does not succeed each time; it is tried again, and given up in the end.

A table without a key knows its rows by nothing but their values, which a reading of the whole table
would have to count under the lock: it is not repaired here, but copied again.

Bad values go to quarantine. The daemon remembers whether the quarantine may hold rows of a table,
to look there with each change: the same transaction leaves it the request to try the row again,
for which it begins its stream anew, and sees the entry. That also takes away an entry which the
stream had looked for, in the transaction that waited for our lock, before it was there.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pymysql
from pymysql.constants import ER

from bridge.capture.snapshot import read_where
from bridge.change.batch import Batch, Image, Segment, TableOps, copied_key
from bridge.change.position import Position
from bridge.databases.mysql import limit_locks
from bridge.errors import BridgeError, Inconclusive
from bridge.names import quote_postgres
from bridge.replicate.requests import leave
from bridge.sink.apply import Applier
from bridge.sink.quarantine import Quarantine
from bridge.sink.target import Target
from bridge.store.checkpoint import Checkpoint
from bridge.store.sql import queries
from bridge.store.state import add_event
from bridge.types.copytext import escape
from bridge.verify.applied import StoredPosition
from bridge.verify.recheck import Key, Standing, at_or_past
from bridge.verify.source import SourceReader
from bridge.verify.subject import Subject
from bridge.verify.table import FILE_START
from bridge.verify.tables import Followed
from bridge.verify.target import TargetReader
from bridge.verify.values import KEYS_A_QUERY, parts

Q = queries("bridge.verify", "queries.sql")
PATIENCE_SECONDS = 30.0
"""How long a batch is tried again."""
VISIBLE_SECONDS = 0.5
PASSED_SECONDS, LATE_SECONDS = 0.3, 5.0
"""How long the stream is held up by a batch that must be exact."""
POLL_SECONDS = 0.005
DEFINITION_SECONDS = 2
"""How long the source's table may be under a change of its definition, or a row of it under one
that is not committed, for which reads wait."""
_PAUSE = 1.0, 2.0
"""Between two tries, as many times what the last one took: the stream has the most of the time."""
_LIMITS = (
    "SET LOCAL lock_timeout = '2s'; SET LOCAL idle_in_transaction_session_timeout = '10s'",
    "SET LOCAL lock_timeout = '500ms'",
)
"""Before the lock, and with it: whatever becomes of us or of the source, the table is free again.
The second one is shorter than PostgreSQL's deadlock_timeout (1 s)."""


class NotNow(Inconclusive):
    """The batch could not be written, and perhaps can be later."""


class Refused(BridgeError):
    """The table cannot be repaired as it stands."""


@dataclass
class Written:
    """What became of the rows of a batch; `kept_out` are those that went to quarantine."""

    inserted: int = 0
    replaced: int = 0
    deleted: int = 0
    kept_out: tuple[Key, ...] = ()

    def __str__(self) -> str:
        """For people: what there is of it."""
        counts = {
            "inserted": self.inserted,
            "replaced": self.replaced,
            "deleted": self.deleted,
            "quarantined": len(self.kept_out),
        }
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


@dataclass
class _Act(Checkpoint):
    """Writes down in the batch's transaction what it did; see `store.checkpoint.Checkpoint`."""

    pipeline: str
    target: Target
    done: dict[bytes, tuple[Key, str]] = field(default_factory=dict)
    """COPY text of each touched key → the key, and what was meant to be done with it."""
    written: Written = field(default_factory=Written)

    def save(self, conn: psycopg.Connection[Any], batch: Batch) -> None:
        """Moves no position: that is the stream's."""
        name = self.target.source
        names = {"pipeline": self.pipeline, "schema": name.schema, "table": name.table}
        touched = {"generation": self.target.generation, "keys": list(self.done)}
        entries = conn.execute(Q["quarantined_among"], {**names, **touched})
        kept_out = {bytes(key): number for number, key in entries}
        for number in kept_out.values():
            leave(conn, self.pipeline, "retry", name, str(number))
        counts = Counter(what for copied, (_, what) in self.done.items() if copied not in kept_out)
        self.written = Written(
            counts["inserted"],
            counts["replaced"],
            counts["deleted"],
            tuple(key for copied, (key, _) in self.done.items() if copied in kept_out),
        )
        if self.done:
            said = f"{self.written}, at {batch.position}"
            add_event(conn, self.pipeline, "repaired", str(name), said)


class Rewriter:
    """Writes batches of one table; `conn` and `rows` are sessions of its own in autocommit mode.

    `reader` reads the source's positions, `rows` its rows (a session of `source_session`).
    """

    def __init__(
        self,
        conn: psycopg.Connection[Any],
        rows: pymysql.Connection[Any],
        pipeline: str,
        table: Followed,
        source_id: str,
        *,
        exact: bool,
    ) -> None:
        self._conn = conn
        self._rows = rows
        self._table = table
        self.unique = _unique(conn, table)
        """Whether one row can stand in another one's way."""
        self._exact = exact or self.unique
        self._late = False
        self._pipeline = pipeline
        subject = Subject.of(table.plan, table.relation, "values")
        self._keys = subject.keys
        self._source = SourceReader(rows, subject)
        self._held = TargetReader(conn, subject)
        self._stream = StoredPosition(conn, pipeline, table.name, source_id)
        target = Target(table.plan, table.state.generation, table.relation, quarantined=True)
        self._act = _Act(pipeline, target)
        self._applier = Applier(conn, [target], self._act, Quarantine(pipeline))
        limit_locks(rows, DEFINITION_SECONDS)

    def write(self, keys: Sequence[Key]) -> Written:
        """Writes the rows of these keys as the source has them.

        Raises NotNow, Refused, TableStopped and the drivers' errors; nothing is written then.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            begun = time.monotonic()
            try:
                self._attempt(keys)
                return self._act.written
            except (NotNow, psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as e:
                self._applier.abandon()
                if time.monotonic() > deadline:
                    raise e if isinstance(e, NotNow) else self._locked() from e
            except BaseException:
                self._applier.abandon()
                raise
            time.sleep(random.uniform(*_PAUSE) * (time.monotonic() - begun))  # noqa: S311

    def _attempt(self, keys: Sequence[Key]) -> None:
        self._lock()
        standing = self._applied()
        position = standing.position
        assert position is not None
        self._late = standing.late
        self._see(position)
        images = self._images(keys)
        if self._exact:
            self._await(self._source.upper_bound())
        ops = self._ops(keys, images, self._copied_keys(keys))
        segment = Segment(tables={self._table.name: ops})
        self._applier.apply(Batch([segment], position))

    # -- the steps ---------------------------------------------------------------------------

    def _lock(self) -> None:
        self._applier.apply(Batch([], None))  # which leaves its transaction open
        self._conn.execute(_LIMITS[0].encode())
        relation = self._table.relation.postgres
        try:
            self._conn.execute(f"LOCK TABLE {relation} IN SHARE ROW EXCLUSIVE MODE".encode())
        except psycopg.errors.UndefinedTable as error:
            raise self._changed() from error
        self._conn.execute(_LIMITS[1].encode())

    def _applied(self) -> Standing:
        """What is applied; Refused where the table is not the one that was judged any more."""
        name, state = self._table.name, self._table.state
        standing = self._stream.standing()
        if standing.position is None or (standing.obstacle and standing.hint != "dbbridge sync"):
            raise Refused(f"{name}: {standing.obstacle or 'not copied yet'}", standing.hint)
        named = {"pipeline": self._pipeline, "schema": name.schema, "table": name.table}
        row = self._conn.execute(Q["serving"], named).fetchone()
        if row != (state.generation, state.version):
            raise self._changed()
        return standing

    def _see(self, position: Position) -> None:
        """Waits until reads of the source see everything up to the position."""
        deadline = time.monotonic() + VISIBLE_SECONDS
        while True:
            low = self._source.lower_bound(by_gtid=not position.file)
            if at_or_past(low, position):
                return
            if low is None or low.offset == FILE_START:
                raise Refused(
                    f"{self._table.name}: the source has no GTIDs, so nobody knows what a read of"
                    " it has surely seen",
                    f"dbbridge tables resync {self._table.name.word}",
                )
            if time.monotonic() > deadline:
                raise NotNow(f"the source does not show yet what is applied up to {position}")
            time.sleep(POLL_SECONDS)

    def _images(self, keys: Sequence[Key]) -> dict[Key, Image]:
        """The rows that the source has."""
        found: dict[Key, Image] = {}
        for some in parts(keys, KEYS_A_QUERY):
            condition = self._keys.source_condition(some)
            if condition:
                found |= self._read(condition, set(some))
        return found

    def _read(self, condition: str, wanted: set[Key]) -> dict[Key, Image]:
        try:
            plan, tags = self._table.plan, self._keys.source
            # More may be applied than the position says: what nobody sees yet has to be waited for.
            found = read_where(self._rows, plan, condition, tags, "repair", locked=self._late)
        except pymysql.err.OperationalError as error:
            if error.args[0] != ER.LOCK_WAIT_TIMEOUT:
                raise
            raise NotNow(
                f"{self._table.name}: it is being changed in the source, and does not come to rest",
                "when that is done: dbbridge status",
            ) from error
        texts = {tuple(t.decode() for t in key if t is not None): image for key, image in found}
        return {key: image for key, image in texts.items() if key in wanted}

    def _await(self, bound: Position) -> None:
        deadline = time.monotonic() + (LATE_SECONDS if self._late else PASSED_SECONDS)
        while not at_or_past(self._stream.standing().position, bound):
            if time.monotonic() > deadline:
                raise NotNow(
                    f"{self._table.name} is written to all the time, and its unique indexes or"
                    " cascades allow no repair meanwhile",
                    "again when fewer write to it, or:"
                    f" dbbridge tables resync {self._table.name.word}",
                )
            time.sleep(POLL_SECONDS)

    def _copied_keys(self, keys: Sequence[Key]) -> dict[Key, bytes]:
        """COPY text of the keys of the rows that the target has."""
        plan, wanted = self._table.plan, set(keys)
        texts = [f"{quote_postgres(c.target_name)}::text" for c in plan.key_columns]
        condition = [self._keys.target_condition()]
        query = self._held.subject.target([*self._keys.target(), *texts], condition)
        rows = self._held.query(query, self._keys.target_arrays(keys))
        return {
            row[: plan.key]: b"\t".join(escape(text.encode()) for text in row[plan.key :])
            for row in rows
            if row[: plan.key] in wanted
        }

    def _ops(
        self, keys: Iterable[Key], images: Mapping[Key, Image], held: Mapping[Key, bytes]
    ) -> TableOps:
        rows: dict[bytes, Image | None] = {}
        done: dict[bytes, tuple[Key, str]] = {}
        for key in keys:
            image = images.get(key)
            if image is not None:
                copied = copied_key(image, self._table.plan.key)
                rows[copied] = image
                done[copied] = key, "replaced" if key in held else "inserted"
            elif key in held:
                rows[held[key]] = None
                done[held[key]] = key, "deleted"
        self._act.done = done
        return TableOps(rows=rows)

    def _changed(self) -> Refused:
        return Refused(
            f"{self._table.name} was copied again, or has another mapping, since it was compared",
            f"dbbridge verify {self._table.name.word}",
        )

    def _locked(self) -> NotNow:
        return NotNow(
            f"{self._table.relation}: other sessions did not let the table go",
            "look for long transactions on it (pg_stat_activity), then repair again",
        )


def _unique(conn: psycopg.Connection[Any], table: Followed) -> bool:
    """Whether the target's table has a unique index or an exclusion beside its key's."""
    row = conn.execute(Q["unique_indexes"], {"relation": table.relation.postgres}).fetchone()
    return row is None or int(row[0]) > 1
