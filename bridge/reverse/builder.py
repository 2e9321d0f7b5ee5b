"""Messages of the stream into batches of whole transactions."""

from __future__ import annotations

import time
from collections.abc import Mapping

from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.reverse import pgoutput as pg
from bridge.reverse.batch import Batch, Change
from bridge.reverse.writer import Dialect, ReverseStopped, Row, Writer, merged

MARKER = "dbbridge"
"""The prefix of the messages that `slots.marker` writes (queries.sql: marker)."""
MOST_CHANGES = 10_000
MOST_BYTES = 16 << 20
"""With half of either a batch ends at the next commit; a transaction that goes on beyond the whole
is handed on in parts."""


class Builder:
    """Gathers what `position` has not; `plans` by the target's tables."""

    def __init__(
        self, plans: Mapping[TableName, TablePlan], dialect: Dialect, position: int
    ) -> None:
        self._plans = plans
        self._dialect = dialect
        self._position = position
        self._writers: dict[int, Writer] = {}
        self._begin: pg.Begin | None = None
        self._skips = False
        self._parted = False
        """Parts of a transaction were handed on, and its end was not."""
        self.batch = Batch()
        self.marked = False
        """A marker of the bridge's was met: somebody waits for the position behind it."""
        self.reached = position
        """Everything before is in batches, or of no concern."""

    @property
    def between(self) -> bool:
        """Whether no transaction is open."""
        return self._begin is None

    def add(self, raw: bytes, at: int, sent: int) -> None:
        """One message. Raises ProtocolError, ReverseStopped."""
        message = pg.decode(raw, at)
        kind = type(message)
        if kind in _ROWS:
            if not self._skips:
                self._row(message)
                self.batch.size += len(raw)
        elif kind is pg.Begin:
            self._open(message, sent)  # type: ignore[arg-type]
        elif kind is pg.Commit:
            self._close(message)  # type: ignore[arg-type]
        elif kind is pg.Relation:
            self._relation(message)  # type: ignore[arg-type]
        elif kind is pg.Logical:
            self.marked = self.marked or message.prefix == MARKER  # type: ignore[union-attr]

    @property
    def pending(self) -> bool:
        """Whether the batch holds something to be applied, if only a transaction's end."""
        return bool(self.batch.changes) or (self._parted and self.between)

    @property
    def full(self) -> bool:
        """Whether the batch should be handed on.

        In the middle of a transaction only if that is too large: the source commits only where one
        ends, and a backlog must not become one transaction there.
        """
        changes, size = len(self.batch.changes), self.batch.size
        if self._begin is not None:
            return changes >= MOST_CHANGES or size >= MOST_BYTES
        return self._parted or changes >= MOST_CHANGES // 2 or size >= MOST_BYTES // 2

    def taken(self) -> Batch:
        """The batch so far; a new one begins."""
        batch, self.batch = self.batch, Batch()
        self._parted = self._begin is not None
        if self._begin is not None:
            batch.whole, batch.position = False, self._begin.lsn + 1
            self.batch.since = batch.since
        batch.seal()
        return batch

    def _open(self, begin: pg.Begin, sent: int) -> None:
        self._begin = begin
        self._skips = begin.lsn < self._position
        if not self.batch.since:
            self.batch.since = time.monotonic() - max(0, sent - begin.time) / 1e6

    def _close(self, commit: pg.Commit) -> None:
        self._begin = None
        self._skips = False
        self.reached = max(self.reached, commit.end)
        self.batch.position = self.reached

    def _relation(self, relation: pg.Relation) -> None:
        plan = self._plans.get(TableName(relation.schema, relation.table))
        if plan is None:
            raise ReverseStopped(
                f"{relation.schema}.{relation.table} is published, but no table of the group is"
                " called so in the target",
                "give it back its name; then reverse replication goes on",
            )
        self._writers[relation.oid] = Writer(plan, relation, self._dialect)

    def _row(self, message: object) -> None:
        lsn = self._begin.lsn if self._begin else 0
        if isinstance(message, pg.Truncate):
            emptied = map(self._writer, message.relations)
            self.batch.changes += [Change(writer, lsn, None, None) for writer in emptied]
            return
        assert isinstance(message, pg.Insert | pg.Update | pg.Delete)
        writer = self._writer(message.relation)
        if isinstance(message, pg.Insert):
            self.batch.changes.append(Change(writer, lsn, None, writer.row(message.new)))
        elif isinstance(message, pg.Update):
            self._update(writer, lsn, message)
        else:
            old = writer.row(message.old)
            key, gone = (writer.key(old), None) if writer.keyed else (None, old)
            self.batch.changes.append(Change(writer, lsn, key, None, gone))

    def _update(self, writer: Writer, lsn: int, message: pg.Update) -> None:
        new = writer.row(message.new)
        old: Row | None = None
        if message.old is not None:
            old = writer.row(message.old)
            # A large key that did not change comes with the old one only.
            known = old if not message.old_is_key else old[: writer.plan.key]
            new = merged(new[: len(known)], known) + new[len(known) :]
        if not writer.keyed:
            if old is None:
                raise ReverseStopped(
                    f"{writer.label}: a change came without the row that it changes",
                    f"ALTER TABLE {writer.plan.target.postgres} REPLICA IDENTITY FULL",
                )
            self.batch.changes.append(Change(writer, lsn, None, new, old))
            return
        key = writer.key(new) if old is None else writer.key(old)
        self.batch.changes.append(Change(writer, lsn, key, new))

    def _writer(self, oid: int) -> Writer:
        if oid not in self._writers:
            raise pg.ProtocolError(f"a row of the table {oid}, which was not described before")
        return self._writers[oid]


_ROWS = frozenset({pg.Insert, pg.Update, pg.Delete, pg.Truncate})
