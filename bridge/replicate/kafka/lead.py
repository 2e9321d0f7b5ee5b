"""What one process of a pipeline does beside consuming: copies, positions, operators' requests.

It holds the lease. Every table goes new → copying → catching-up → streaming, as with the binlog;
but no stream has to end for it, since every table has topics and offsets of its own.

A *round* makes a position out of offsets: what the connector has surely written is asked first,
then where the partitions end; as soon as all that streams is applied up to these ends, everything
up to that position is in the target, and the pipeline's position moves there.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Event

import structlog

from bridge.capture.binlog.positions import server_identity, upper_bound
from bridge.capture.debezium.rows import compile_events
from bridge.capture.dialect import logs_cascades
from bridge.capture.topics import Topics
from bridge.change.position import Position, file_number
from bridge.errors import ServerUnreachable, TableStopped
from bridge.names import TableName
from bridge.replicate.board import Board
from bridge.replicate.copies import TICK_SECONDS, copy_tables, waiting
from bridge.replicate.errands import Caller
from bridge.replicate.kafka.connector import Connector
from bridge.replicate.kafka.notices import Notices
from bridge.replicate.kafka.placing import Placing, settled
from bridge.replicate.kafka.post import Facts
from bridge.replicate.origin import check_settings
from bridge.replicate.plans import Planner
from bridge.replicate.requests import Requests
from bridge.replicate.servers import Servers
from bridge.replicate.stage import Replan, Stages
from bridge.replicate.until import Until
from bridge.store.checkpoint import PipelineCheckpoint
from bridge.store.lease import Lease
from bridge.store.partitions import PartitionState, Place, fence_table, read_partitions
from bridge.store.state import Connection, Q, TableState, leave_stream, read_pipeline
from bridge.types.events import EventSettings

ROUND_SECONDS = 0.25
"""How often the connector is asked how far it is."""
TROUBLE_SECONDS = 2.0
"""How often the connector is asked whether it runs."""

log = structlog.get_logger("dbbridge.sync")


@dataclass(frozen=True, slots=True)
class Captured:
    """Where changes come from.

    `snapshot`: whose first copy fills the tables. `once`: the connector writes nothing twice.
    """

    topics: Topics
    prefix: str
    connector: Connector
    notices: Notices
    events: EventSettings
    snapshot: str
    once: bool


@dataclass(frozen=True, slots=True)
class _Aim:
    """What is surely in Kafka, and where the partitions ended afterwards."""

    position: Position
    ends: Mapping[Place, int]
    rows: frozenset[tuple[Place, int]]


class Lead:
    """One run under one lease; ends when `stopping` is set or the goal is reached.

    Raises what is fatal and what is transient; in each case the control schema says where to go on.
    """

    def __init__(
        self,
        servers: Servers,
        lease: Lease,
        planner: Planner,
        board: Board,
        stopping: Event,
        captured: Captured,
        facts: Facts,
        *,
        readers: int,
        until: Until,
        caller: Caller | None = None,
    ) -> None:
        self._servers = servers
        self._lease = lease
        self._pipeline = lease.pipeline
        self._planner = planner
        self._board = board
        self._stopping = stopping
        self._captured = captured
        self._facts = facts
        self._readers = readers
        self._until = until
        self._caller = caller
        self._control: Connection = servers.target()
        self._source = servers.source()
        self._source_id = ""
        self._stages = Stages(self._control, servers, lease, planner)
        self._requests = Requests(self._control, servers, lease, self._stages)
        self._placing = Placing(captured.topics, captured.prefix, self._pipeline)
        self._aim: _Aim | None = None
        self._asked = self._told = 0.0
        self._said = ""

    def run(self) -> None:
        """See the class."""
        try:
            check_settings(self._source)
            self._source_id = server_identity(self._source)
            lost = self._stages.lose_copies(self._source, self._source_id)
            self._fence([*lost], self._control)
            self._stages.recognise(self._source_id, renamed=False)
            self._stages.register()
            while not self._stopping.is_set():
                try:
                    if self._step():
                        return
                except Replan:
                    continue
                except TableStopped as stop:
                    self._stop(stop)
        finally:
            self._captured.notices.close()
            self._source.close()
            self._control.close()

    # -- steps -------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Does the next thing; true when the goal is reached."""
        if self._requests.waiting():
            self._serve()
        tables = self._stages.tables()
        waiting = [t for t in tables if t.active and t.stage in ("new", "copying")]
        if waiting:
            self._copy(waiting)
            raise Replan
        if self._until.kind == "copied":
            return self._until.reached(tables, None, self._upper_bound)
        self._round(tables)
        state = read_pipeline(self._control, self._pipeline)
        behind = [t for t in tables if t.active and t.stage == "catching-up"]
        trouble = self._trouble()
        self._board.message = trouble
        self._board.phase = "waiting" if trouble else "catching-up" if behind else "streaming"
        applied = state.position if state else None
        if not behind and self._until.reached(tables, applied, self._upper_bound):
            return True
        self._tick()
        self._board.counted(self._facts.rows)
        time.sleep(TICK_SECONDS)
        return False

    def _trouble(self) -> str:
        """What keeps changes from coming, as Connect said at the last look; '' for nothing."""
        if time.monotonic() - self._told > TROUBLE_SECONDS:
            self._told = time.monotonic()
            said = self._captured.connector.trouble()
            if said and said != self._said:
                log.warning("waiting", reason=said, hint="mend it, and restart it with its tasks")
            self._said = said
        return self._said or self._facts.message

    def _serve(self) -> None:
        """Carries out requests; consumers of tables that they changed look again."""
        before = {(t.source, t.generation): (t.stage, t.active) for t in self._stages.tables()}
        self._requests.serve()
        after = {(t.source, t.generation): (t.stage, t.active) for t in self._stages.tables()}
        for source in {key[0] for key, _ in before.items() ^ after.items()}:
            fence_table(self._control, self._pipeline, source)
        self._aim = None

    def _tick(self) -> None:
        if self._stopping.is_set() or self._requests.waiting():
            raise Replan

    def _tick_patiently(self) -> None:
        """While an index is built: only the end of all may end it."""
        if self._stopping.is_set():
            raise Replan
        self._round(self._stages.tables(), joining=False)

    def _upper_bound(self) -> Position:
        return upper_bound(self._source)

    # -- copying -----------------------------------------------------------------------------

    def _copy(self, tables: Sequence[TableState]) -> None:
        self._board.phase = "copying"
        if any(table.stage == "new" for table in tables):  # what is said so far is about others
            self._heed(self._notices(self._stages.tables()))
        fit = [table for table in tables if self._fit(table)]
        if len(fit) < len(tables):
            raise Replan
        if self._captured.snapshot == "debezium":
            first = [t for t in tables if t.stage == "new" and t.generation == 1]
            for table in first:
                self._begin_with_snapshot(table)
            if first:
                raise Replan
        connector = self._captured.connector
        if any(table.stage == "new" for table in tables):
            connector.check_running()
            if connector.emitted(self._source) is None:
                raise ServerUnreachable(
                    "the connector has not begun to follow the log yet: its snapshot is not over",
                    "snapshot.mode=no_data spares it where the bridge copies",
                )
        starts = self._placing.ends(tables)
        settled(self._servers, self._stages.copied_from, upper_bound(self._source))
        with waiting(self._board, self._tick) as wait:
            states = self._stages.begin_copies(
                tables,
                wait,
                lambda conn, new, base: self._placing.begin(conn, new, starts, base),
            )
        if not states:
            raise Replan
        copy_tables(
            self._servers,
            self._lease,
            self._stages,
            self._board,
            states,
            self._tick,
            self._stop,
            readers=self._readers,
            caller=self._caller,
        )

    def _fit(self, table: TableState) -> bool:
        """Whether its changes can be followed by Kafka; if not, it is stopped."""
        try:
            plan = self._planner.applied(table)
            compile_events(plan, self._captured.events)
            self._placing.check(plan)
            if not plan.key and not self._captured.once:
                raise TableStopped(
                    f"{table.source}: it has no key, and the connector may write its rows twice"
                    " when Connect or a broker dies",
                    "have Connect write them once (exactly.once.source.support=enabled in its"
                    " workers, exactly.once.support=required in the connector), or name a unique"
                    " NOT NULL key in the mapping file",
                    "keyless-repeated",
                )
            if len(self._stages.family(table.source)) > 1 and not logs_cascades(self._source):
                raise TableStopped(
                    f"{table.source}: the source does not log what foreign keys do to child rows,"
                    " and Debezium's events do not tell that something was done",
                    "take the table's changes from the log (capture: {kind: binlog}), or leave the"
                    " tables of the foreign key out",
                    "cascade-not-captured",
                )
        except TableStopped as stop:
            stop.table = stop.table or table.source
            self._stop(stop)
            return False
        return True

    def _begin_with_snapshot(self, table: TableState) -> None:
        """All that its topic has, from its beginning: the connector's snapshot comes first."""
        starts = self._placing.zeros(table)
        names = {"pipeline": self._pipeline, **table.key}
        with self._control.transaction():
            self._lease.guard(self._control)
            self._placing.begin(self._control, [table], starts, None)
            self._control.execute(Q["copied"], {**names, "until_file": None, "until_offset": None})

    # -- rounds ------------------------------------------------------------------------------

    def _round(self, tables: Sequence[TableState], *, joining: bool = True) -> None:
        """Moves the position if all has come as far as was aimed at; then aims anew."""
        self._retire(tables)
        rows = read_partitions(self._control, self._pipeline)
        followed = _newest(tables)
        mine = [r for r in rows if r.partition >= 0 and followed.get(r.table) == r.generation]
        if time.monotonic() - self._asked > ROUND_SECONDS:
            self._asked = time.monotonic()
            position = self._emitted(tables)
            # After that: what is written up to the position is in partitions that exist by now.
            self._watch(tables, taking_up=joining)
            ends = self._captured.topics.ends(r.place for r in mine)
            if len(ends) < len(mine):
                return  # a topic was deleted meanwhile, which the next look finds out
            self._board.consumed(mine, ends)
            # A new aim in place of one that is not reached yet would recede for ever under load.
            if self._aim is None and position is not None and self._captured.notices.complete:
                self._aim = _Aim(position, ends, _identity(mine))
        aim = self._aim
        if aim is None:
            return
        if aim.rows != _identity(mine):
            self._aim = None
            return
        lagging = {r.table for r in mine if r.next_offset < aim.ends[r.place]}
        streaming = {t.source for t in tables if t.active and t.stage == "streaming"}
        if streaming & lagging:
            return
        ready = [
            t
            for t in tables
            if t.active
            and t.stage == "catching-up"
            and followed.get(t.source) == t.generation
            # What comes since it began to be indexed waits until it is, whoever leads by then.
            and (t.indexing or (t.source not in lagging and _passed(t, aim.position)))
        ]
        self._aim = None
        if ready and joining:
            self._join(ready, aim.position, mine)
        elif streaming:
            self._move(aim.position)

    def _emitted(self, tables: Sequence[TableState]) -> Position | None:
        try:
            return self._captured.connector.emitted(self._source)
        except ServerUnreachable:
            # Connect does not answer while its brokers do not; then they are what is to be mended.
            self._captured.topics.describe(self._placing.topic(t.source) for t in tables[:1])
            raise

    def _join(
        self, ready: Sequence[TableState], position: Position, mine: Sequence[PartitionState]
    ) -> None:
        bare = [table for table in ready if not table.indexed]
        for table in bare:
            self._board.phase = "indexing"
            self._leave_out(table)
            partitions = sum(r.table == table.source for r in mine)
            # Consumers of two partitions would wait for each other's values, or evict them; and
            # nobody knows how many a topic gets that is not there yet.
            self._stages.build_indexes(table, self._tick_patiently, unique=partitions == 1)
        if bare:
            return  # the position is old by now
        renamed = [table.source for table in ready if table.generation > 1]
        self._stages.join(
            ready, position, first=self._source_id, also=functools.partial(self._fence, renamed)
        )

    def _leave_out(self, table: TableState) -> None:
        """Its changes wait in Kafka from now on, until it is indexed."""
        with self._control.transaction():
            self._lease.guard(self._control)
            fence_table(self._control, self._pipeline, table.source)
            self._control.execute(Q["indexing"], {"pipeline": self._pipeline, **table.key})

    def _fence(self, tables: Sequence[TableName], conn: Connection) -> None:
        """Names change hands: whoever writes to the old ones must not commit afterwards."""
        for table in tables:
            fence_table(conn, self._pipeline, table)

    def _move(self, position: Position) -> None:
        times = [r.source_time for r in read_partitions(self._control, self._pipeline)]
        with self._control.transaction():
            checkpoint = PipelineCheckpoint(self._lease, self._source_id)
            checkpoint.write(self._control, position, max((t or 0.0 for t in times), default=0.0))

    def _retire(self, tables: Sequence[TableState]) -> None:
        """A table whose new copy takes its changes from now on stands still where it is."""
        newest = _newest(tables)
        for table in tables:
            if table.stage == "streaming" and newest.get(table.source, 0) > table.generation:
                with self._control.transaction():
                    self._lease.guard(self._control)
                    fence_table(self._control, self._pipeline, table.source)
                    leave_stream(self._control, self._pipeline, table)
                raise Replan

    # -- topics ------------------------------------------------------------------------------

    def _watch(self, tables: Sequence[TableState], *, taking_up: bool) -> None:
        """New topics are taken up; tables of topics that are gone or changed are stopped.

        Not while indexes are built: which ones they may be hangs on the topic's partitions.
        """
        newest = _newest(tables)
        followed = [t for t in tables if t.active and newest.get(t.source) == t.generation]
        plan_of = self._planner.applied if taking_up else None
        changed = self._placing.watch(self._control, self._lease, followed, plan_of)
        # No aim may pass a changed definition: each is preceded by all that was told until then.
        self._heed([*changed.stops, *self._notices(tables)])
        if changed.taken_up:
            raise Replan

    def _notices(self, tables: Sequence[TableState]) -> list[TableStopped]:
        begun = [t for t in tables if t.stage != "new"]
        return self._captured.notices.stops(self._control, self._pipeline, begun)

    def _heed(self, stops: Sequence[TableStopped]) -> None:
        """Stops tables; raises Replan if there were any."""
        for stop in stops:
            self._stop(stop)
        self._captured.notices.done(self._control, self._pipeline)
        if stops:
            raise Replan

    def _stop(self, stop: TableStopped) -> None:
        """A table cannot go on; who applies its changes must not commit any more."""
        self._stages.stop(stop)
        if stop.table is not None:
            fence_table(self._control, self._pipeline, stop.table)


def _newest(tables: Sequence[TableState]) -> dict[TableName, int]:
    """The generation of each table that takes changes in (see `crew.read_work`)."""
    return {
        t.source: t.generation
        for t in sorted(tables, key=lambda t: t.generation)
        if t.active and t.stage in ("catching-up", "streaming")
    }


def _identity(rows: Sequence[PartitionState]) -> frozenset[tuple[Place, int]]:
    return frozenset((row.place, row.generation) for row in rows)


def _passed(table: TableState, position: Position) -> bool:
    """Whether everything up to the end of its copy is in Kafka."""
    if table.until is None:
        return True
    file, offset = table.until
    return bool(position.file) and position.coordinates >= (file_number(file), offset)
