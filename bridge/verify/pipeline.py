"""What a verification of a pipeline works with, made from where its two databases are."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pymysql

from bridge.capture.binlog.positions import server_identity
from bridge.config import Settings
from bridge.config.models import VerifySettings
from bridge.databases import mysql, postgres
from bridge.databases.endpoint import Endpoint
from bridge.errors import ConfigError, PositionPurged
from bridge.mapping.model import TableMapping
from bridge.names import TableName
from bridge.verify.changes import Dump
from bridge.verify.probes import Limits, Watched
from bridge.verify.run import Verifier
from bridge.verify.table import Sessions
from bridge.verify.tables import Followed, Unfit, prepare, states

if TYPE_CHECKING:
    from bridge.change.position import Position

FIRST_NUMBER = 1 << 30
"""Replica numbers from here on are a verification's, below the daemons' (replicate.servers)."""
HEARTBEAT_SECONDS = 1.0
"""How often the source says that its log goes on, where nothing is written."""
MOST_OFFSET = 1 << 32
"""The protocol's offsets end there."""
APPLICATION = "dbbridge verify"


@dataclass(frozen=True, slots=True)
class Reads:
    """Where and how sweeps read: the settings under ``verify``, replicas as endpoints."""

    source: Endpoint | None = None
    target: Endpoint | None = None
    replica: Endpoint | None = None
    settings: VerifySettings = field(default_factory=VerifySettings)


def reads(settings: Settings) -> Reads:
    """Resolves secrets; raises ConfigError."""
    chosen = settings.verify
    found: dict[str, Endpoint | None] = {}
    for role, kind in (("source", "mysql"), ("target", "postgresql"), ("replica", "")):
        name = getattr(chosen, role)
        found[role] = endpoint = settings.endpoint(name) if name else None
        if endpoint is not None and kind not in ("", endpoint.kind):
            raise ConfigError(
                f"verify.{role}: “{name}” is a {endpoint.kind} database",
                f"name a replica of the pipeline's {role} in {settings.path}",
            )
    return Reads(found["source"], found["target"], found["replica"], chosen)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Opens sessions; whoever opens them closes them. See `table.Sessions`."""

    from_: Endpoint
    to: Endpoint
    reads: Reads = field(default_factory=Reads)

    def source(self) -> pymysql.Connection[Any]:
        """On the source."""
        return mysql.connect(self.from_)

    def target(self) -> psycopg.Connection[Any]:
        """On the target, in autocommit mode."""
        return postgres.connect(self.to, autocommit=True, application_name=APPLICATION)

    @property
    def replicas(self) -> Endpoints:
        """What sweeps read."""
        return Endpoints(self.reads.source or self.from_, self.reads.target or self.to)

    def limits(self, pipeline: str) -> Limits:
        """What sweeps wait for."""
        chosen, walked, watched = self.reads.settings, self.replicas, self.reads.replica
        return Limits(
            pipeline,
            Watched("the target", self.target),
            Watched(chosen.source or "the source", walked.source),
            Watched(chosen.target or "the target", walked.target),
            Watched(chosen.replica, partial(_connect, watched)) if watched else None,
            chosen.threads_running,
            chosen.replica_lag,
            chosen.statement_seconds,
        )


@dataclass(frozen=True, slots=True)
class SourceLog:
    """The log of the source, as a replica of that `number` reads it; see `follow.OpenLog`."""

    connect: Callable[[], pymysql.Connection[Any]]
    number: int

    def __call__(self, start: Position, server: str = "") -> Dump:
        """Raises SourceError, ServerUnreachable, ServerRefused.

        Coordinates without GTIDs that are another server's raise PositionPurged.
        """
        # Imported here, since by then the servers are at work.
        from bridge.capture.binlog.connection import BinlogConnection
        from bridge.change.position import Position

        conn = self.connect()
        try:
            identity = server_identity(conn)
            exact = _exact(conn, start, server, identity)
        except BaseException:
            conn.close()
            raise
        if exact:
            start = Position.at(start.file, start.offset)
        log = BinlogConnection.open(lambda: conn, start, self.number, HEARTBEAT_SECONDS)
        return Dump(log, identity, exact)


def _exact(conn: pymysql.Connection[Any], start: Position, server: str, identity: str) -> bool:
    """Whether coordinates that are of the log of `server` are believed by the one of `identity`.

    It may be the same by name and have a new log: one that lacks what was read is another.
    """
    from bridge.replicate.origin import obstacle  # when a log is read, like what reads it

    if start.kind == "file":
        if server not in ("", identity):
            raise PositionPurged("without GTID a position says nothing on another server")
        return True
    known = server == identity and start.file and start.offset < MOST_OFFSET
    return bool(known) and not obstacle(conn, identity, server, [start])


def _connect(endpoint: Endpoint) -> Any:
    if endpoint.kind == "mysql":
        return mysql.connect(endpoint)
    return postgres.connect(endpoint, autocommit=True, application_name=APPLICATION)


def open_verifier(
    pipeline: str,
    endpoints: Endpoints,
    source: pymysql.Connection[Any] | None = None,
    sessions: Sessions | None = None,
) -> Verifier:
    """Asks the source who it is (over a session that is there); see `Endpoints.source`.

    `sessions`: what opens sessions on both databases, if that is not `endpoints`.
    """
    if source is None:
        with closing(endpoints.source()) as opened:
            return open_verifier(pipeline, endpoints, opened, sessions)
    sessions = sessions or endpoints
    log = SourceLog(sessions.source, FIRST_NUMBER + secrets.randbelow(FIRST_NUMBER))
    elsewhere = endpoints.reads.source or endpoints.reads.target
    return Verifier(
        pipeline,
        sessions,
        log,
        server_identity(source),
        endpoints.replicas if elsewhere else None,
        endpoints.reads.source is not None,
        partial(endpoints.limits, pipeline),
    )


def carried_tables(
    pipeline: str,
    endpoints: Endpoints,
    mappings: Mapping[TableName, TableMapping],
    only: Iterable[TableName] | None = None,
) -> dict[TableName, Followed | Unfit]:
    """All tables that the mapping files or the pipeline carry, by name in order; or `only` some."""
    with closing(endpoints.source()) as source, closing(endpoints.target()) as target:
        return tables_of(pipeline, source, target, mappings, only)


def tables_of(
    pipeline: str,
    source: pymysql.Connection[Any],
    target: psycopg.Connection[Any],
    mappings: Mapping[TableName, TableMapping],
    only: Iterable[TableName] | None = None,
) -> dict[TableName, Followed | Unfit]:
    """The same over sessions that are there."""
    known = states(target, pipeline)
    mapped = {name for name, mapping in mappings.items() if mapping.target is not None}
    names = sorted((mapped | known.keys()) if only is None else only)
    return {table.name: table for table in prepare(source, known, mappings, names)}
