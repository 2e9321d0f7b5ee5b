"""What the control schema says of a pipeline and its tables, as frozen values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

import psycopg

from bridge.change.position import Kind, Position
from bridge.names import TableName
from bridge.store.sql import queries

SILENT_SECONDS = 10.0
"""A daemon that has not renewed its lease for so long is said to be silent."""
Connection = psycopg.Connection[Any]
Stage = Literal["new", "copying", "catching-up", "streaming", "switched"]
Q = queries("bridge.store", "queries.sql")


@dataclass(frozen=True, slots=True)
class PipelineState:
    """The main stream: everything up to `position` is in the target (None: nothing streams yet).

    `source_id` names the server that the position's coordinates belong to; times are seconds since
    1970.
    """

    epoch: int
    position: Position | None
    source_id: str
    source_time: float | None
    applied_at: float | None


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a table stands still, and what to do."""

    code: str
    message: str
    hint: str


GAPS = {
    "ddl": "the source changed its definition where it stands",
    "source-replaced": "the server that is the source now lacks some of what it was read from",
    "snapshot-restarted": "nobody knows what changed before the connector began anew",
    "definitions-lost": "nobody knows whether its definition changed meanwhile",
}
"""Codes of faults with which a generation cannot go on from its frontier, and why."""


@dataclass(frozen=True, slots=True)
class TableState:
    """One followed table (one generation of it).

    `frontier` is the position up to which it is applied; None: where the pipeline's position is.
    `until` are the binlog coordinates (file, offset) that the stream must pass before the copied
    rows and the stream agree (None: it has; file '': unknown on this server, to be taken anew).
    `marker` is the number of the marker that put it into its stage, `violations` counts what was
    changed on the source since the target has authority. `indexing`: consumers of Kafka's topics
    leave it out until its indexes are built.
    """

    source: TableName
    generation: int
    target: TableName
    stage: Stage
    paused: bool
    fault: Fault | None
    frontier: Position | None
    until: tuple[str, int] | None
    planned: bool
    indexed: bool
    mapping: dict[str, Any]
    version: str
    rows_estimated: int = 0
    rows_copied: int = 0
    bytes_copied: int = 0
    inserts: int = 0
    updates: int = 0
    deletes: int = 0
    ddl: int = 0
    violations: int = 0
    marker: int = 0
    indexing: bool = False
    quarantined: int = 0

    @property
    def key(self) -> dict[str, Any]:
        """The bindings that name this row in the queries (without the pipeline)."""
        return {
            "schema": self.source.schema,
            "table": self.source.table,
            "generation": self.generation,
        }

    @property
    def active(self) -> bool:
        """Neither paused nor stopped by a fault."""
        return not self.paused and self.fault is None

    @property
    def replaced(self) -> bool:
        """Whether its frontier is one of a server that is the source no more."""
        return self.fault is not None and self.fault.code == "source-replaced"

    @property
    def state(self) -> str:
        """The word that `status` shows."""
        if self.fault is not None:
            return "stopped"
        return "paused" if self.paused else self.stage

    @property
    def why(self) -> str:
        """Why it has stopped, for a reader who has been told which table it is; '': it has not."""
        return self.source.left_out_of(self.fault.message) if self.fault else ""


@dataclass(frozen=True, slots=True)
class DaemonState:
    """The holder of the lease and its last words; ages in seconds."""

    epoch: int
    host: str
    boot: str
    pid: int
    backend: int
    running_seconds: float
    silent_seconds: float
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def silent(self) -> bool:
        """Whether it has not renewed its lease for so long that it may be gone."""
        return self.silent_seconds >= SILENT_SECONDS

    @property
    def lag_seconds(self) -> float | None:
        """By how much the stream is behind the source; None: it does not say so now."""
        lag = self.status.get("lag_seconds")
        return None if lag is None or self.silent else float(lag)


def bind(position: Position) -> dict[str, Any]:
    """The bindings for a position."""
    return {
        "kind": position.kind,
        "text": position.text,
        "file": position.file,
        "offset": position.offset,
    }


def _position(kind: str | None, text: str | None, file: str, offset: int) -> Position | None:
    if kind is None or text is None:
        return None
    return Position(cast(Kind, kind), text, file, offset)


def read_pipeline(conn: Connection, pipeline: str) -> PipelineState | None:
    """The pipeline's row; None if it was never started."""
    row = conn.execute(Q["pipeline"], {"pipeline": pipeline}).fetchone()
    if row is None:
        return None
    epoch, kind, text, file, offset, source_id, source_time, applied_at = row
    return PipelineState(
        epoch, _position(kind, text, file, offset), source_id, source_time, applied_at
    )


def read_daemon(conn: Connection, pipeline: str) -> DaemonState | None:
    """The lease's row; None where no daemon runs (or the last one ended in order)."""
    row = conn.execute(Q["daemon"], {"pipeline": pipeline}).fetchone()
    return DaemonState(*row) if row else None


def read_tables(conn: Connection, pipeline: str) -> list[TableState]:
    """All followed tables, oldest generation first."""
    return [_table(row) for row in conn.execute(Q["tables"], {"pipeline": pipeline})]


def is_there(conn: Connection) -> bool:
    """Whether the target has the control schema: not before the first sync."""
    found = conn.execute("SELECT to_regclass('dbbridge.tables') IS NOT NULL").fetchone()
    return bool(found and found[0])


def made_targets(conn: Connection, pipeline: str) -> frozenset[TableName]:
    """The tables of the target that the pipeline has begun to fill; none before its first sync."""
    tables = read_tables(conn, pipeline) if is_there(conn) else []
    return frozenset(t.target for t in tables if t.stage != "new")


def _table(row: tuple[Any, ...]) -> TableState:
    (schema, table, generation, target_schema, target_table, stage, paused, *rest) = row
    code, error, hint, kind, text, file, offset, until_file, until_offset, *facts = rest
    return TableState(
        TableName(schema, table),
        generation,
        TableName(target_schema, target_table),
        stage,
        paused,
        Fault(code, error or "", hint or "") if code else None,
        _position(kind, text, file, offset),
        None if until_file is None else (until_file, until_offset or 0),
        *facts,
    )


def add_event(conn: Connection, pipeline: str, kind: str, subject: str, message: str) -> None:
    """Writes down what happened, for `dbbridge events` and the certificate."""
    conn.execute(
        Q["add_event"],
        {"pipeline": pipeline, "kind": kind, "subject": subject, "message": message},
    )


def leave_stream(
    conn: Connection,
    pipeline: str,
    table: TableState,
    fault: Fault | None = None,
    *,
    paused: bool = False,
) -> None:
    """The table stands still where it is; a fault that is a gap stays, whatever comes after it."""
    about = asdict(fault) if fault else {"code": None, "message": None, "hint": None}
    gap = fault is not None and fault.code in GAPS
    ddl = int(fault is not None and fault.code == "ddl")
    names = {"pipeline": pipeline, **table.key, **about, "kept": [] if gap else [*GAPS]}
    conn.execute(Q["leave_stream"], {**names, "ddl": ddl, "paused": paused})
