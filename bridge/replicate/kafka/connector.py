"""How far Debezium's connector is: what of the source's log is surely in Kafka.

Connect commits the source's position of a record once the broker has that record and all before
it. The position is one to start again from: the beginning of a transaction, and how many of its
events are done. So the last transaction of an idle source would stay unfinished for ever; whether
all of its rows are done is looked up in the source's log, where the event behind the last one that
is done must be the commit.

Source: Debezium's MySqlOffsetContext (restart position, events to skip), tried out with 3.6.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import pymysql

from bridge.change.position import Position, Progress
from bridge.databases.connect import ConnectClient, NotFound
from bridge.errors import ConfigError, ServerUnreachable

_ENDS = frozenset({"xid", "commit"})


class Connector:
    """One connector, asked over Connect's REST interface."""

    def __init__(self, client: ConnectClient, name: str) -> None:
        self._client = client
        self._name = name
        self._last: tuple[Mapping[str, Any], Position] | None = None

    def trouble(self) -> str:
        """Why nothing comes: the connector is paused, or has failed and why; '': it runs."""
        with self._there():
            status = self._client.status(self._name)
        if status.running:
            return ""
        said = f": {status.trace}" if status.trace else ""
        return f"connector {self._name} is {_state(status.state, status.tasks)}{said}"

    def check_running(self) -> None:
        """Raises ServerUnreachable, with what made it fail, unless the connector runs."""
        trouble = self.trouble()
        if trouble:
            raise ServerUnreachable(
                trouble, "mend it, and restart it with its tasks; sync goes on by itself"
            )

    @contextmanager
    def _there(self) -> Iterator[None]:
        """It was there when the process began: a worker that starts again may not know it yet."""
        try:
            yield
        except (ConfigError, NotFound) as error:
            raise ServerUnreachable(error.message, error.hint) from error

    def emitted(self, source: pymysql.Connection[Any]) -> Position | None:
        """Everything up to there is in Kafka; None before the first commit and in a snapshot.

        Raises ServerUnreachable, ServerRefused.
        """
        with self._there():
            found = self._client.offsets(self._name)
        if not found or found[0].get("snapshot") or not found[0].get("file"):
            return None
        offset = found[0]
        if self._last is not None and self._last[0] == offset:
            return self._last[1]
        position, whole = _position(offset, source)
        if whole:
            self._last = offset, position
        return position


def _position(offset: Mapping[str, Any], source: pymysql.Connection[Any]) -> tuple[Position, bool]:
    """The position, and whether nothing more can be said of this offset."""
    file, pos = str(offset["file"]), int(offset["pos"])
    gtids = offset.get("gtids")
    start = Position.parse(str(gtids), file, pos) if gtids else Position.at(file, pos)
    done = int(offset.get("event") or 0)
    if not done:
        return start, True
    end = _commit_behind(source, start, done)
    if end is None:
        return start, False
    progress = Progress(start)
    progress.offset = end
    transaction = str(offset.get("transaction_id") or "")
    if start.kind == "mysql-gtid":
        sid, _, number = transaction.rpartition(":")
        if not number.isdigit():
            return start, True
        progress.add_mysql(sid.lower(), int(number))
    elif start.kind == "mariadb-gtid":
        parts = transaction.split("-")
        if len(parts) != 3:
            return start, True
        progress.add_mariadb(int(parts[0]), int(parts[1]), int(parts[2]))
    return progress.position(), True


def _commit_behind(source: pymysql.Connection[Any], start: Position, done: int) -> int | None:
    """Where the transaction ends that begins at `start`, if its first `done` events are all."""
    sql = "SHOW BINLOG EVENTS IN %s FROM %s LIMIT %s, 1"
    try:
        with closing(source.cursor(pymysql.cursors.DictCursor)) as cursor:
            cursor.execute(sql, (start.file, start.offset, done))
            row = cursor.fetchone()
    except (pymysql.err.OperationalError, pymysql.err.InternalError):
        return None  # purged meanwhile, or not at the beginning of an event
    if row is None:
        return None
    kind, info = str(row["Event_type"]).lower(), str(row["Info"]).strip().lower()
    return int(row["End_log_pos"]) if kind in _ENDS or info == "commit" else None


def _state(state: str, tasks: tuple[str, ...]) -> str:
    bad = [f"task {number} {task}" for number, task in enumerate(tasks) if task != "RUNNING"]
    if not tasks:
        return f"{state}, without a task"
    return ", ".join([state, *bad])
