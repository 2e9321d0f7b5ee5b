"""A reader of chunks outside the daemon: takes what a daemon has offered, one chunk after another.

The daemon's epoch is checked in every transaction, and the session that reads is known to the
daemon before anything is locked: one that freezes is ended, and one that dies leaves nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import pymysql
from psycopg.types.json import Jsonb

from bridge.capture.binlog.positions import server_identity
from bridge.capture.catalog import read_catalog
from bridge.errors import BridgeError, ConfigError, LeaseLost, TableStopped
from bridge.mapping.compile import compile_table
from bridge.mapping.model import from_document
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.replicate.chunk import copy_chunk
from bridge.replicate.errands import MOST_TRIES
from bridge.replicate.points import passing
from bridge.replicate.servers import Servers, meaning
from bridge.sink.target import Target
from bridge.store.lease import STALE_SECONDS, Fence
from bridge.store.state import Connection, Q

BEAT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Errand:
    """A chunk that was claimed."""

    id: int
    table: TableName
    generation: int
    number: int

    @property
    def names(self) -> dict[str, Any]:
        """Bindings that name the chunk in the control schema (without the pipeline)."""
        return {
            "schema": self.table.schema,
            "table": self.table.table,
            "generation": self.generation,
            "number": self.number,
        }


class Reader:
    """Reads for the daemon of one epoch, which copies from the server `source_id`."""

    def __init__(self, servers: Servers, fence: Fence, source_id: str, worker: str) -> None:
        self._servers = servers
        self._fence = fence
        self._source_id = source_id
        self._worker = worker
        self._plans: dict[tuple[TableName, int, str], TablePlan] = {}

    def run(self, wanted: Callable[[], bool]) -> tuple[int, int]:
        """Reads until nothing is free, or not `wanted` any more: (chunks, rows).

        Raises LeaseLost where that daemon is not the current one, ConfigError where this process
        reads from another server, and what keeps it from reading.
        """
        servers, chunks, rows = self._servers, 0, 0
        with (
            closing(servers.copy_source()) as source,
            closing(servers.target()) as conn,
            closing(servers.target()) as notes,
        ):
            if server_identity(source) != self._source_id:
                raise ConfigError(
                    f"{self._worker} reads from {server_identity(source)}, but the daemon copies"
                    f" from {self._source_id}",
                    "start the worker with the daemon's settings",
                )
            while wanted():
                errand = self._claim(conn, notes)
                if errand is None:
                    break
                copied = self._read(source, conn, notes, errand)
                if copied is None:
                    break
                chunks, rows = chunks + 1, rows + copied
        return chunks, rows

    def _claim(self, conn: Connection, notes: Connection) -> Errand | None:
        names = {"pipeline": self._fence.pipeline, "epoch": self._fence.epoch}
        limits = {"most": MOST_TRIES, "stale": STALE_SECONDS}
        mine = {"worker": self._worker, "pid": conn.info.backend_pid}
        row = notes.execute(Q["claim_errand"], {**names, **limits, **mine}).fetchone()
        if row is None:
            return None
        number, schema, table, *place = row
        return Errand(number, TableName(schema, table), *place)

    def _read(
        self,
        source: pymysql.Connection[Any],
        conn: Connection,
        notes: Connection,
        errand: Errand,
    ) -> int | None:
        """The rows of the chunk; None if it is not to be had. Notes why it came to nothing."""

        def leave(error: str | None, stop: TableStopped | None = None) -> None:
            told = {"code": stop.code, "message": stop.message, "hint": stop.hint} if stop else None
            with suppress(psycopg.Error):
                names = {"id": errand.id, "pid": conn.info.backend_pid}
                stopped = None if told is None else Jsonb(told)
                notes.execute(Q["leave_errand"], {**names, "error": error, "stop": stopped})

        try:
            with self._beating(conn, notes, errand):
                copied = self._copy(source, conn, errand)
        except TableStopped as stop:
            leave(stop.message, stop)
            return 0
        except LeaseLost:
            raise
        except Exception as error:
            known = meaning(error)
            leave(known.message if isinstance(known, BridgeError) else f"internal: {error!r}")
            raise known from error
        if copied is None:
            leave(None)
        return copied

    def _copy(
        self, source: pymysql.Connection[Any], conn: Connection, errand: Errand
    ) -> int | None:
        names = {"pipeline": self._fence.pipeline, **errand.names}
        with conn.transaction():
            self._fence.guard(conn)
            target = self._target(conn, errand)
            if target is None:
                return None
            copied = copy_chunk(conn, source, self._servers, target, names)
            if copied is None:
                return None
            conn.execute(Q["finish_errand"], {"id": errand.id})
        passing("copy.chunk-committed")
        return copied[0]

    def _target(self, conn: Connection, errand: Errand) -> Target | None:
        """The table as it is now, and until the transaction ends; None if it is not copied."""
        names = {"pipeline": self._fence.pipeline, **errand.names}
        row = conn.execute(Q["copying_table"], names).fetchone()
        if row is None:
            return None
        schema, table, mapping, version = row
        known = (errand.table, errand.generation, version)
        if known not in self._plans:
            self._plans[known] = self._plan(errand.table, mapping, version)
        return Target(self._plans[known], errand.generation, TableName(schema, table))

    def _plan(self, name: TableName, mapping: dict[str, Any], version: str) -> TablePlan:
        with closing(self._servers.source()) as source:
            found = read_catalog(source, name.schema, {name.table}).get(name)
        try:
            plan = compile_table(from_document(mapping), found) if found else None
        except TableStopped:
            raise
        except BridgeError:
            plan = None
        if plan is None or plan.version != version:
            raise TableStopped(
                f"{name} is defined otherwise than when its copy began",
                f"bring the mapping up to date with dbbridge init, then: dbbridge tables resync"
                f" {name.word}",
                "definition-changed",
            )
        return plan

    @contextmanager
    def _beating(self, conn: Connection, notes: Connection, errand: Errand) -> Iterator[None]:
        """Says meanwhile that this process lives, whatever it waits for."""
        over = threading.Event()
        names = {"id": errand.id, "pid": conn.info.backend_pid}

        def beat() -> None:
            with suppress(psycopg.Error):
                while not over.wait(BEAT_SECONDS):
                    notes.execute(Q["beat_errand"], names)

        threading.Thread(target=beat, name="beat", daemon=True).start()
        try:
            yield
        finally:
            over.set()
