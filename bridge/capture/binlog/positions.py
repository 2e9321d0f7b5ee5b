"""Positions that bound what a read of the source sees.

A server's log and what its sessions see do not line up: a commit stands in the log before others
see it, and MySQL adds it to gtid_executed only after they do. So there are two questions with two
answers.
"""

from __future__ import annotations

import time
from typing import Any

import pymysql
from pymysql.constants import ER

from bridge.change.position import Position
from bridge.databases.mysql import source_error
from bridge.errors import BridgeError, ServerUnreachable, SourceError

_PATIENCE = 30.0
"""Seconds for commits that are under way."""
_TRIES = 200
"""Snapshots until one meets a quiet moment; each takes well under a millisecond."""


def lower_bound(connection: pymysql.Connection[Any], *, with_snapshot: bool = False) -> Position:
    """A position up to which everything is surely visible to reads that begin now.

    MySQL with GTIDs: gtid_executed. MySQL without: the beginning of the current file, since the
    server opens a file only when all prepared transactions of the one before are committed.
    MariaDB: gtid_binlog_pos, once a consistent snapshot has passed it; its coordinates are those of
    the log's end shortly before.

    With `with_snapshot` a transaction is left open that reads a snapshot: on MariaDB taken exactly
    at the position, on MySQL after it (for tables that another session holds locked that is exact,
    too). Ends any transaction of the session. Raises SourceError, ServerRefused,
    ServerUnreachable.
    """
    source = _Source(connection)
    if source.mariadb:
        return source.exact_snapshot() if with_snapshot else source.passed_position()
    if source.uses_gtid():
        position = Position("mysql-gtid", source.gtid_set("gtid_executed"))
    else:
        position = Position.at(source.status()[0], 4)
    if with_snapshot:
        source.begin_snapshot()
    return position


def replica_lower_bound(connection: pymysql.Connection[Any]) -> Position | None:
    """Like `lower_bound`, on a replica: in GTIDs and without coordinates, which are its own.

    None without GTIDs. MariaDB changes gtid_slave_pos after the commit of what it names, and a
    server that is no replica any more keeps its last one: late, and so never too far.
    """
    source = _Source(connection)
    if source.mariadb:
        text = source.value("SELECT @@GLOBAL.gtid_slave_pos")
        return Position("mariadb-gtid", text or source.passed_position().text)
    if not source.uses_gtid():
        return None
    return Position("mysql-gtid", source.gtid_set("gtid_executed"))


def upper_bound(connection: pymysql.Connection[Any]) -> Position:
    """A position after which there is nothing that was visible so far.

    MySQL: binlog coordinates. MariaDB: its GTID position, with coordinates. Raises what
    `lower_bound` raises.
    """
    source = _Source(connection)
    if source.mariadb:
        text = source.value("SELECT @@GLOBAL.gtid_binlog_pos")
        file, offset = source.status()
        return Position("mariadb-gtid", text, file, offset)
    return Position.at(*source.status())


def seen_gtids(connection: pymysql.Connection[Any]) -> Position | None:
    """GTIDs that cover what reads have seen so far; None without any.

    MySQL adds a commit's GTID a moment after others see it: ask some time after the reads. Of
    MariaDB both those of the server's own log and those that it replicated.
    """
    source = _Source(connection)
    if source.mariadb:
        text = source.value("SELECT @@GLOBAL.gtid_current_pos")
        return Position("mariadb-gtid", text) if text else None
    text = source.gtid_set("gtid_executed") if source.uses_gtid() else ""
    return Position("mysql-gtid", text) if text else None


def oldest_available(connection: pymysql.Connection[Any]) -> Position:
    """What has been purged from the source's log: any position that covers it can be read from.

    In the kind that `lower_bound` gives.
    """
    source = _Source(connection)
    if not source.mariadb and source.uses_gtid():
        return Position("mysql-gtid", source.gtid_set("gtid_purged"))
    logs = source.rows("SHOW BINARY LOGS")
    if not logs:
        raise _no_binlog()
    first = _text(logs[0][0])
    if source.mariadb:
        return Position("mariadb-gtid", source.gtid_at(first, 4), first, 4)
    return Position.at(first, 4)


def logs_replicated(connection: pymysql.Connection[Any]) -> bool:
    """Whether a replica knows a snapshot's position: MariaDB by its own log, MySQL in any case."""
    source = _Source(connection)
    return not source.mariadb or source.value("SELECT @@log_bin AND @@log_slave_updates") == "1"


def has_executed(connection: pymysql.Connection[Any], position: Position) -> bool:
    """Whether the server has in its log, or took in, everything up to the position.

    MariaDB's GTIDs are looked for by domain and server, as it does itself for its replicas. Of a
    file and offset only the log's end is asked for.
    """
    source = _Source(connection)
    if position.kind == "mysql-gtid":
        if source.mariadb:
            return False
        return Position(position.kind, source.gtid_set("gtid_executed")).covers(position)
    if position.kind == "mariadb-gtid":
        known = source.logged() if source.mariadb else {}
        return all(
            sequence <= known.get((domain, server), 0)
            for domain, (server, sequence) in position.domains.items()
        )
    return Position.at(*source.status()).covers(position)


def logged_at(connection: pymysql.Connection[Any], coordinates: Position) -> Position | None:
    """MariaDB: the GTID position of binlog coordinates; None if no event of the log ends there."""
    source = _Source(connection)
    query = "SELECT BINLOG_GTID_POS(%s, %s)"
    text = source.rows(query, (coordinates.file, coordinates.offset))[0][0]
    return None if text is None else Position("mariadb-gtid", _text(text))


