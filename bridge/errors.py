"""The one tree of errors: what happened, what to do, and whether it heals by itself.

The command line prints them as two lines (``error: …`` and ``hint: …``) and exits with `exit_code`.
"""

from __future__ import annotations

from typing import ClassVar

from bridge.names import TableName


class BridgeError(Exception):
    """Root of all errors that a user may see.

    `message` says what is wrong, naming the object; `hint` says what to do next. Neither ever holds
    a secret. `transient` errors heal by themselves (a server that restarts), so a daemon waits and
    tries again instead of stopping.
    """

    exit_code: ClassVar[int] = 1
    transient: ClassVar[bool] = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(BridgeError):
    """A setting, a mapping file or an argument is wrong; nothing was changed."""

    exit_code = 2


class MappingError(ConfigError):
    """A mapping file is wrong; the message names file and line."""


class Inconclusive(BridgeError):
    """Neither yes nor no can be said yet (a table is paused, the stream is behind)."""

    exit_code = 3


class ServerUnreachable(BridgeError):
    """No connection, or it broke: the server is down, restarting, or the network is."""

    exit_code = 4
    transient = True


class ServerRefused(BridgeError):
    """The server answered and said no: wrong password, missing grant, a setting that forbids it."""

    exit_code = 4


class SourceError(ServerRefused):
    """The source cannot give what is needed (binlog off, purged, statement format)."""


class PositionPurged(SourceError):
    """What comes after a position is no longer in the source's log."""


class LeaseHeld(BridgeError):
    """Another daemon runs this pipeline; the message names it."""


class LeaseLost(BridgeError):
    """Another daemon took this pipeline over; this one must not write any more."""


class TableStopped(BridgeError):
    """One table cannot go on (DDL, a partial row image, too many bad rows); the others do.

    `code` is stable (``definition-changed``); `table` is set by whoever knows which one it was.
    """

    def __init__(self, message: str, hint: str = "", code: str = "") -> None:
        super().__init__(message, hint)
        self.code = code
        self.table: TableName | None = None


class BadValue(Exception):
    """A source value that its target column cannot hold under the column's policy.

    Raised by the conversions of bridge.types; the row goes to quarantine. `code` is the stable code
    of the finding (``zero-date``), `text` the value as a person reads it.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
