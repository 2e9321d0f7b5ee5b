"""The state of a pipeline as one value: what `status` prints as text and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.names import TableName
from bridge.report.groups import GroupStatus, read_groups
from bridge.store.state import (
    Connection,
    DaemonState,
    Q,
    TableState,
    read_daemon,
    read_pipeline,
    read_tables,
)

_KNOWN = """
SELECT to_regclass('dbbridge.pipeline') IS NOT NULL,
       to_regclass('dbbridge.overrides') IS NOT NULL,
       to_regclass('dbbridge.way_back') IS NOT NULL"""
"""Then: whether the control schema is new enough to know of verifications, and of groups."""


@dataclass(frozen=True, slots=True)
class Proven:
    """Up to which position a table is proven equal, and for how many seconds that has been so."""

    position: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Status:
    """One look at the control schema."""

    pipeline: str
    daemon: DaemonState | None
    position: str | None
    tables: tuple[TableState, ...]
    proven: Mapping[TableName, Proven] = field(default_factory=dict)
    """The tables that are proven equal."""
    throttled: str = ""
    """Why verification waits at the moment."""
    groups: tuple[GroupStatus, ...] = ()
    """Those for which a mode was ever set or a switch was begun."""
    unconfirmed: int = 0
    """Operations that were written early and that the stream has not brought yet."""

    @property
    def state(self) -> str:
        """running, silent (its holder says nothing), or stopped (no daemon)."""
        if self.daemon is None:
            return "stopped"
        return "silent" if self.daemon.silent else "running"

    @property
    def said(self) -> Mapping[str, Any]:
        """What the daemon last said of itself."""
        return self.daemon.status if self.daemon else {}

    @property
    def phase(self) -> str:
        """What the daemon is at: one that has just begun has said nothing yet."""
        return str(self.said.get("phase") or ("starting" if self.daemon else "stopped"))

    @property
    def next(self) -> str:
        """The command that comes next."""
        for table in self.tables:
            if table.fault is not None:
                return f"dbbridge explain {table.source.word}"
        if any(table.quarantined for table in self.tables):
            return "dbbridge quarantine list"
        if self.state != "running":
            return "dbbridge sync"
        if any(table.paused for table in self.tables):
            return "dbbridge tables resume NAME"
        if all(table.stage in ("streaming", "switched") for table in self.tables):
            return "dbbridge verify"
        return "dbbridge status --watch"

    @property
    def lag_seconds(self) -> float | None:
        """By how much the stream is behind the source; None: no daemon says so now."""
        return self.daemon.lag_seconds if self.daemon else None

    def _eta(self, table: TableState) -> float | None:
        """Seconds until the table is copied at today's rate; None: not known."""
        if table.stage in ("catching-up", "streaming", "switched"):
            return 0.0
        left = sum(max(0, t.rows_estimated - t.rows_copied) for t in self.tables if t.active)
        rate = self.said.get("rows_per_second") or 0.0
        return round(left / rate, 1) if rate and table.active else None

    def document(self) -> dict[str, Any]:
        """The JSON of the command-line contract."""
        lag = self.said.get("lag_seconds") if self.daemon else None
        return {
            "pipeline": self.pipeline,
            "state": self.state,
            "phase": self.phase,
            "position": self.position,
            "lag_seconds": lag,
            "backlog_bytes": self.said.get("backlog_bytes"),
            "runway_seconds": None,
            "rows_per_second": self.said.get("rows_per_second", 0.0),
            **({"kafka": self.said["kafka"]} if self.said.get("kafka") else {}),
            "throttled": {"by": "verify", "reason": self.throttled} if self.throttled else None,
            **({"groups": [one.document() for one in self.groups]} if self.groups else {}),
            **({"unconfirmed_ops": self.unconfirmed} if self.groups else {}),
            "tables": [
                table_document(table, self._eta(table), self.proven.get(table.source))
                for table in self.tables
            ],
        }


def table_document(
    table: TableState, eta_seconds: float | None, proven: Proven | None
) -> dict[str, Any]:
    """One table of the JSON."""
    return {
        "table": str(table.source),
        "target": str(table.target),
        "state": table.state,
        "rows_copied": table.rows_copied,
        "rows_estimated": table.rows_estimated,
        "bytes_copied": table.bytes_copied,
        "eta_seconds": eta_seconds,
        "inserts": table.inserts,
        "updates": table.updates,
        "deletes": table.deletes,
        "ddl": table.ddl,
        "quarantined": table.quarantined,
        "violations": table.violations,
        "verified_to": proven.position if proven else None,
        "verified_seconds_ago": round(proven.seconds, 1) if proven else None,
        "frontier": str(table.frontier) if table.frontier else None,
        "error": table.fault.message if table.fault else None,
        "code": table.fault.code if table.fault else None,
        "next": table.fault.hint if table.fault else None,
    }


def read_status(conn: Connection, pipeline: str) -> Status | None:
    """Looks; None where the control schema does not know the pipeline."""
    found = conn.execute(_KNOWN).fetchone()
    if not found or not found[0]:
        return None
    state = read_pipeline(conn, pipeline)
    if state is None:
        return None
    tables = tuple(read_tables(conn, pipeline))
    frontiers = [t.frontier for t in tables if t.active and t.frontier]
    oldest = min(frontiers, key=lambda f: f.coordinates, default=state.position)
    position = str(oldest) if oldest else None
    daemon, known = read_daemon(conn, pipeline), {"pipeline": pipeline}
    if not found[1]:
        return Status(pipeline, daemon, position, tables)
    proofs = conn.execute(Q["verified_to"], known).fetchall()
    verified = {TableName(schema, table): Proven(*proof) for schema, table, *proof in proofs}
    waits = conn.execute(Q["throttled_verification"], known).fetchone()
    throttled = waits[0] if waits else ""
    if not found[2]:
        return Status(pipeline, daemon, position, tables, verified, throttled)
    reads = state.position is not None
    groups = read_groups(conn, pipeline, tables, verified, reads=reads)
    (unconfirmed,) = conn.execute(Q["unconfirmed"], known).fetchone() or (0,)
    return Status(pipeline, daemon, position, tables, verified, throttled, groups, int(unconfirmed))
