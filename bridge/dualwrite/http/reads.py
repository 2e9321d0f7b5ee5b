"""Rows by key, from the side that may answer (`bridge.dualwrite.reading`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bridge.config.models import ProxyLimits
from bridge.dualwrite.http.problems import Problem, transient
from bridge.dualwrite.http.tables import Carried
from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.reading import After, Place, Wish
from bridge.errors import ServerUnreachable

_AWAY = (DBAPIError, PoolTimeout, ServerUnreachable)


def after_of(given: str) -> After:
    """What a write's answer has as “after”; raises Problem."""
    try:
        return After.parse(given)
    except ValueError:
        raise Problem(
            422,
            "wrong-after",
            "X-Bridge-After is not what a write's answer has as “after”",
            "send that text as it is",
        ) from None


class Reads:
    """Reads single rows."""

    def __init__(self, dual: DualWrite, limits: ProxyLimits) -> None:
        self._dual = dual
        self._limits = limits

    def get(
        self, table: Carried, key: Mapping[str, Any], wish: Wish
    ) -> tuple[Place, dict[str, Any]]:
        """The side that answered, and the row as JSON; raises Problem and the servers' errors."""
        limited = replace(
            wish, lag_seconds=self._limits.lag_seconds, wait_seconds=self._limits.wait_seconds
        )
        side = self._side(table, limited)
        try:
            return side, self._row(side, table, key)
        except _AWAY:
            home = self._side(table, Wish(prefer="source"))
            if home == side:
                raise
            return home, self._row(home, table, key)

    def _side(self, table: Carried, wish: Wish) -> Place:
        return self._dual.reads_side(table.group, wish, [table.plan.source])

    def _row(self, side: Place, table: Carried, key: Mapping[str, Any]) -> dict[str, Any]:
        query = select(table.on(side)).where(table.where(table.key_values(key, side), side))
        engine = self._dual.source if side == "source" else self._dual.target
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


def _first(engine: Engine, query: Any) -> Any:
    with engine.connect() as conn:
        return conn.execute(query).first()
