"""Bounds hold against what other sessions commit meanwhile."""

from __future__ import annotations

import random
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pytest

from bridge.capture.binlog import events as ev
from bridge.capture.binlog.connection import BinlogConnection
from bridge.capture.binlog.positions import (
    lower_bound,
    oldest_available,
    server_identity,
    upper_bound,
)
from bridge.capture.binlog.table_map import table_name
from bridge.change.position import Position, Progress
from bridge.errors import SourceError
from compose.local import servers
from compose.local.servers import Server
from tests.integration.binlog_follower import Connect, connector, drain

ROUNDS = 15
WRITERS = 3


@dataclass(frozen=True)
class Reading:
    """What a session saw between two bounds."""

    low: Position
    seen: frozenset[int]
    high: Position


@contextmanager
def writing(open_source: Connect, database: str) -> Iterator[None]:
    """Sessions that insert rows into `t` one by one."""
    done = threading.Event()

    def write() -> None:
        with closing(open_source()) as source, source.cursor() as cursor:
            while not done.is_set():
                cursor.execute(f"INSERT INTO {database}.t () VALUES ()")

    threads = [threading.Thread(target=write) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


@dataclass(frozen=True)
class Insert:
    """A transaction of the log: its row, and the position after it in both kinds."""

    row: int
    by_gtid: Position
    by_file: Position


def rows_up_to(log: Sequence[Insert], bound: Position) -> set[int]:
    """The rows of the transactions that the position covers, which are the first ones."""

    def beyond(insert: Insert) -> bool:
        return not bound.covers(insert.by_file if bound.kind == "file" else insert.by_gtid)

    return {insert.row for insert in log[: bisect_left(log, True, key=beyond)]}


def transactions(open_source: Connect, start: Position, database: str) -> list[Insert]:
    """Each insert into `t`, in the log's order."""
    with closing(open_source()) as source:
        end = upper_bound(source)
    found = []
    progress = Progress(start)
    file, row, ours = "", 0, False
    with BinlogConnection.open(open_source, start, 0x44000000, 1) as binlog:
        for event in drain(binlog, end):
            code = event[4]
            if code == ev.ROTATE:
                file = ev.rotate(event)[0]
            elif code == ev.GTID:
                progress.add_mysql(*ev.gtid(event))
            elif code == ev.MARIADB_GTID:
                progress.add_mariadb(*ev.mariadb_gtid(event)[:3])
            elif code == ev.TABLE_MAP:
                ours = table_name(event).schema == database
            elif code in ev.ROW_KIND and ours:
                row = int.from_bytes(event[-4:], "little")
            elif code == ev.XID and ours:
                offset = int.from_bytes(event[13:17], "little")
                by_file = Position.at(file, offset)
                by_gtid = Position(start.kind, progress.position().text)
                found.append(Insert(row, by_gtid, by_file))
    return found


def seen_by(cursor: object, database: str) -> frozenset[int]:
    cursor.execute(f"SELECT id FROM {database}.t")  # type: ignore[attr-defined]
    return frozenset(row[0] for row in cursor.fetchall())  # type: ignore[attr-defined]


def observe(
    open_source: Connect, database: str, *, snapshot: bool, rotate: bool = False
) -> list[Reading]:
    """Reads between bounds while others write, until they have come some way."""
    found: list[Reading] = []
    with closing(open_source()) as source, source.cursor() as cursor:
        while len(found) < ROUNDS or len(found[-1].seen) <= ROUNDS:
            if rotate:
                cursor.execute("FLUSH BINARY LOGS")
            low = lower_bound(source, with_snapshot=snapshot)
            seen = seen_by(cursor, database)
            high = upper_bound(source)
            found.append(Reading(low, seen, high))
            if snapshot:
                cursor.execute("ROLLBACK")
    return found


def prepare(open_source: Connect, database: str) -> Position:
    with closing(open_source()) as source, source.cursor() as cursor:
        # MariaDB looks for the GTID of a place from the beginning of the file.
        cursor.execute("FLUSH BINARY LOGS")
        cursor.execute(f"CREATE DATABASE {database}")
        start = lower_bound(source)
        cursor.execute(f"CREATE TABLE {database}.t (id int AUTO_INCREMENT PRIMARY KEY)")
    return start


@pytest.fixture
def database(source: Server) -> Iterator[str]:
    name = f"t_{random.randrange(1 << 40):x}"
    yield name
    with closing(connector(source.url())()) as admin:
        admin.cursor().execute(f"DROP DATABASE {name}")


@pytest.mark.parametrize("snapshot", [False, True])
def test_what_is_below_is_seen_and_what_is_seen_is_not_above(
    source: Server, database: str, snapshot: bool
) -> None:
    open_source = connector(source.url())
    start = prepare(open_source, database)
    with writing(open_source, database):
        readings = observe(open_source, database, snapshot=snapshot)
    log = transactions(open_source, start, database)
    assert len(log) > ROUNDS
    for reading in readings:
        below = rows_up_to(log, reading.low)
        assert below <= reading.seen
        if snapshot and source.kind == "mariadb":
            assert below == reading.seen
        assert reading.seen <= rows_up_to(log, reading.high)


def test_coordinates_and_gtid_of_mariadb_name_one_place(mariadb: Server) -> None:
    open_source = connector(mariadb.url())
    database = f"t_{random.randrange(1 << 40):x}"
    start = prepare(open_source, database)
    with writing(open_source, database):
        readings = observe(open_source, database, snapshot=True)
    log = transactions(open_source, start, database)
    for reading in readings:
        by_file = Position.at(reading.low.file, reading.low.offset)
        assert rows_up_to(log, reading.low) == rows_up_to(log, by_file)
    with closing(open_source()) as admin:
        admin.cursor().execute(f"DROP DATABASE {database}")


@pytest.fixture(scope="module")
def without_gtid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A MySQL as it was before GTIDs."""
    options = ["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]
    server = servers.start("mysql", tmp_path_factory.mktemp("own") / "m", options=options)
    yield server
    server.stop()


def test_without_gtid_the_beginning_of_a_file_is_below(without_gtid: Server) -> None:
    open_source = connector(without_gtid.url())
    start = prepare(open_source, "bounds")
    assert start.kind == "file"
    with writing(open_source, "bounds"):
        readings = observe(open_source, "bounds", snapshot=False, rotate=True)
    log = transactions(open_source, start, "bounds")
    assert len({reading.low.file for reading in readings}) == len(readings)
    for reading in readings:
        assert rows_up_to(log, reading.low) <= reading.seen <= rows_up_to(log, reading.high)


def test_what_is_purged_is_not_available(without_gtid: Server) -> None:
    open_source = connector(without_gtid.url())
    with closing(open_source()) as source:
        first = oldest_available(source)
        now = lower_bound(source)
        source.cursor().execute("FLUSH BINARY LOGS")
        later = lower_bound(source)
    assert now.covers(first)
    assert later.covers(now)
    assert not now.covers(later)


def test_oldest_available(source: Server) -> None:
    with closing(connector(source.url())()) as connection:
        oldest, now = oldest_available(connection), lower_bound(connection)
    assert oldest.kind == now.kind
    assert now.covers(oldest)


def test_servers_are_told_apart(mysql: Server, mariadb: Server, without_gtid: Server) -> None:
    found = set()
    for server in (mysql, mariadb, without_gtid, mysql):
        with closing(connector(server.url())()) as connection:
            found.add(server_identity(connection))
    assert len(found) == 3


def test_a_source_without_binlog(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("own") / "m"
    server = servers.start("mariadb", directory, options=["--skip-log-bin"])
    try:
        with closing(connector(server.url())()) as connection:
            for bound in (lower_bound, upper_bound, oldest_available):
                with pytest.raises(SourceError, match="no binlog"):
                    bound(connection)
    finally:
        server.stop()