def server_identity(connection: pymysql.Connection[Any]) -> str:
    """What tells this server from others, a replica that took its place included."""
    source = _Source(connection)
    if source.mariadb:
        return source.value("SELECT CONCAT(@@server_id, '@', @@hostname, ':', @@port)")
    return source.value("SELECT @@GLOBAL.server_uuid")


class _Source:
    def __init__(self, connection: pymysql.Connection[Any]) -> None:
        self._connection = connection
        self.mariadb = "mariadb" in self.value("SELECT VERSION()").lower()

    def rows(self, query: str, arguments: tuple[object, ...] | None = None) -> list[Any]:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(query, arguments)
                return list(cursor.fetchall())
        except (pymysql.Error, OSError) as error:
            if _code(error) == ER.NO_BINARY_LOGGING:
                raise _no_binlog() from error
            raise source_error(error) from error

    def value(self, query: str, arguments: tuple[object, ...] | None = None) -> str:
        """The one value, as text; '' for NULL."""
        value = self.rows(query, arguments)[0][0]
        return "" if value is None else _text(value)

    def uses_gtid(self) -> bool:
        """Whether every transaction has a GTID (MySQL)."""
        return self.value("SELECT @@GLOBAL.gtid_mode") == "ON"

    def logged(self) -> dict[tuple[int, int], int]:
        """MariaDB: the last sequence number of each (domain, server)."""
        known: dict[tuple[int, int], int] = {}
        for variable in ("gtid_binlog_state", "gtid_slave_pos"):
            for gtid in self.value(f"SELECT @@GLOBAL.{variable}").split(","):
                if gtid:
                    domain, server, sequence = map(int, gtid.split("-"))
                    known[domain, server] = max(sequence, known.get((domain, server), 0))
        return known

    def gtid_set(self, variable: str) -> str:
        text = self.value(f"SELECT @@GLOBAL.{variable}")
        return Position.parse(text).text if text else ""

    def status(self) -> tuple[str, int]:
        """Where the log ends: file and offset."""
        try:
            found = self.rows("SHOW MASTER STATUS")
        except BridgeError as error:
            if _code(error.__cause__) != ER.PARSE_ERROR:
                raise
            # MySQL 8.4 knows only these words.
            found = self.rows("SHOW BINARY LOG STATUS")
        if not found:
            raise _no_binlog()
        return _text(found[0][0]), int(found[0][1])

    def begin_snapshot(self) -> None:
        """A transaction that reads one snapshot."""
        self.rows("ROLLBACK")
        self.rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT")

    def passed_position(self) -> Position:
        """MariaDB: a GTID position that a snapshot begun afterwards has in it.

        BINLOG_GTID_POS would tell the snapshot's own position, but the server reads the whole file
        for it, and answers NULL where it meets an event over max_allowed_packet.
        """
        before = Position.at(*self.status())
        text = self.value("SELECT @@GLOBAL.gtid_binlog_pos")
        end = Position.at(*self.status())
        deadline = time.monotonic() + _PATIENCE
        while not self._snapshot_coordinates().covers(end):
            # A commit stands in the log that sessions do not see yet; it takes a moment.
            if time.monotonic() > deadline:
                raise ServerUnreachable(
                    f"the source does not finish the commits before {end}", "is its disk full?"
                )
        self.rows("ROLLBACK")
        return Position("mariadb-gtid", text, before.file, before.offset)

    def exact_snapshot(self) -> Position:
        """MariaDB: begins a snapshot and tells its position.

        It is gtid_binlog_pos if that is the same before and after and the snapshot reaches to the
        log's end; on a source that is never quiet for so long the server has to look it up.
        """
        for _ in range(_TRIES):
            before = self.value("SELECT @@GLOBAL.gtid_binlog_pos")
            here = self._snapshot_coordinates()
            end = Position.at(*self.status())
            if end == here and before == self.value("SELECT @@GLOBAL.gtid_binlog_pos"):
                return Position("mariadb-gtid", before, here.file, here.offset)
        here = self._snapshot_coordinates()
        return Position(
            "mariadb-gtid", self.gtid_at(here.file, here.offset), here.file, here.offset
        )

    def _snapshot_coordinates(self) -> Position:
        """MariaDB: begins a snapshot; exactly what the log holds up to there is in it."""
        self.begin_snapshot()
        status = {
            _text(name).lower(): _text(value)
            for name, value in self.rows("SHOW STATUS LIKE 'binlog_snapshot_%%'", ())
        }
        file = status.get("binlog_snapshot_file", "")
        if not file:
            raise _no_binlog()
        return Position.at(file, int(status["binlog_snapshot_position"]))

    def gtid_at(self, file: str, offset: int) -> str:
        """MariaDB: the GTID position of coordinates; '' before the first transaction."""
        value = self.rows("SELECT BINLOG_GTID_POS(%s, %s)", (file, offset))[0][0]
        if value is None:
            raise SourceError(
                f"the source does not know the GTID position of {file}:{offset}",
                "try again when fewer transactions commit; or was its binlog purged just now?",
            )
        return _text(value)


def _no_binlog() -> SourceError:
    return SourceError(
        "the source writes no binlog",
        "set log_bin on the source and restart it (log_replica_updates too, if it is a replica)",
    )


def _code(error: BaseException | None) -> int:
    code = error.args[0] if isinstance(error, pymysql.Error) and error.args else 0
    return code if isinstance(code, int) else 0


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
