"""Rows by key, from the side that may answer.

The target answers only for a table that its stream carries, without a row in quarantine, while the
stream is not behind; and after a caller's own write only once that has arrived.
"""

from __future__ import annotations

import random
import time
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bridge.config.models import ProxyLimits
from bridge.dualwrite.http.problems import Problem, transient
from bridge.dualwrite.http.tables import Carried
from bridge.dualwrite.layer import DualWrite
from bridge.errors import ServerUnreachable

Side = Literal["source", "target"]
POLL_SECONDS = 0.01
SILENT_SECONDS = 10
"""After so long without a word the daemon is not there."""
_GATE = text(
    """
    SELECT t.stage = 'streaming' AND NOT t.paused AND t.error_code IS NULL
           AND NOT EXISTS (SELECT 1 FROM dbbridge.quarantine q
                           WHERE q.pipeline = t.pipeline AND (q.source_schema, q.source_table)
                               = (t.source_schema, t.source_table)),
           coalesce(d.renewed_at > now() - make_interval(secs => :silent)
                    AND coalesce((d.status ->> 'lag_seconds')::float8, 0) <= :lag, false),
           coalesce(o.pruned >= :number, false)
               OR EXISTS (SELECT 1 FROM dbbridge.applied_ops a WHERE a.op_id = :op)
    FROM dbbridge.tables t
    LEFT JOIN dbbridge.daemon d ON d.pipeline = t.pipeline
    LEFT JOIN dbbridge.ops o ON o.pipeline = t.pipeline
    WHERE t.pipeline = :pipeline AND t.source_schema = :schema AND t.source_table = :table
    ORDER BY t.generation DESC LIMIT 1
    """
)
_AWAY = (DBAPIError, PoolTimeout, ServerUnreachable)


@dataclass(frozen=True, slots=True)
class After:
    """A write that a read must see: the operation's number and name."""

    number: int
    op_id: uuid.UUID

    @classmethod
    def parse(cls, given: str) -> After:
        """As a write's answer has it; raises Problem."""
        number, _, name = given.partition(".")
        try:
            if len(number) > 19 or not number.isascii():
                raise ValueError
            return cls(int(number), uuid.UUID(name))
        except ValueError:
            raise Problem(
                422,
                "wrong-after",
                "X-Bridge-After is not what a write's answer has as “after”",
                "send that text as it is",
            ) from None


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller says of where to read; `pin` sends equal texts to the same side."""

    prefer: Side | None = None
    pin: str = ""
    after: After | None = None


class Reads:
    """Reads single rows."""

    def __init__(self, dual: DualWrite, pipeline: str, limits: ProxyLimits) -> None:
        self._dual = dual
        self._pipeline = pipeline
        self._limits = limits

    def get(
        self, table: Carried, key: Mapping[str, Any], wish: Wish
    ) -> tuple[Side, dict[str, Any]]:
        """The side that answered, and the row as JSON; raises Problem and the servers' errors."""
        known = self._dual.authorities().get(table.group)
        home: Side = "target" if known is not None and known.side == "target" else "source"
        side = wish.prefer or _drawn(home, known.reads_percent if known else 0, wish.pin)
        if side == "target" and home == "source" and not self._fit(table, wish.after):
            side = "source"
        if side == home:
            return side, self._row(side, table, key)
        try:
            return side, self._row(side, table, key)
        except _AWAY:
            return home, self._row(home, table, key)

    def _row(self, side: Side, table: Carried, key: Mapping[str, Any]) -> dict[str, Any]:
        query = select(table.on(side)).where(table.where(table.key_values(key, side), side))
        engine = self._engine(side)
        try:
            found = _first(engine, query)
        except DBAPIError as error:
            if not transient(error):
                raise
            found = _first(engine, query)
        if found is None:
            raise Problem(404, "no-such-row", f"{table.name} has no row of this key")
        names = [column.key for column in table.on(side).columns]
        return table.shown(dict(zip(names, found, strict=True)))

    def _fit(self, table: Carried, after: After | None) -> bool:
        """Whether the target has the table's rows, that write's among them; waits for it."""
        deadline = time.monotonic() + self._limits.wait_seconds
        names = {
            "pipeline": self._pipeline,
            "schema": table.plan.source.schema,
            "table": table.plan.source.table,
            "silent": SILENT_SECONDS,
            "lag": self._limits.lag_seconds,
            "number": after.number if after else -1,
            "op": after.op_id if after else None,
        }
        while True:
            try:
                row = _first(self._dual.target, _GATE, names)
            except _AWAY:
                return False
            if row is None or not row[0] or not row[1]:
                return False
            if after is None or row[2]:
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)

    def _engine(self, side: Side) -> Engine:
        return self._dual.source if side == "source" else self._dual.target


def _first(engine: Engine, query: Any, values: Mapping[str, Any] | None = None) -> Any:
    with engine.connect() as conn:
        return conn.execute(query, values or {}).first()


def _drawn(home: Side, percent: int, pin: str) -> Side:
    away: Side = "source" if home == "target" else "target"
    number = zlib.crc32(pin.encode()) % 100 if pin else random.randrange(100)  # noqa: S311
    return away if number < percent else home
