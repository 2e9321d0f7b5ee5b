"""How far the stream has come with one table, out of the control schema in the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import psycopg

from bridge.change.position import Kind, Position
from bridge.names import TableName
from bridge.store.sql import queries
from bridge.verify.recheck import Standing

Q = queries("bridge.verify", "queries.sql")
BAD_VALUES = frozenset(
    {"zero-date", "out-of-range", "ambiguous-time", "nul-character", "invalid-text", "invalid-json"}
    | {"too-long", "unknown-label"}
)
"""Codes of what `Family.bad` sees in the source's row."""
SILENT_SECONDS = 30.0
"""A daemon that has not renewed its lease for so long is taken for dead."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row that is kept out of the target: COPY text of its key, why, and in which column."""

    key: bytes
    code: str
    column: str


@dataclass(frozen=True, slots=True)
class Discarded:
    """A row that an operator gave up: why it could not be held, and why it was given up."""

    code: str
    reason: str

    def still(self, *, bad: bool) -> bool:
        """Whether the row is given up yet; `bad`: the source's row has a value that cannot be held.

        What was refused for another reason than a value cannot be told from the values.
        """
        return bad or self.code not in BAD_VALUES


class StoredPosition:
    """See `recheck.Applied`; `conn` is in autocommit mode, `source_id` names the source's server.

    Once looked at, the table must stay the one it was: one that is copied again meanwhile has no
    position that says anything about what was read before. `switched`: a table that the stream only
    watches stands where the stream stands, which holds while nobody writes on either side.
    """

    def __init__(
        self,
        conn: psycopg.Connection[Any],
        pipeline: str,
        table: TableName,
        source_id: str,
        *,
        switched: bool = False,
    ) -> None:
        self._conn = conn
        self._stages = ("streaming", "switched") if switched else ("streaming",)
        self._table = table
        self._source_id = source_id
        self._names = {"pipeline": pipeline, "schema": table.schema, "table": table.table}
        self._generation: int | None = None

    def standing(self) -> Standing:
        """The table's position; an obstacle where it will not move, or is not to be trusted."""
        row = self._conn.execute(Q["standing"], self._names).fetchone()
        if row is None:
            return Standing(None, "the pipeline does not follow this table", "dbbridge sync")
        (
            generation,
            stage,
            paused,
            code,
            error,
            kind,
            text,
            file,
            offset,
            source_id,
            silent,
            late,
        ) = row
        position = self._position(kind, text, file, offset, source_id)
        known, self._generation = self._generation, generation
        if known not in (None, generation):
            return Standing(None, "the table was copied again meanwhile", "dbbridge verify")
        if code:
            why = self._table.left_out_of(error)
            return Standing(position, f"stopped: {why}", f"dbbridge explain {self._table.word}")
        if paused:
            return Standing(position, "paused", f"dbbridge tables resume {self._table.word}")
        if stage == "switched" and stage not in self._stages:
            reason = "the target has authority over it, and the source follows"
            return Standing(None, reason, "dbbridge cutover status")
        if stage not in self._stages:
            return Standing(None, f"still {stage}", "dbbridge status --watch")
        if silent is None or silent > SILENT_SECONDS:
            reason = (
                f"no sync is running, and the stream stands at {position}, before what was read"
            )
            return Standing(position, reason, "dbbridge sync", late)
        return Standing(position, late=late)

    @property
    def streams(self) -> bool:
        """Whether the table takes part in the main stream (perhaps one that does not run now)."""
        standing = self.standing()
        return not standing.obstacle or standing.hint == "dbbridge sync"

    def quarantined(self) -> list[Quarantined]:
        """The rows kept out of the target, oldest first."""
        rows = self._conn.execute(
            Q["quarantined"], {**self._names, "generation": self._generation or 1}
        )
        return [Quarantined(bytes(key), code, column) for key, code, column in rows]

    def discarded(self) -> dict[bytes, Discarded]:
        """The rows that an operator gave up."""
        rows = self._conn.execute(Q["discarded"], self._names)
        return {bytes(key): Discarded(code, reason) for key, code, reason in rows}

    def _position(
        self, kind: str | None, text: str | None, file: str, offset: int, source_id: str
    ) -> Position | None:
        if kind is None or text is None:
            return None
        if source_id not in ("", self._source_id):
            file, offset = "", 0
        return Position(cast(Kind, kind), text, file, offset)
