"""What moves a table from one stage to the next; each act is one transaction under the lease."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pymysql
import structlog
from psycopg.types.json import Jsonb

from bridge.capture.binlog.positions import (
    lower_bound,
    replica_lower_bound,
    upper_bound,
)
from bridge.capture.dialect import logs_cascades
from bridge.capture.prepared import WAY_ON, prepared, undecided
from bridge.change.position import Position
from bridge.errors import BridgeError, SourceError, TableStopped
from bridge.names import TableName
from bridge.replicate.family import families
from bridge.replicate.job import Job
from bridge.replicate.origin import lacking
from bridge.replicate.plans import Planner
from bridge.replicate.points import passing
from bridge.replicate.readying import IndexBuilder, check_new, exists, table_stopped
from bridge.replicate.servers import Servers
from bridge.sink import ddl, swap
from bridge.sink.target import Target
from bridge.store.authority import group_of, read_authorities
from bridge.store.checkpoint import PipelineCheckpoint
from bridge.store.lease import Lease
from bridge.store.state import (
    GAPS,
    Connection,
    Fault,
    Q,
    TableState,
    add_event,
    bind,
    leave_stream,
    read_pipeline,
    read_tables,
)

log = structlog.get_logger("dbbridge.sync")


class Replan(Exception):
    """Something changed who does what: leave what is under way and read the states again."""


class Stages:
    """The acts of one daemon; `conn` is the engine's own session (autocommit)."""

    def __init__(self, conn: Connection, servers: Servers, lease: Lease, planner: Planner) -> None:
        self._conn = conn
        self._servers = servers
        self._lease = lease
        self._planner = planner
        self._pipeline = lease.pipeline

    def tables(self) -> list[TableState]:
        """All followed tables as they are now."""
        return read_tables(self._conn, self._pipeline)

    def register(self) -> None:
        """Takes up the tables that the mapping files carry and the control schema does not know.

        Not into a group that the target has: the source's rows are old ones there. Raises
        MappingError and TableStopped for a file that does not fit only where nothing is followed
        yet; else its table is left out, and the others go on.
        """
        known = {table.source: table for table in self.tables()}
        self._planner.refresh(known)
        self._take_up([name for name in self._planner.carried() if name not in known], not known)
        for name in self._planner.carried():
            table = known.get(name)
            if table is not None and table.stage != "switched" and self._planner.differs(table):
                self.note(
                    "mapping",
                    name,
                    "the mapping file differs from the applied one, which stays in force;"
                    f" dbbridge tables resync {name.word} takes the new one",
                )
        for table in self.tables():
            if table.active and self.is_there(table):
                try:
                    self._planner.applied(table)
                except TableStopped as stop:
                    self.stop(stop)

    def _take_up(self, names: Sequence[TableName], first: bool) -> None:
        groups = read_authorities(self._conn, self._pipeline)
        elsewhere = {one.group for one in groups if one.side != "source"}
        plans = {}
        for name in names:
            try:
                plans[name] = self._planner.from_file(name)
            except BridgeError as error:
                if first:
                    raise
                hint = "dbbridge check tells what to mend; then restart dbbridge sync"
                self.note("not-copied", name, f"{error.message}; {hint}")
                log.warning("not-copied", table=str(name), reason=error.message, hint=hint)
        for name, (plan, document) in plans.items():
            if (group := group_of(name, document)) in elsewhere:
                self.note(
                    "not-copied",
                    name,
                    f"the source has no authority over group {group}, which its mapping file names;"
                    " name another group, or restart dbbridge sync once the source has it again",
                )
                continue
            with self._transaction() as conn:
                self._add(
                    conn, plan.source, 1, plan.target, document, plan.version, plan.table.rows
                )

    def targets(self, tables: Sequence[TableState]) -> list[Target]:
        """How the streams and the copy see these tables."""
        return [
            Target(self._planner.applied(t), t.generation, t.target, t.quarantined > 0)
            for t in tables
        ]

    def is_there(self, table: TableState) -> bool:
        """Whether it can be followed or watched: once the target has it, it may go."""
        return table.stage != "switched" or self._planner.source_table(table) is not None

    def edited(self, table: TableState) -> bool:
        """Whether the mapping file says something else than what the table goes on with."""
        return self._planner.edited(table)

    def family(self, name: TableName) -> frozenset[TableName]:
        """The tables that move with this one, itself included."""
        known = [self._planner.source_table(table) for table in self.tables()]
        return families(table for table in known if table).get(name, frozenset({name}))

    def position(self) -> Position:
        """The main stream's position."""
        state = read_pipeline(self._conn, self._pipeline)
        assert state is not None
        assert state.position is not None
        return state.position

    # -- copy --------------------------------------------------------------------------------

    def begin_copies(
        self,
        tables: Sequence[TableState],
        wait: Callable[[str], None],
        also: Callable[[Connection, Sequence[TableState], Position], None] | None = None,
    ) -> list[TableState]:
        """Notes where the new tables' streams will begin; gives all tables that are to be copied.

        All new tables get one position, noted before anything is read of them, so that families
        share it; then their definitions are looked at once more. `wait` is called again and again
        with what the copy waits for, `also` for the new ones in the transaction that notes the
        position. Raises TableStopped for a table that cannot be copied.
        """
        new = [t for t in tables if t.stage == "new"]
        if self._held_back(new):
            return []
        if new:
            start = self._nothing_prepared(wait)
            for name in self._planner.changed_since([t.source for t in new]):
                raise table_stopped(name, "definition-changed", "its definition changed since init")
            for table in new:
                plan = self._planner.applied(table)
                tied = not plan.key and len(self.family(table.source)) > 1
                check_new(self._conn, self._servers, plan, table, tied=tied)
            with self._transaction() as conn:
                for table in new:
                    names = {"pipeline": self._pipeline, **table.key}
                    conn.execute(Q["clear_chunks"], names)
                    conn.execute(Q["clear_quarantine"], names)
                    rows = self._planner.applied(table).table.rows
                    conn.execute(Q["begin_copy"], {**names, **bind(start), "rows": rows})
                if also is not None:
                    also(conn, new, start)
        wanted = {(t.source, t.generation) for t in tables}
        return [t for t in self.tables() if (t.source, t.generation) in wanted and t.active]

    def _held_back(self, new: Sequence[TableState]) -> bool:
        """Stops those whose family has members that are not copied with them; true if any.

        A cascade that the source does not log is carried out among the tables of one stream, and
        would be missed between this one and the others until it joins them. These go on meanwhile.
        """
        beginning = {table.source for table in new}
        others = {t.source for t in self.tables() if t.stage != "switched"} - beginning
        apart = [(t, found) for t in new if (found := self.family(t.source) & others)]
        if not apart:
            return False
        with closing(self._servers.source()) as source:
            if logs_cascades(source):
                return False
        for table, found in apart:
            name = table.source
            stop = table_stopped(
                name,
                "family-apart",
                f"cascading foreign keys tie it to {', '.join(map(str, sorted(found)))}, copied"
                " before it, and the source does not log what they do",
                f"to copy all of them together: dbbridge tables resync {name.word}",
            )
            with self._transaction() as conn:
                self._leave_one(conn, name, table, stop)
                self.note("stopped", name, stop.message)
            log.warning("stopped", reason=stop.message, hint=stop.hint)
        return True

    def _nothing_prepared(self, wait: Callable[[str], None]) -> Position:
        """A position before which no XA transaction was prepared that reads do not see.

        The log has its rows where it was prepared: they would be neither in the copy nor in the
        stream. Where the account may not ask, the stream finds its commit.
        """
        while True:
            start = self.copied_from()
            with closing(self._servers.copy_source()) as source:
                count = prepared(source)
            if not count:
                return start
            wait(f"{undecided(count)}; {WAY_ON} there")

    def copied_from(self) -> Position:
        """What every read of a copy that begins now has surely seen."""
        with closing(self._servers.copy_source()) as source:
            if not self._servers.replica:
                return lower_bound(source)
            start = replica_lower_bound(source)
        if start is None:
            raise SourceError(
                "without GTIDs nobody knows what the replica that copy_from names has seen",
                "turn them on (gtid_mode=ON), or take copy_from out of bridge.yaml",
            )
        return start

    def copied(self, conn: psycopg.Connection[Any], job: Job) -> None:
        """A table's last chunk is in: notes what its stream must pass, and gathers statistics."""
        until = None
        if job.target.plan.key:
            with closing(self._servers.source()) as source:
                until = upper_bound(source)
        with conn.transaction():
            self._lease.guard(conn)
            conn.execute(
                Q["copied"],
                {
                    "pipeline": self._pipeline,
                    **job.state.key,
                    "until_file": until.file if until else None,
                    "until_offset": until.offset if until else None,
                },
            )
        conn.execute(f"ANALYZE {job.target.relation.postgres}".encode())
        passing("copy.table-done")

    # -- catching up -------------------------------------------------------------------------

    def with_bounds(self, tables: Sequence[TableState]) -> list[TableState]:
        """The tables, with a bound taken anew where the old one belonged to another server."""
        if not any(t.until and not t.until[0] for t in tables):
            return list(tables)
        with closing(self._servers.source()) as source:
            end = upper_bound(source)
        bounds = {"until_file": end.file, "until_offset": end.offset}
        with self._transaction() as conn:
            for table in tables:
                if table.until is not None:
                    conn.execute(Q["copied"], {"pipeline": self._pipeline, **table.key, **bounds})
        return [replace(t, until=(end.file, end.offset)) if t.until else t for t in tables]

    def build_indexes(
        self, table: TableState, tick: Callable[[], None], *, unique: bool = True
    ) -> None:
        """Builds what is missing of the table's indexes; with `unique` False those that are not.

        `tick` is called meanwhile; what it raises cancels the index that is being built.
        """
        plan = replace(self._planner.applied(table), target=table.target)
        wanted = [each for each in ddl.indexes(plan) if unique or not each.unique]
        IndexBuilder(self._servers, self._lease, table, wanted).run(tick)
        passing("index.built")

    def join(
        self,
        tables: Sequence[TableState],
        frontier: Position,
        first: str = "",
        also: Callable[[Connection], None] | None = None,
    ) -> None:
        """The tables stand where the main stream stands: from now on they follow it.

        `first` (the source's identity) begins the main stream at `frontier`. A table that was
        copied again takes its predecessor's place. `also` is called in the same transaction, first.
        Raises Replan, and nothing has happened, if one of the tables was stopped meanwhile.
        """
        older = {
            t.source: t
            for t in sorted(self.tables(), key=lambda t: -t.generation)
            if any(t.source == n.source and t.generation < n.generation for n in tables)
        }
        with self._transaction() as conn:
            if also is not None:
                also(conn)
            if first:
                PipelineCheckpoint(self._lease, first).write(conn, frontier, 0.0)
            for table in tables:
                old = older.get(table.source)
                if old is not None:
                    self._swap(conn, old, table)
                joined = conn.execute(Q["join_stream"], {"pipeline": self._pipeline, **table.key})
                if joined.rowcount != 1:
                    raise Replan
                add_event(conn, self._pipeline, "streaming", str(table.source), str(frontier))

    def _swap(self, conn: Connection, old: TableState, new: TableState) -> None:
        """Raises InUse where other sessions do not let the old one go, and TableStopped."""
        passing("swap.before")
        plan = self._planner.applied(new)
        swap.swap(conn, plan, old=old.target, new=new.target)
        conn.execute(Q["drop_table"], {"pipeline": self._pipeline, **old.key})
        names = {"pipeline": self._pipeline, **new.key, "target_table": plan.target.table}
        conn.execute(Q["rename_generation"], names)

    # -- leaving and coming back -------------------------------------------------------------

    def stop(self, stop: TableStopped) -> bool:
        """A table cannot go on; it stands at the last commit, and its family with it.

        A stream of the log that applies them must have ended. False if none could be stopped.
        """
        if stop.table is None:
            raise stop
        stopped = self._leave(stop.table, stop)
        log.warning("stopped", reason=stop.message, hint=stop.hint)
        return stopped

    def pause(self, name: TableName) -> None:
        """An operator wants the table to stand still; its family stands with it."""
        self._leave(name, None)

    def lose(
        self, tables: Sequence[TableState], code: str, what: str, *, main: bool = False
    ) -> None:
        """The tables' frontier cannot be read from any more: they stop there, to be copied again.

        `main`: it is the main stream's position, which begins anew with the next table that joins.
        """
        stops = {
            name: table_stopped(
                name, code, f"it cannot go on: {what}", f"dbbridge tables resync {name.word}"
            )
            for name in sorted({table.source for table in tables})
        }
        for stop in stops.values():
            self.stop(stop)
        with self._transaction() as conn:
            for table in self.tables():  # each for its own reason, not for its family's
                if table.source in stops and table.stage != "switched":
                    self._leave_one(conn, table.source, table, stops[table.source])
            if main:
                conn.execute(Q["leave_position"], {"pipeline": self._pipeline})

    def _leave(self, name: TableName, stop: TableStopped | None) -> bool:
        """With a stop, or (None) paused; whether there was a table that could."""
        family = self.family(name)
        kind, why = ("stopped", stop.message) if stop else ("paused", "by an operator")
        with self._transaction() as conn:
            leaving = [t for t in self.tables() if t.source in family and t.stage != "switched"]
            for table in leaving:
                self._leave_one(conn, name, table, stop, paused=stop is None)
            self.note(kind, name, why)
        return bool(leaving)

    def _leave_one(
        self,
        conn: Connection,
        name: TableName,
        table: TableState,
        stop: TableStopped | None,
        *,
        paused: bool = False,
    ) -> None:
        """`table` stands still because of `name`, which is itself or of its family."""
        fault = None
        if stop is not None and table.source == name:
            fault = Fault(stop.code, stop.message, stop.hint)
        elif stop is not None:
            fault = Fault("related", f"stands still with {name}", f"dbbridge explain {name.word}")
        leave_stream(conn, self._pipeline, table, fault, paused=paused)

    def resume(self, name: TableName) -> None:
        """The table and its family go on from their frontiers; raises SourceError if one cannot.

        A generation that cannot keeps its fault while a newer one goes on.
        """
        family, tables = sorted(self.family(name)), self.tables()
        for member in family:
            last = max((t for t in tables if t.source == member), key=lambda t: t.generation)
            if last.fault is not None and last.fault.code in GAPS:
                raise SourceError(
                    f"{member}: {GAPS[last.fault.code]}", f"dbbridge tables resync {name.word}"
                )
        with self._transaction() as conn:
            for member in family:
                names = {"schema": member.schema, "table": member.table, "gaps": [*GAPS]}
                conn.execute(Q["unpause"], {"pipeline": self._pipeline, **names})
            self.note("resumed", name, "by an operator")

    def resync(self, name: TableName) -> None:
        """Copies the table and its family again beside what serves now, by the files."""
        tables = self.tables()
        self._planner.refresh(table.source for table in tables)
        # All of them first: a family of which one member cannot be copied stays as it is.
        plans = {member: self._planner.from_file(member) for member in sorted(self.family(name))}
        for member, (plan, document) in plans.items():
            mine = [t for t in tables if t.source == member]
            for newer in mine[1:]:
                self._forget(newer)
            oldest = mine[0]
            served = oldest.stage in ("catching-up", "streaming")
            generation = oldest.generation + 1 if served else oldest.generation
            while served and exists(self._conn, swap.beside(plan.target, generation)):
                generation += 1  # somebody's own table has that name
            relation = swap.beside(plan.target, generation) if served else plan.target
            if not served:
                self._forget(oldest)
            with self._transaction() as conn:
                swap.create(conn, plan, relation)
                self._add(
                    conn, member, generation, relation, document, plan.version, plan.table.rows
                )
            self._planner.refresh(table.source for table in tables)
        self.note("resync", name, "by an operator")

    def _forget(self, table: TableState) -> None:
        with self._transaction() as conn:
            swap.drop(conn, table.target)
            conn.execute(Q["drop_table"], {"pipeline": self._pipeline, **table.key})

    def lose_copies(self, source: pymysql.Connection[Any], source_id: str) -> set[TableName]:
        """If it is another server now: copies with rows of commits that it lost are to begin anew.

        These tables stop, and are returned. Those that follow the main stream are judged by its
        position, which is past all that.
        """
        known = read_pipeline(self._conn, self._pipeline)
        if known is None or known.source_id in ("", source_id):
            return set()
        names = {"pipeline": self._pipeline}
        seen: dict[tuple[TableName, int], list[Position]] = {}
        for schema, table, generation, text in self._conn.execute(Q["seen"], names):
            key = (TableName(schema, table), generation)
            seen.setdefault(key, []).append(Position.parse(text))
        lost = lacking(source, seen)
        tables = [t for t in self.tables() if (t.source, t.generation) in lost]
        if tables:
            what = "rows were copied of commits that the source lost when another server became it"
            self.lose(tables, "source-replaced", what)
        return {table.source for table in tables}

    def recognise(self, source_id: str, *, renamed: bool) -> None:
        """Notes which server is followed.

        If it is another one than before (`renamed`), GTIDs stay, and its predecessor's binlog
        coordinates go.
        """
        with self._transaction() as conn:
            conn.execute(Q["recognise"], {"pipeline": self._pipeline, "source_id": source_id})
            if renamed:
                for forget in ("forget_coordinates", "forget_position_coordinates"):
                    conn.execute(Q[forget], {"pipeline": self._pipeline})
        if renamed:
            self.note("source", TableName("", ""), f"the source is another server now: {source_id}")

    def note(self, kind: str, name: TableName, message: str) -> None:
        """Writes down what happened."""
        add_event(self._conn, self._pipeline, kind, str(name) if name.table else "", message)

    def _add(
        self,
        conn: Connection,
        name: TableName,
        generation: int,
        relation: TableName,
        document: dict[str, Any],
        version: str,
        rows: int,
    ) -> None:
        conn.execute(
            Q["add_table"],
            {
                "pipeline": self._pipeline,
                "schema": name.schema,
                "table": name.table,
                "generation": generation,
                "target_schema": relation.schema,
                "target_table": relation.table,
                "mapping": Jsonb(document),
                "version": version,
                "rows": rows,
            },
        )

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._conn.transaction():
            self._lease.guard(self._conn)
            yield self._conn
