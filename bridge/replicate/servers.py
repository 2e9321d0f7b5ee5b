"""The daemon's ways to its servers, and what their errors mean for going on."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pymysql

from bridge.capture.binlog.connection import BinlogConnection
from bridge.change.position import Position
from bridge.databases.mysql import source_error
from bridge.databases.postgres import target_error
from bridge.errors import BridgeError, ServerUnreachable
from bridge.names import TableName

HEARTBEAT_SECONDS = 1.0
"""How soon an idle source says that it is idle."""
_TRANSIENT_STATES = ("08", "53", "57", "25006", "25P03", "40001", "40P01", "55P03")
"""SQLSTATEs after which the same work can succeed: connection, resources, shutdown, a standby that
is being promoted, a transaction that stood still, serialization, deadlock, lock timeout (manual,
"PostgreSQL Error Codes").
"""


@dataclass(frozen=True, slots=True)
class Servers:
    """Opens sessions: on the source, on the server that is copied from, on the target.

    `replica` tells that the copy does not come from the source itself, whose binlog coordinates
    then mean nothing there. `heartbeat`: the table in the source that may be written to, and how
    often (seconds).
    """

    source: Callable[[], pymysql.Connection[Any]]
    copy_source: Callable[[], pymysql.Connection[Any]]
    target: Callable[[], psycopg.Connection[Any]]
    pipeline: str
    replica: bool = False
    heartbeat: tuple[TableName, float] | None = None

    def binlog(self, start: Position, *, catching_up: bool = False) -> BinlogConnection:
        """The source's changes after `start`."""
        number = server_id(self.pipeline, catching_up)
        return BinlogConnection.open(self.source, start, number, HEARTBEAT_SECONDS)


def server_id(pipeline: str, catching_up: bool) -> int:
    """The replica number of a stream: stable, so that a restart replaces its own old dump thread.

    In the upper half of the range, where hardly anybody numbers servers by hand; odd for the main
    stream, even for the one that catches up.
    """
    return 0x80000000 | (zlib.crc32(pipeline.encode()) & 0x3FFFFFFF) << 1 | (not catching_up)


def meaning(error: Exception) -> Exception:
    """A driver's error as the bridge's; what is already ours, or a defect, comes back as it is."""
    if isinstance(error, BridgeError):
        return error
    if isinstance(error, pymysql.Error):
        return source_error(error)
    if isinstance(error, psycopg.Error):
        state = error.sqlstate or ""
        if state.startswith(_TRANSIENT_STATES):
            return ServerUnreachable(
                f"the target: {error.diag.message_primary or error}", "waiting until it works again"
            )
        return target_error(error)
    if isinstance(error, OSError):
        return ServerUnreachable(f"the connection broke: {error}", "is the network well?")
    return error
