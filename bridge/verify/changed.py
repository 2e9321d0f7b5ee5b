"""What the log's transactions mean for the rows of some tables: which keys changed.

See `bridge.verify.changes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Event

from bridge.capture.binlog.connection import BinlogConnection
from bridge.change.batch import Batch, Cascade, TableOps
from bridge.change.position import Position
from bridge.names import TableName
from bridge.replicate.builder import Builder
from bridge.replicate.family import parent_roles
from bridge.sink.cascade import fields
from bridge.sink.target import Target
from bridge.types.table import ForeignKey
from bridge.verify.changes import Changes, Touched

MOST_KEYS = 20_000
"""Changed keys after which they are handed over, at the next commit."""
READ_SECONDS = 0.25


class Reader:
    """Collects the changes of `targets` after `start`; `found` is not handed over yet."""

    def __init__(self, targets: Sequence[Target], start: Position) -> None:
        self.targets = {target.source: target for target in targets}
        self.position = start
        self.found = Changes(start)

    def lose(self, table: TableName, reason: str) -> None:
        """Nothing further is to be said of the table; what is not handed over is read again."""
        lost = {name: t.lost for name, t in self.found.tables.items() if t.lost}
        self.found = Changes(self.position)
        for name, why in {**lost, table: reason}.items():
            self.found.of(name).lost = why
        self.targets.pop(table, None)

    def read(self, log: BinlogConnection, until: Position, halt: Event) -> Iterator[Changes]:
        """The changes up to `until`, in pieces; fewer once `halt` is set."""
        builder = Builder(self.targets.values(), self.position, until)
        cascades = _Cascades(list(self.targets.values()))
        while not (builder.reached or halt.is_set()):
            for batch in builder.feed(log.read(READ_SECONDS)):
                cascades.take(batch, self.found)
                if batch.position is not None and self.found.size >= MOST_KEYS:
                    yield self._hand_over(batch.position)
        last = builder.flush(position_only=True)
        if last is not None:
            cascades.take(last, self.found)
            assert last.position is not None
            yield self._hand_over(last.position)
        elif builder.reached:
            yield self._hand_over(builder.progress.position())

    def _hand_over(self, position: Position) -> Changes:
        found, self.found = self.found, Changes(position)
        found.position = self.position = position
        return found


class _Cascades:
    """Collects what batches say, cascades by the foreign keys among the followed tables."""

    def __init__(self, targets: Sequence[Target]) -> None:
        tables = [target.plan.table for target in targets]
        self._roles = parent_roles(tables)
        self._links: dict[TableName, list[tuple[Target, ForeignKey]]] = {}
        for target in targets:
            for key in target.plan.table.foreign_keys:
                if key.cascades:
                    self._links.setdefault(key.parent, []).append((target, key))

    def take(self, batch: Batch, found: Changes) -> None:
        """Adds the batch's changes."""
        for segment in batch.segments:
            for cascade in segment.cascades:
                self._cascaded(cascade, found)
            for name, ops in segment.tables.items():
                _changed(ops, found.of(name))

    def _cascaded(self, cascade: Cascade, found: Changes) -> None:
        role, deleted = self._roles[cascade.parent], cascade.new is None
        direct = {child.source for child, _ in self._links[cascade.parent]}
        if role.deep_delete if deleted else role.deep_update:
            for name in role.descendants - direct:
                found.of(name).lost = "a cascade over several tables may have changed any row"
        for child, key in self._links[cascade.parent]:
            if key.acts_on_delete if deleted else key.acts_on_update:
                _refer(child, key, cascade, found.of(child.source))


def _changed(ops: TableOps, touched: Touched) -> None:
    if ops.truncate:
        touched.lost = "the table was truncated"
    touched.rows.update(ops.rows)
    touched.rows.update(ops.counts)


def _refer(child: Target, key: ForeignKey, cascade: Cascade, touched: Touched) -> None:
    own = [c for c in child.plan.columns if c.source.name in key.columns]
    if any(column.source.charset for column in own):
        # InnoDB compares by the collation, which finds more than equal texts.
        touched.lost = "a cascade by a text may have changed any row"
        return
    values = touched.references.setdefault(key.columns, set())
    for line in (cascade.old, cascade.new):
        if line is not None:
            known = dict(zip(cascade.columns, fields(line), strict=True))
            wanted = tuple(known[name] for name in key.parent_columns)
            if None not in wanted:
                values.add(wanted)
