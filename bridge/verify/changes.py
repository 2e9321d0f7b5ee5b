"""Which rows changed: the source's log read for keys alone, from one position to another.

What is verified stays verified until it changes; the log says what did. So a proof is kept up at
the cost of the changes, not of the size. Rows that a cascade changed without a trace in the log are
known by the value that they refer to; what cannot be known by a key (a truncated table, a cascade
over several tables) loses its table's proof, which a new sweep gives back.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event

from bridge.capture.binlog.connection import BinlogConnection
from bridge.change.batch import Batch, Cascade, TableOps
from bridge.change.position import Position
from bridge.errors import PositionPurged, TableStopped
from bridge.names import TableName
from bridge.replicate.builder import Builder
from bridge.replicate.family import parent_roles
from bridge.sink.cascade import fields
from bridge.sink.target import Target
from bridge.types.table import ForeignKey

MOST_KEYS = 20_000
"""Changed keys after which they are handed over, at the next commit."""
READ_SECONDS = 0.25
Texts = tuple[str | None, ...]
"""Values as PostgreSQL reads them."""


@dataclass(slots=True)
class Touched:
    """What changed in one table.

    `rows`: COPY lines of the keys, or of whole rows where the table has no key. `references`:
    values of foreign keys whose child rows a cascade may have changed. `lost`: why no key tells.
    """

    rows: set[bytes] = field(default_factory=set)
    references: dict[tuple[str, ...], set[Texts]] = field(default_factory=dict)
    lost: str = ""


@dataclass(slots=True)
class Changes:
    """Everything that changed up to `position` since the changes before."""

    position: Position
    tables: dict[TableName, Touched] = field(default_factory=dict)

    def of(self, table: TableName) -> Touched:
        """The table's; made when it is first asked for."""
        return self.tables.setdefault(table, Touched())

    @property
    def size(self) -> int:
        """Keys and references."""
        return sum(
            len(touched.rows) + sum(map(len, touched.references.values()))
            for touched in self.tables.values()
        )


def read_changes(
    open_log: Callable[[Position], BinlogConnection],
    targets: Sequence[Target],
    start: Position,
    until: Position,
    halt: Event,
) -> Generator[Changes, None, None]:
    """The changes of `targets` after `start` up to `until` (an upper bound), in pieces.

    Ends early when `halt` is set. A table that the log says nothing more about (its definition
    changed, say) is lost; the others go on. A log that does not reach back loses all. Raises
    SourceError, ServerUnreachable.
    """
    if start.kind == until.kind and start.covers(until):
        # To find a position, the server would read its log from the file's beginning.
        yield Changes(start)
        return
    reader = _Reader(targets, start)
    while True:
        try:
            with open_log(reader.position) as log:
                yield from reader.read(log, until, halt)
            return
        except PositionPurged:
            for target in targets:
                reader.lose(target.source, "the source's log no longer reaches back to the sweep")
            yield reader.found
            return
        except TableStopped as stop:
            if stop.table is None:
                raise
            reader.lose(stop.table, stop.message)


class _Reader:
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
