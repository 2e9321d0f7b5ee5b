"""The reasons for which sweeps wait: an operator's word, busy servers, a replica that is behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pymysql

from bridge.databases import load
from bridge.errors import BridgeError
from bridge.store.overrides import Override, read_overrides
from bridge.verify.pace import Probe

Connect = Callable[[], Any]
OURS = 2
"""Statements that a sweep itself has under way on a server, at most."""


@dataclass
class Watched:
    """A server that is looked at, over a session that is opened again when it broke.

    One thread asks; another one may close it meanwhile.
    """

    name: str
    connect: Connect
    _conn: Any = None
    _closed: bool = False

    def ask(self, question: Callable[[Any], Any]) -> Any:
        """The answer; raises what the driver raises, and then begins with a new session.

        Raises BridgeError once it is closed.
        """
        conn = self._conn = self._conn or self.connect()
        if self._closed:  # which may have been while the session was opened
            self._end()
            raise BridgeError(f"{self.name} is not looked at any more")
        try:
            return question(conn)
        except (psycopg.Error, pymysql.Error, OSError):
            self._end()
            raise

    def close(self) -> None:
        """Ends the session; there will be no other one."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            with suppress(Exception):
                conn.close()


@dataclass
class Limits:
    """What the settings allow, over which an operator's word goes.

    `control` is where that is kept; `source` and `target` are read by the sweeps, `replica` must
    not be more than `replica_lag` seconds behind.
    """

    pipeline: str
    control: Watched
    source: Watched
    target: Watched
    replica: Watched | None = None
    threads_running: int | None = None
    replica_lag: float = 10.0
    statement_seconds: float | None = None
    _overrides: dict[str, Override] = field(default_factory=dict)

    @property
    def bounded(self) -> bool:
        """Whether the settings have a limit, so that reading goes in pieces."""
        return bool(self.threads_running or self.replica or self.statement_seconds)

    def probes(self) -> list[Probe]:
        """In the order in which they are asked."""
        return [self._paused, self._busy, self._behind]

    def close(self) -> None:
        """Ends the sessions."""
        for each in (self.control, self.source, self.target, self.replica):
            if each is not None:
                each.close()

    def _paused(self) -> str:
        self._overrides = self.control.ask(lambda conn: read_overrides(conn, self.pipeline))
        return "paused by dbbridge set verify.paused" if self._value("verify.paused", 0) else ""

    def _busy(self) -> str:
        most = self._value("verify.threads_running", self.threads_running)
        if most is None:
            return ""
        for name, running in self._running():
            if running - OURS >= most:
                return f"{name} runs {running} statements (verify.threads_running: {most})"
        return ""

    def _running(self) -> Iterator[tuple[str, int]]:
        yield self.source.name, self.source.ask(load.mysql_running)
        yield self.target.name, self.target.ask(load.postgres_running)

    def _behind(self) -> str:
        if self.replica is None:
            return ""
        most = self._value("verify.replica_lag", self.replica_lag)
        behind = self.replica.ask(_behind)
        if behind is None:
            return f"{self.replica.name} does not replicate"
        if behind > most:
            return f"{self.replica.name} is {behind:.0f} s behind (verify.replica_lag: {most:g} s)"
        return ""

    def _value(self, name: str, default: Any) -> Any:
        found = self._overrides.get(name)
        return default if found is None else found.value


def _behind(conn: Any) -> float | None:
    if isinstance(conn, psycopg.Connection):
        return load.postgres_behind(conn)
    return load.mysql_behind(conn)
