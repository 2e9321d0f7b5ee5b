"""Builds batches out of binlog events: transactions, positions, segments.

One flat loop, because thirty thousand transactions a second pass it. It holds the rules of order: a
batch ends at a source commit; only the last image of a key counts inside a segment; a segment is
closed before a cascade that could reach rows which are pending in it (see bridge.change.batch).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bridge.capture.binlog import events as ev
from bridge.capture.binlog.rows import RowDecoder, compile_decoder
from bridge.capture.binlog.statements import classify
from bridge.capture.binlog.table_map import table_map, table_name
from bridge.change.batch import Batch, Image, Segment, TableOps
from bridge.change.position import Position, Progress
from bridge.errors import SourceError, TableStopped
from bridge.names import TableName
from bridge.replicate.family import ParentRole, cascades, parent_roles
from bridge.replicate.merge import merge
from bridge.replicate.ops import put_away
from bridge.replicate.signs import Signs, place
from bridge.sink.target import Target

BATCH_ROWS = 10_000
"""Row changes after which a batch is handed over at the next commit."""
BATCH_BYTES = 8 << 20
"""The same in bytes of events; a transaction over twice of either is handed over in parts."""

_FIRST = {
    "ddl": "bring the mapping up to date with dbbridge init, then: ",
    "xa": "end what XA RECOVER shows (with XA_RECOVER_ADMIN a copy waits for that), then: ",
    "statement-format": "set binlog_format=ROW for all sessions of the source, then: ",
}
"""What comes before the new copy, by the code of the stop."""


@dataclass(slots=True, eq=False)
class _Route:
    """A followed table: how its events become pending changes."""

    target: Target
    role: ParentRole | None
    counts: list[int]
    direct: bool

    @property
    def name(self) -> TableName:
        return self.target.source


@dataclass(slots=True, eq=False)
class _Mapped:
    """What a table id means: the table map's bytes, and the route with its decoder if followed.

    `other`: what rows of a table mean that is not followed, but says something nevertheless.
    """

    body: bytes
    route: _Route | None = None
    decoder: RowDecoder | None = None
    other: Callable[[int, bytes], None] | None = None


class Builder:
    """Turns events into batches for the tables of one stream.

    `until` (a position, or binlog coordinates alone) ends the stream: `reached` becomes true at the
    first point outside a transaction that is not before it, and nothing later is taken in. `at_end`
    says that the source had nothing more to send. `over_copy`: the changes pass over rows that were
    copied later than they happened. `copied`: the stream begins with a copy, so that it must see
    the preparation of each XA transaction that it sees committed. `with_own`: what the bridge's own
    tables say is heeded too. The `switched` among the targets are watched, not followed, until a
    marker says otherwise.
    """

    def __init__(
        self,
        targets: Iterable[Target],
        start: Position,
        until: Position | None = None,
        *,
        over_copy: bool = False,
        with_own: bool = False,
        switched: Iterable[TableName] = (),
        copied: bool = False,
    ) -> None:
        targets = list(targets)
        roles = parent_roles(target.plan.table for target in targets)
        self._routes = {
            t.source: _Route(t, roles.get(t.source), [0, 0, 0], t.plan.key > 0 and not t.plan.keep)
            for t in targets
        }
        self.progress = Progress(start)
        self.reached = False
        self.at_end = False
        self._group: bytes | None = None
        self._committed: tuple[bytes | None, bytes] | None = None
        self._until = until
        self._over_copy = over_copy
        self._prepared: set[str] | None = set() if copied else None
        self._signs = Signs(self.progress, own=with_own, switched=switched)
        self._mysql_gtid: tuple[str, int] | None = None
        self._mariadb_gtid: tuple[int, int, int] | None = None
        self._in_transaction = False
        self._standalone = False
        self._touched: set[TableName] = set()
        self._maps: dict[bytes, _Mapped] = {}
        self._segments: list[Segment] = [Segment()]
        self._tables = self._segments[0].tables
        self._rows = 0
        self._bytes = 0
        self._transactions = 0
        self._moved = False

    @property
    def pending(self) -> bool:
        """Whether changes wait to be handed over."""
        return self._rows > 0 or self._transactions > 0

    @property
    def source_time(self) -> float:
        """The source's clock at the last commit taken in, in seconds since 1970; 0: none yet.

        MySQL's GTID events have it in microseconds, others in whole seconds.
        """
        if self._committed is None:
            return 0.0
        group, event = self._committed
        micros = ev.commit_micros(group) if group is not None else 0
        return micros / 1e6 if micros else float(int.from_bytes(event[:4], "little"))

    def flush(self, *, position_only: bool = False) -> Batch | None:
        """What is pending, as a batch that ends here; None inside a transaction, or if nothing is.

        With `position_only` also a batch without rows, if the position has moved.
        """
        if self._in_transaction or not (self.pending or (position_only and self._moved)):
            return None
        return self._take(self.progress.position())

    def feed(self, events: Sequence[bytes]) -> list[Batch]:  # noqa: C901 (one flat, hot loop)
        """Takes events in; gives the batches that have become full.

        Raises TableStopped for a table that cannot go on (its earlier changes in this batch are
        lost, so the stream must start again from its checkpoint), SourceError for the whole stream.
        """
        full: list[Batch] = []
        maps = self._maps
        kinds = ev.ROW_KIND
        if events:
            self.at_end = False
        for event in events:
            code = event[4]
            if code == ev.TABLE_MAP:
                mapped = maps.get(event[19:25])
                if mapped is None or mapped.body != event[25:]:
                    self._map(event)
            elif code in kinds:
                mapped = maps.get(event[19:25])
                if mapped is None:
                    raise SourceError(
                        "the source's binlog has rows of a table that it has not described",
                        "copy the pipeline's tables again: dbbridge tables resync",
                    )
                if mapped.route is not None:
                    self._change(mapped, kinds[code], event)
                elif mapped.other is not None:
                    mapped.other(kinds[code], event)
            elif code == ev.XID:
                self._commit(event)
            elif code == ev.GTID:
                self._mysql_gtid = ev.gtid(event)
                self._group = event
            elif code == ev.MARIADB_GTID:
                self._begin_mariadb(event)
            elif code == ev.QUERY:
                if ev.is_begin(event):
                    self._in_transaction = True
                else:
                    self._query(event)
            else:
                self._other(code, event)
            if self._rows >= BATCH_ROWS or self._bytes >= BATCH_BYTES:
                if not self._in_transaction:
                    full.append(self._take(self.progress.position()))
                elif self._rows >= 2 * BATCH_ROWS or self._bytes >= 2 * BATCH_BYTES:
                    full.append(self._take(None))
            if self.reached:
                break
        return full

    # -- transactions ------------------------------------------------------------------------

    def _begin_mariadb(self, event: bytes) -> None:
        domain, server, sequence, flags = ev.mariadb_gtid(event)
        self._mariadb_gtid = (domain, server, sequence)
        self._standalone = bool(flags & ev.MARIADB_STANDALONE)
        self._in_transaction = not self._standalone

    def _commit(self, event: bytes) -> None:
        progress = self.progress
        if self._mysql_gtid is not None:
            progress.add_mysql(*self._mysql_gtid)
            self._mysql_gtid = None
        elif self._mariadb_gtid is not None:
            progress.add_mariadb(*self._mariadb_gtid)
            self._mariadb_gtid = None
        self._in_transaction = False
        self._touched.clear()
        signs = self._signs
        signs.echo = False
        if signs.markers:
            signs.hand_over(self._routes.keys())
            self._maps.clear()  # table ids mean something else now
        self._transactions += 1
        self._committed = (self._group, event)
        self._passed(event)

    def _passed(self, event: bytes) -> None:
        """Outside a transaction: everything up to the event's end has been taken in."""
        end = int.from_bytes(event[13:17], "little")
        if end and not event[17] & ev.ARTIFICIAL:
            self.progress.offset = ev.widen(end, self.progress.offset)
        self._arrived()

    def _arrived(self) -> None:
        self._moved = True
        if self._until is not None:
            self.reached = self.progress.covers(self._until)

    def _query(self, event: bytes) -> None:
        query = ev.query(event)
        statement = classify(query.statement, query.database, query.sql_mode)
        if statement.kind in ("begin", "xa-start"):
            self._in_transaction = True
            return
        if statement.kind in ("rollback", "rollback-to") and self._touched:
            raise self._stopped(
                min(self._touched), "rolled-back", "the source logged changes and rolled them back"
            )
        if statement.kind == "xa-commit" and self._prepared is not None and self._routes:
            self._decided(query.statement)
        if statement.kind == "truncate":
            for name in statement.tables:
                self._truncate(name)
        elif statement.kind in ("ddl", "dml", "unknown", "drop-database", "alter-database"):
            self._schema_change(statement.kind, statement.tables, query)
        if not self._in_transaction or statement.kind in ("commit", "rollback"):
            self._commit(event)

    def _schema_change(self, kind: str, tables: Sequence[TableName], query: ev.Query) -> None:
        if kind in ("unknown", "drop-database", "alter-database"):
            named = {name.schema for name in tables} | {query.database}
            hit = [name for name in self._routes if name.schema in named]
        else:
            hit = [name for name in tables if name in self._routes]
        switched = self._signs.switched
        for name in switched.intersection(hit):
            if query.statement != put_away(name):
                self._signs.violate(name)
        hit = [name for name in hit if name not in switched]
        if hit:
            text = " ".join(query.statement.split())[:200]
            if kind == "dml":
                what, code = f"changed rows by a statement: {text}", "statement-format"
            else:
                what, code = f"changed the definition: {text}", "ddl"
            raise self._stopped(min(hit), code, f"the source {what}")

    def _stopped(self, name: TableName, code: str, what: str) -> TableStopped:
        stop = TableStopped(
            f"{name}: {what} (after {self.progress.file}:{self.progress.offset})",
            f"{_FIRST.get(code, '')}dbbridge tables resync {name.word}",
            code,
        )
        stop.table = name
        return stop

    def _other(self, code: int, event: bytes) -> None:
        if code == ev.ROTATE:
            self.progress.file, self.progress.offset = ev.rotate(event)
            if not event[17] & ev.ARTIFICIAL:
                self._maps.clear()
            self._arrived()
        elif code in (ev.HEARTBEAT, ev.HEARTBEAT_V2):
            self._idle(event)
        elif code == ev.GTID_TAGGED:
            gtid = ev.tagged_gtid(event)
            self._mysql_gtid = (gtid.sid, gtid.number)
        elif code == ev.XA_PREPARE:
            self._xa(event)
        elif code == ev.INCIDENT:
            raise SourceError(
                f"the source says that its binlog may lack changes: {ev.incident(event)}",
                "copy the pipeline's tables again: dbbridge tables resync",
            )
        elif code == ev.ANONYMOUS_GTID:
            pass  # begins a group: a position behind it would be inside the group
        elif code == ev.FORMAT_DESCRIPTION:
            self._maps.clear()
        elif not self._in_transaction and self._mysql_gtid is None and self._mariadb_gtid is None:
            self._passed(event)

    def _idle(self, event: bytes) -> None:
        """A heartbeat: the source has sent all it has, up to the coordinates that it names."""
        if not self._in_transaction:
            self.progress.file, self.progress.offset = ev.heartbeat(event)
            self.at_end = True
            self._arrived()

    def _decided(self, statement: str) -> None:
        """An XA COMMIT; its rows stand where it was prepared, in what the copy was to have read."""
        assert self._prepared is not None
        if statement.removeprefix("XA COMMIT ") not in self._prepared:
            raise self._stopped(
                min(self._routes),
                "xa",
                "the source committed an XA transaction that was prepared before the copy began",
            )

    def _xa(self, event: bytes) -> None:
        prepare = ev.xa_prepare(event)
        if self._prepared is not None:
            self._prepared.add(prepare.sql)
        if self._touched and not prepare.one_phase:
            raise self._stopped(
                min(self._touched),
                "xa",
                "changed by a prepared XA transaction, which is not followed",
            )
        self._commit(event)

    # -- rows --------------------------------------------------------------------------------

    def _map(self, event: bytes) -> None:
        name = table_name(event)
        mapped = _Mapped(event[25:])
        route = self._routes.get(name)
        if name in self._signs.switched:
            mapped.other = self._signs.watch(name)
        elif route is not None:
            mapped.route = route
            try:
                mapped.decoder = compile_decoder(route.target.plan, table_map(event))
            except TableStopped as stop:
                stop.table = route.name
                raise
        else:
            mapped.other = self._signs.heed(name, event)
        self._maps[event[19:25]] = mapped

    def _change(self, mapped: _Mapped, kind: int, event: bytes) -> None:
        route, decoder = mapped.route, mapped.decoder
        assert route is not None
        assert decoder is not None
        name = route.name
        self._touched.add(name)
        at = place(self.progress, event)
        role = route.role
        cascading = (
            role is not None
            and ((kind == ev.DELETE and role.on_delete) or (kind == ev.UPDATE and role.on_update))
            and not event[25] & (ev.NO_FOREIGN_KEY_CHECKS | ev.SQL_LAYER_FOREIGN_KEYS)
        )
        try:
            if route.direct and not cascading:
                n = decoder.apply(kind, event, self._ops(name).rows, at)
            else:
                pairs = decoder.pairs(kind, event, at)
                n = len(pairs)
                if cascading:
                    self._cascade(route, pairs)
                merge(route.target.plan, self._ops(name), pairs)
        except TableStopped as stop:
            stop.table = name
            raise
        route.counts[kind] += n
        self._rows += n
        self._bytes += len(event)

    def _ops(self, name: TableName) -> TableOps:
        ops = self._tables.get(name)
        if ops is None:
            ops = self._tables[name] = TableOps()
        return ops

    def _cascade(self, route: _Route, pairs: Sequence[tuple[Image | None, Image | None]]) -> None:
        role = route.role
        assert role is not None
        found = cascades(role, route.target.plan, pairs)
        if not found:
            return
        if self._over_copy and any(role.harms_copy(deleted=c.new is None) for c in found):
            raise self._stopped(
                route.name,
                "cascade-during-copy",
                "a cascade that the source did not log changed rows while they were copied",
            )
        if any(name in self._tables for name in role.descendants) or self._self_pending(route):
            self._new_segment()
        self._segments[-1].cascades.extend(found)

    def _self_pending(self, route: _Route) -> bool:
        assert route.role is not None
        return route.name in route.role.descendants and route.name in self._tables

    def _truncate(self, name: TableName) -> None:
        if name in self._signs.switched:
            self._signs.violate(name)
        elif name in self._routes:
            self._tables[name] = TableOps(truncate=True)
            self._rows += 1

    def _new_segment(self) -> None:
        segment = Segment()
        self._segments.append(segment)
        self._tables = segment.tables

    def _take(self, position: Position | None) -> Batch:
        ops, handovers, violations = self._signs.take()
        batch = Batch(
            segments=self._segments,
            position=position,
            transactions=self._transactions,
            source_time=self.source_time,
            counts={
                name: (route.counts[0], route.counts[1], route.counts[2])
                for name, route in self._routes.items()
                if any(route.counts)
            },
            ops=ops,
            handovers=handovers,
            violations=violations,
        )
        for route in self._routes.values():
            route.counts[:] = (0, 0, 0)
        self._segments = []
        self._new_segment()
        self._rows = self._bytes = self._transactions = 0
        if position is not None:
            self._moved = False
        return batch
