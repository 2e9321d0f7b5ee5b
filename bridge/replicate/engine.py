"""Brings every followed table from where it is to the main stream, and keeps the stream going.

All starts over from the control schema: the engine reads what each table needs, does the next
thing, and reads again. A table goes new → copying → catching-up → streaming. Changing who is in a
stream (a table joins, pauses, stops) is always the same act: end the stream at a commit, write it
down, start a stream anew from its position.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from threading import Event

import structlog

from bridge.capture.binlog.positions import server_identity, upper_bound
from bridge.change.position import Position
from bridge.errors import PositionPurged, SourceError, TableStopped
from bridge.names import TableName
from bridge.replicate.board import Board
from bridge.replicate.builder import Builder
from bridge.replicate.copies import TICK_SECONDS, copy_tables, waiting
from bridge.replicate.errands import Caller
from bridge.replicate.heartbeat import Heartbeat
from bridge.replicate.origin import check_settings, obstacle
from bridge.replicate.plans import Planner
from bridge.replicate.points import passing
from bridge.replicate.prune import Pruner
from bridge.replicate.requests import Requests
from bridge.replicate.servers import Servers, meaning
from bridge.replicate.stage import Replan, Stages
from bridge.replicate.stream import Stream
from bridge.replicate.until import Until
from bridge.sink.apply import Applier
from bridge.sink.quarantine import Quarantine
from bridge.sink.swap import InUse
from bridge.store.checkpoint import Checkpoint, FrontierCheckpoint, PipelineCheckpoint
from bridge.store.lease import Lease
from bridge.store.state import Connection, PipelineState, TableState, read_pipeline, read_tables

NEAR_BYTES = 1 << 20
"""A table that catches up joins when it is so near to the main stream (binlog bytes)."""
AGAIN_SECONDS = 10.0
"""After others in the target did not let a table go that is to be replaced."""

log = structlog.get_logger("dbbridge.sync")


class Engine:
    """One run of a pipeline under one lease; ends when `stopping` is set or the goal is reached.

    Raises what is fatal (LeaseLost, SourceError, ConfigError) and what is transient; in each case
    the control schema says where to go on.
    """

    def __init__(
        self,
        servers: Servers,
        lease: Lease,
        planner: Planner,
        board: Board,
        stopping: Event,
        *,
        readers: int,
        until: Until,
        caller: Caller | None = None,
    ) -> None:
        self._servers = servers
        self._lease = lease
        self._board = board
        self._stopping = stopping
        self._readers = readers
        self._caller = caller
        self._until = until
        self._control: Connection = servers.target()
        self._quarantine = Quarantine(lease.pipeline)
        self._main: Stream | None = None
        self._source_id = ""
        self._join_after = 0.0
        self.stages = Stages(self._control, servers, lease, planner)
        self._requests = Requests(self._control, servers, lease, self.stages)
        self._pruner = Pruner(servers, lease)
        self._heartbeat = (
            Heartbeat(servers.source, *servers.heartbeat, lease.pipeline, self._passed)
            if servers.heartbeat
            else None
        )

    def run(self) -> None:
        """See the class."""
        try:
            self._recognise_source()
            self.stages.register()
            if self._heartbeat:
                self._heartbeat.start()
            while not self._stopping.is_set():
                try:
                    if self._step():
                        return
                except Replan:
                    continue
                except TableStopped as stop:
                    self._stop(stop)
        finally:
            if self._heartbeat:
                self._heartbeat.stop()
            self._end_main(quietly=True)
            self._control.close()

    # -- steps -------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Does the next thing; true when the goal is reached."""
        if self._requests.waiting():
            self._end_main()
            self._requests.serve()
        self._keep_main()
        tables = self._tables()
        waiting = [t for t in tables if t.active and t.stage in ("new", "copying")]
        if waiting:
            self._copy(waiting)
            return False
        if self._until.kind == "copied":
            return self._until.reached(tables, None, self._upper_bound)
        behind = [t for t in tables if t.active and t.stage == "catching-up"]
        if behind:
            self._catch_up(_oldest(behind))
            return False
        self._board.phase = "streaming"
        applied = self._main.facts().position if self._main else None
        if self._until.reached(tables, applied, self._upper_bound):
            return True
        self._pruner.tick(self._control)
        self._tick()
        time.sleep(TICK_SECONDS)
        return False

    def _tick(self) -> None:
        """What must not wait while something else is under way."""
        self._look()
        main = self._main
        if main is not None and main.ended.is_set():
            self._end_main()
            raise Replan
        if self._requests.waiting():
            raise Replan

    def _tick_copying(self, copied: Sequence[TableState]) -> None:
        """The same while tables are copied: a stop of another one does not end their copy."""
        self._look()
        if self._go_on_with_main():
            self._unless_stopped(copied)
        if self._requests.waiting():
            raise Replan

    def _tick_patiently(self) -> None:
        """The same while an index is built, which only the end of all may end."""
        self._look()
        self._go_on_with_main()

    def _look(self) -> None:
        if self._stopping.is_set():
            raise Replan
        lag = self._heartbeat.lag if self._heartbeat else None
        self._board.streamed(self._main.facts() if self._main else None, lag)

    def _passed(self, position: Position) -> bool:
        main = self._main
        return main is not None and main.passed(position)

    def _tables(self) -> list[TableState]:
        return read_tables(self._control, self._lease.pipeline)

    def _pipeline(self) -> PipelineState:
        state = read_pipeline(self._control, self._lease.pipeline)
        assert state is not None
        return state

    def _upper_bound(self) -> Position:
        with closing(self._servers.source()) as source:
            return upper_bound(source)

    def _recognise_source(self) -> None:
        """Refuses a source that cannot be followed, or is not the one that was followed.

        After a failover binlog coordinates mean nothing any more; GTIDs still do.
        """
        state, tables = self._pipeline(), self._tables()
        positions = [state.position, *(t.frontier for t in tables if not t.replaced)]
        with closing(self._servers.source()) as source:
            check_settings(source)
            self._source_id = server_identity(source)
            known = [position for position in positions if position is not None]
            found = obstacle(source, self._source_id, state.source_id, known)
            if found:
                self._begin_anew(tables, found)
            else:
                self.stages.lose_copies(source, self._source_id)
        if state.source_id != self._source_id:
            self.stages.recognise(self._source_id, renamed=state.source_id != "")

    def _begin_anew(self, tables: Sequence[TableState], found: str) -> None:
        """Another source is taken only if an operator has asked for every table to be copied."""
        if not {table.source for table in tables} <= self._requests.to_copy():
            raise SourceError(
                f"the source is not the server that was followed: {found}",
                "point the pipeline at the old server again; to go on with this one, have every"
                " table copied again: dbbridge tables resync NAME…, then: dbbridge sync",
            )
        self.stages.lose(tables, "source-replaced", "the source is another server now", main=True)

    # -- the main stream ---------------------------------------------------------------------

    def _keep_main(self) -> None:
        """Starts the main stream where there is one to run and it does not.

        Without the tables whose plan does not compile any more, which are stopped.
        """
        while self._main is None and (start := self._pipeline().position) is not None:
            members = [table for table in _members(self._tables()) if self.stages.is_there(table)]
            checkpoint = PipelineCheckpoint(self._lease, self._source_id)
            try:
                main = self._stream(members, start, checkpoint, None, catching_up=False)
            except TableStopped as stop:
                self._stop(stop)
                continue
            self._main = main
            main.start()

    def _go_on_with_main(self) -> bool:
        """If the main stream has ended, it goes on without the table that ended it; true then."""
        if self._main is None or not self._main.ended.is_set():
            return False
        self._end_main()
        self._keep_main()
        return True

    def _stop(self, stop: TableStopped) -> None:
        """A table cannot go on. The main stream ends first, or it would go on applying it."""
        self._end_main()
        if not self.stages.stop(stop):
            raise stop

    def _unless_stopped(self, tables: Sequence[TableState]) -> None:
        """Raises Replan if one of the tables is not active any more."""
        active = {(t.source, t.generation) for t in self._tables() if t.active}
        if any((t.source, t.generation) not in active for t in tables):
            raise Replan

    def _end_main(self, *, quietly: bool = False) -> None:
        """Ends the main stream at a commit; a table that made it fail is stopped at that commit."""
        main, self._main = self._main, None
        if main is None:
            return
        try:
            main.stop()
        except TableStopped as stop:
            self.stages.stop(stop)
        except PositionPurged as error:
            members = [t for t in self._tables() if t.active and t.stage == "streaming"]
            self.stages.lose(members, "purged", error.message, main=True)
        except Exception as error:
            if not quietly:
                raise meaning(error) from error

    def _stream(
        self,
        tables: Sequence[TableState],
        start: Position,
        checkpoint: Checkpoint,
        until: Position | None,
        *,
        catching_up: bool,
        over_copy: bool = False,
    ) -> Stream:
        targets = self.stages.targets(tables)
        builder = Builder(
            targets,
            start,
            until,
            over_copy=over_copy,
            # A claim means that all of the operation is applied, which the main stream alone can
            # say; and markers are about its tables.
            with_own=not catching_up,
            switched=[table.source for table in tables if table.stage == "switched"],
            copied=any(table.until for table in tables),
        )
        applier = Applier(self._servers.target(), targets, checkpoint, self._quarantine)
        servers = self._servers
        return Stream(
            lambda position: servers.binlog(position, catching_up=catching_up),
            start,
            builder,
            applier,
        )

    # -- copying -----------------------------------------------------------------------------

    def _copy(self, tables: Sequence[TableState]) -> None:
        self._board.phase = "copying"
        with waiting(self._board, self._tick) as wait:
            states = self.stages.begin_copies(tables, wait)
        if not states:
            raise Replan
        copy_tables(
            self._servers,
            self._lease,
            self.stages,
            self._board,
            states,
            lambda: self._tick_copying(states),
            self._stop,
            readers=self._readers,
            caller=self._caller,
        )

    # -- catching up -------------------------------------------------------------------------

    def _catch_up(self, tables: Sequence[TableState]) -> None:
        """Brings tables of one frontier past their copy, indexes them, and lets them join."""
        while time.monotonic() < self._join_after:
            self._board.phase = "waiting"
            self._tick()
            time.sleep(TICK_SECONDS)
        self._board.phase, self._board.message = "catching-up", ""
        tables = self.stages.with_bounds(tables)
        frontier = tables[0].frontier
        assert frontier is not None
        end = max(
            ((t.until[0], t.until[1]) for t in tables if t.until), default=None, key=_coordinates
        )
        if end is not None:
            frontier = self._run_to(tables, frontier, Position.at(*end), over_copy=True)
        self._board.phase = "indexing"
        for table in tables:
            if not table.indexed:
                self.stages.build_indexes(table, self._tick_patiently)
                self._unless_stopped(tables)
        self._board.phase = "catching-up"
        self._join(tables, frontier)

    def _join(self, tables: Sequence[TableState], frontier: Position) -> None:
        """Brings tables and main stream to the same commit, then makes them one."""
        if self._pipeline().position is None:
            self._pruner.begin_anew(self._control)
            passing("join.before")
            self.stages.join(tables, frontier, first=self._source_id)
            passing("join.after")
            raise Replan
        frontier = self._approach(tables, frontier)
        self._end_main()
        self._unless_stopped(tables)
        main = self._pipeline().position
        if main is None:  # the source had purged what the main stream needed
            raise Replan
        while not (frontier.covers(main) and main.covers(frontier)):
            if frontier.covers(main):
                main = self._advance_main(frontier)
            else:
                frontier = self._run_to(tables, frontier, main, ticking=False)
        passing("join.before")
        try:
            self.stages.join(tables, frontier)
        except InUse as error:
            # The main stream goes on meanwhile.
            self._join_after = time.monotonic() + AGAIN_SECONDS
            self._board.message = error.message
            log.warning("waiting", reason=error.message, hint=error.hint, seconds=AGAIN_SECONDS)
            raise Replan from error
        passing("join.after")

    def _approach(self, tables: Sequence[TableState], frontier: Position) -> Position:
        """Streams the tables alone until they are near the main stream, which goes on meanwhile."""
        checkpoint = FrontierCheckpoint(self._lease, tables)
        stream = self._stream(tables, frontier, checkpoint, None, catching_up=True)
        stream.start()
        try:
            while not stream.ended.wait(TICK_SECONDS):
                self._tick()
                main, facts = self._main, stream.facts()
                if facts.at_end or main is None or _near(facts.received, main.facts().received):
                    break
        finally:
            position = self._finish(stream, tables)
        return position

    def _run_to(
        self,
        tables: Sequence[TableState],
        start: Position,
        end: Position,
        *,
        ticking: bool = True,
        over_copy: bool = False,
    ) -> Position:
        """Streams the tables alone from `start` to `end`; returns the position reached."""
        checkpoint = FrontierCheckpoint(self._lease, tables)
        stream = self._stream(tables, start, checkpoint, end, catching_up=True, over_copy=over_copy)
        return self._await(stream, tables, ticking=ticking)

    def _advance_main(self, end: Position) -> Position:
        """Brings the main stream's tables to `end` while the others wait there."""
        members = [t for t in _members(self._tables()) if self.stages.is_there(t)]
        start = self._pipeline().position
        assert start is not None
        checkpoint = PipelineCheckpoint(self._lease, self._source_id)
        stream = self._stream(members, start, checkpoint, end, catching_up=False)
        return self._await(stream, members, ticking=False, main=True)

    def _await(
        self, stream: Stream, tables: Sequence[TableState], *, ticking: bool, main: bool = False
    ) -> Position:
        stream.start()
        try:
            while not stream.ended.wait(TICK_SECONDS):
                if ticking:
                    self._tick()
                elif self._stopping.is_set():
                    raise Replan
        finally:
            position = self._finish(stream, tables, main=main)
        return position

    def _finish(
        self, stream: Stream, tables: Sequence[TableState], *, main: bool = False
    ) -> Position:
        try:
            return stream.stop()
        except TableStopped as stop:
            self._stop(_with_way_on(stop, tables))
            raise Replan from stop
        except PositionPurged as error:
            self._end_main()
            self.stages.lose(tables, "purged", error.message, main=main)
            raise Replan from error
        except Exception as error:
            raise meaning(error) from error


def _members(tables: Sequence[TableState]) -> list[TableState]:
    """Whom the main stream follows, or watches."""
    return [t for t in tables if t.active and t.stage in ("streaming", "switched")]


def _with_way_on(stop: TableStopped, tables: Sequence[TableState]) -> TableStopped:
    """Without GTIDs the stream of a copy begins with the log's current file, old DDL included."""
    by_file = any(t.until and t.frontier and t.frontier.kind == "file" for t in tables)
    if by_file and stop.code == "ddl" and stop.table:
        stop.hint = (
            "dbbridge init, then FLUSH BINARY LOGS on the source (without GTIDs a stream begins"
            f" with the current file), then: dbbridge tables resync {stop.table.word}"
        )
    return stop


def _oldest(tables: Sequence[TableState]) -> list[TableState]:
    """The tables that share the oldest frontier (of one generation each)."""
    groups: dict[tuple[str, str], list[TableState]] = {}
    for table in tables:
        assert table.frontier is not None
        groups.setdefault((table.frontier.kind, table.frontier.text), []).append(table)
    first = min(groups.values(), key=lambda group: group[0].frontier.coordinates)  # type: ignore[union-attr]
    names: set[TableName] = set()
    return [t for t in first if not (t.source in names or names.add(t.source))]  # type: ignore[func-returns-value]


def _coordinates(until: tuple[str, int]) -> tuple[int, int]:
    return Position.at(*until).coordinates


def _near(mine: tuple[str, int], main: tuple[str, int]) -> bool:
    here, there = _coordinates(mine), _coordinates(main)
    return here >= there or (here[0] == there[0] and there[1] - here[1] < NEAR_BYTES)
