"""The stream of a real server's binlog: beginning, breaking, ending."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest

from bridge.capture.binlog import events as ev
from bridge.capture.binlog.connection import LIMIT, BinlogConnection
from bridge.capture.binlog.positions import lower_bound, upper_bound
from bridge.capture.binlog.statements import classify
from bridge.change.position import Position
from bridge.errors import ServerRefused, ServerUnreachable, SourceError, TableStopped
from bridge.names import TableName
from compose.local import servers
from compose.local.servers import Server
from tests.fix_servers import SourceDatabase
from tests.integration.binlog_follower import (
    Connect,
    Follower,
    connector,
    drain,
    follow,
    plan_of,
    purge,
    read_table,
    selected,
)
from tests.integration.binlog_workload import Workload


@pytest.fixture
def server_id() -> int:
    return 0x43000000 + random.randrange(1 << 20)


@pytest.fixture
def mysql_db(mysql: Server) -> Iterator[SourceDatabase]:
    """A fresh database for what MariaDB has not got (its own certificate before 11.4, too)."""
    database = SourceDatabase(mysql, f"t_{secrets.token_hex(5)}")
    run(connector(mysql.url()), f"CREATE DATABASE {database.name}")
    yield database
    run(connector(mysql.url()), f"DROP DATABASE {database.name}")


@pytest.fixture
def open_source(source_db: SourceDatabase) -> Connect:
    return connector(source_db.url)


def run(open_source: Connect, *statements: str) -> None:
    with closing(open_source()) as source, source.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def read_on(binlog: BinlogConnection, seconds: float = 10) -> NoReturn:
    """Reads until that raises."""
    while True:
        binlog.read(seconds)


def bounds(open_source: Connect) -> tuple[Position, Position]:
    """The lower bound, and the same place by coordinates alone."""
    with closing(open_source()) as source:
        low, high = lower_bound(source), upper_bound(source)
    return low, Position.at(high.file, high.offset)


def events_of(open_source: Connect, start: Position, server_id: int, schema: str) -> list[bytes]:
    """Queries, table maps and rows of the database since `start`; servers may be busy otherwise."""
    found = follow(open_source, start, [], server_id, keep=True)
    tables = {each.table_id for name, each in found.maps.items() if name.schema == schema}
    rows = {ev.TABLE_MAP, *ev.ROW_KIND}
    return [
        event
        for event in found.kept
        if (event[4] in rows and ev.rows_table(event) in tables)
        or (event[4] == ev.QUERY and ev.query(event).database.startswith(schema))
    ]


def test_gtid_and_coordinates_begin_at_the_same_place(
    source_db: SourceDatabase, server_id: int
) -> None:
    open_source = connector(source_db.url)
    by_gtid, by_file = bounds(open_source)
    run(open_source, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    found = [
        events_of(open_source, start, server_id, source_db.name) for start in (by_gtid, by_file)
    ]
    assert len(found[0]) >= 3
    assert found[0] == found[1]


def test_an_idle_source_says_where_it_is(open_source: Connect, server_id: int) -> None:
    start, _ = bounds(open_source)
    run(open_source, "CREATE TABLE t (id int PRIMARY KEY)")
    _, end = bounds(open_source)
    with BinlogConnection.open(open_source, start, server_id, 0.2) as binlog:
        for _ in drain(binlog, end):
            pass  # a heartbeat may be among what is read last
        before = binlog.bytes_received
        last = b""
        while not last or last[4] not in (ev.HEARTBEAT, ev.HEARTBEAT_V2):
            last = (binlog.read(10) or [last])[-1]
        assert Position.at(*ev.heartbeat(last)).covers(end)
        assert binlog.bytes_received > before > 0


def until_silent(open_source: Connect, binlog: BinlogConnection) -> None:
    """Reads up to a last event, told by its place: a server may pause between any two."""
    run(open_source, "CREATE TABLE last_one (id int PRIMARY KEY)")
    _, end = bounds(open_source)
    for _ in drain(binlog, end):
        pass


def test_reading_returns_when_the_time_is_over(open_source: Connect, server_id: int) -> None:
    start, _ = bounds(open_source)
    with BinlogConnection.open(open_source, start, server_id, 60) as binlog:
        until_silent(open_source, binlog)
        started = time.monotonic()
        assert binlog.read(0) == []
        assert time.monotonic() - started < 10
        assert binlog.read(0.25) == []
        assert 0.2 < time.monotonic() - started < 20


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_closing_wakes_a_blocked_read(mysql_db: SourceDatabase, server_id: int, tls: bool) -> None:
    open_source = connector(mysql_db.url + ("?tls=required" if tls else ""))
    start, _ = bounds(open_source)
    binlog = BinlogConnection.open(open_source, start, server_id, 60)
    until_silent(open_source, binlog)
    timer = threading.Timer(0.2, binlog.close)
    started = time.monotonic()
    timer.start()
    with pytest.raises(ServerUnreachable, match="closed"):
        read_on(binlog, 60)
    assert time.monotonic() - started < 30
    with pytest.raises(ServerUnreachable, match="closed"):
        binlog.read(1)
    timer.join()
    binlog.close()


def test_rows_come_over_tls(mysql_db: SourceDatabase, server_id: int) -> None:
    open_source = connector(mysql_db.url + "?tls=required")
    start, _ = bounds(open_source)
    run(
        open_source,
        "CREATE TABLE t (id int PRIMARY KEY, v longtext)",
        "INSERT INTO t VALUES (1, REPEAT('x', 3000000)), (2, 'y')",
    )
    name = TableName(mysql_db.name, "t")
    found = follow(open_source, start, [plan_of(read_table(open_source, name))], server_id)
    assert found.live(name) == {b"1": b"1\t" + b"x" * 3_000_000, b"2": b"2\ty"}


def test_a_killed_stream_goes_on_where_it_was(source_db: SourceDatabase, server_id: int) -> None:
    open_source = connector(source_db.url)
    workload = Workload(TableName(source_db.name, "t"), ["int", "varchar(20)"], 9)
    run(open_source, workload.definition)
    name = workload.name
    plan = plan_of(read_table(open_source, name))
    start, _ = bounds(open_source)
    follower = Follower([plan])
    with closing(open_source()) as source:
        workload.run(source, 30)
        _, half = bounds(open_source)
        with BinlogConnection.open(open_source, start, server_id, 1) as binlog:
            for event in drain(binlog, half):
                follower.feed(event)
            thread = binlog._connection.thread_id()  # type: ignore[no-untyped-call]
            source.cursor().execute(f"KILL {thread}")
            with pytest.raises(ServerUnreachable) as caught:
                read_on(binlog)
            assert caught.value.transient
        workload.run(source, 30)
    _, end = bounds(open_source)
    with BinlogConnection.open(open_source, half, server_id, 1) as binlog:
        for event in drain(binlog, end):
            follower.feed(event)
    expected = selected(connector(source_db.url, raw=True), plan)
    assert follower.live(name) == expected


def test_two_readers_with_one_id(open_source: Connect, server_id: int) -> None:
    start, _ = bounds(open_source)
    with BinlogConnection.open(open_source, start, server_id, 1) as first:
        first.read(10)
        with BinlogConnection.open(open_source, start, server_id, 1) as second:
            second.read(10)
            with pytest.raises((SourceError, ServerUnreachable)) as caught:
                read_on(first)
            if isinstance(caught.value, SourceError):
                assert str(server_id) in caught.value.message


def test_a_position_that_is_not_there(open_source: Connect, server_id: int) -> None:
    _, here = bounds(open_source)
    for wrong in (Position.at("binlog.999999", 4), Position.at(here.file, here.offset + (1 << 30))):
        with (
            BinlogConnection.open(open_source, wrong, server_id, 1) as binlog,
            pytest.raises(SourceError) as caught,
        ):
            read_on(binlog)
        assert "resync" in caught.value.hint
    with pytest.raises(SourceError, match="4 GiB"):
        BinlogConnection.open(open_source, Position.at(here.file, 1 << 32), server_id, 1)


def test_a_position_of_another_kind_of_server(source_db: SourceDatabase, server_id: int) -> None:
    mysql = Position.parse("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5")
    wrong = mysql if source_db.server.kind == "mariadb" else Position.parse("0-1-5")
    with pytest.raises(SourceError, match="another kind"):
        BinlogConnection.open(connector(source_db.url), wrong, server_id, 1)


def test_an_account_that_may_not(source_db: SourceDatabase, server_id: int) -> None:
    admin = connector(source_db.url)
    run(admin, f"CREATE USER {source_db.name} IDENTIFIED BY 'x'")
    try:
        start, _ = bounds(admin)
        server = source_db.server
        poor = connector(f"mysql://{source_db.name}:x@{server.host}:{server.port}/")
        with pytest.raises(ServerRefused) as caught:
            BinlogConnection.open(poor, start, server_id, 1).read(10)
        assert not isinstance(caught.value, SourceError)
    finally:
        run(admin, f"DROP USER {source_db.name}")


def test_statements_as_servers_log_them(source_db: SourceDatabase, server_id: int) -> None:
    open_source = connector(source_db.url)
    other = source_db.name + "_x"
    start, _ = bounds(open_source)
    run(
        open_source,
        "CREATE TABLE a (id int PRIMARY KEY, v int)",
        "CREATE TABLE IF NOT EXISTS b SELECT 1 AS id",
        "ALTER TABLE a ADD INDEX i (v), ADD UNIQUE u (v, id), ALGORITHM=INPLACE",
        "CREATE INDEX j ON a (v)",
        "DROP INDEX j ON a",
        "CREATE VIEW w AS SELECT * FROM a",
        "CREATE TRIGGER g BEFORE INSERT ON a FOR EACH ROW SET NEW.v = 1",
        "TRUNCATE a",
        "RENAME TABLE a TO c, b TO a",
        "DROP TABLE a, c",
        f"CREATE DATABASE {other}",
        f"ALTER DATABASE {other} CHARACTER SET latin1",
        f"DROP DATABASE {other}",
        "CREATE TEMPORARY TABLE q (id int)",
        "DROP TEMPORARY TABLE q",
    )
    queries = [
        ev.query(event)
        for event in events_of(open_source, start, server_id, source_db.name)
        if event[4] == ev.QUERY and not ev.is_begin(event)
    ]
    found = [classify(query.statement, query.database, query.sql_mode) for query in queries]
    assert all(
        each.database in ("", query.database) for each, query in zip(found, queries, strict=True)
    )
    a, b, c = (TableName(source_db.name, name) for name in "abc")
    kinds = [(each.kind, each.tables, each.database) for each in found if each.kind != "commit"]
    kinds = [each for each in kinds if each[0] != "harmless"]
    assert kinds[0] == ("ddl", (a,), "")
    assert kinds[1][1:] == ((b,), "")
    assert kinds[2:] == [
        ("index", (a,), ""),
        ("index", (a,), ""),
        ("index", (a,), ""),
        ("truncate", (a,), ""),
        ("ddl", (a, c, b, a), ""),
        ("ddl", (a, c), ""),
        ("alter-database", (), other),
        ("drop-database", (), other),
    ]


@pytest.mark.parametrize("image", ["MINIMAL", "NOBLOB"])
def test_partial_images_stop_the_table(
    source_db: SourceDatabase, server_id: int, image: str
) -> None:
    open_source = connector(source_db.url)
    run(open_source, "CREATE TABLE t (id int PRIMARY KEY, v int, b blob)")
    start, _ = bounds(open_source)
    plan = plan_of(read_table(open_source, TableName(source_db.name, "t")))
    run(
        open_source,
        "INSERT INTO t VALUES (1, 2, 'x')",
        f"SET SESSION binlog_row_image = {image}",
        "UPDATE t SET v = 3",
    )
    with pytest.raises(TableStopped) as caught:
        follow(open_source, start, [plan], server_id)
    assert caught.value.code == "partial-image"


def test_partial_json_stops_the_table(mysql_db: SourceDatabase, server_id: int) -> None:
    open_source = connector(mysql_db.url)
    run(open_source, "CREATE TABLE t (id int PRIMARY KEY, j json)")
    start, _ = bounds(open_source)
    plan = plan_of(read_table(open_source, TableName(mysql_db.name, "t")))
    run(
        open_source,
        "SET SESSION binlog_row_value_options = PARTIAL_JSON",
        """INSERT INTO t VALUES (1, '{"a": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "b": 1}')""",
        "UPDATE t SET j = JSON_SET(j, '$.b', 2)",
    )
    with pytest.raises(TableStopped) as caught:
        follow(open_source, start, [plan], server_id)
    assert caught.value.code == "partial-image"


def test_a_large_compressed_transaction_comes_in_pieces(
    mysql_db: SourceDatabase, server_id: int
) -> None:
    open_source = connector(mysql_db.url)
    run(open_source, "CREATE TABLE t (id int PRIMARY KEY AUTO_INCREMENT, v text)")
    start, _ = bounds(open_source)
    run(
        open_source,
        "SET SESSION binlog_transaction_compression = ON",
        "BEGIN",
        "INSERT INTO t (v) VALUES (REPEAT('abc', 3000))",
        *["INSERT INTO t (v) SELECT v FROM t"] * 11,
        "COMMIT",
    )
    name = TableName(mysql_db.name, "t")
    plan = plan_of(read_table(open_source, name))
    follower = Follower([plan], keep=True)
    sizes = []
    with BinlogConnection.open(open_source, start, server_id, 1) as binlog:
        while len(follower.rows[name]) < 2048:
            events = binlog.read(10)
            sizes.append(sum(map(len, events)))
            for event in events:
                follower.feed(event)
    number = follower.maps[name].table_id
    rows = [each for each in follower.kept if each[4] == 30 and ev.rows_table(each) == number]
    assert len({event[13:17] for event in rows}) == 1
    assert len(follower.live(name)) == 2048
    assert sum(sizes) > 2048 * 9000
    assert max(sizes) < LIMIT + (1 << 16)


@pytest.fixture(scope="module")
def own_mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that a test may do anything to."""
    options = ["--log-bin-compress=ON", "--log-bin-compress-min-len=10", "--secure-file-priv="]
    server = servers.start("mariadb", tmp_path_factory.mktemp("own") / "m", options=options)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def own_mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that a test may do anything to."""
    options = ["--binlog-checksum=NONE", "--secure-file-priv="]
    server = servers.start("mysql", tmp_path_factory.mktemp("own") / "m", options=options)
    yield server
    server.stop()


@pytest.fixture(params=["own_mariadb", "own_mysql"])
def own(request: pytest.FixtureRequest) -> Server:
    """Each of the two."""
    server: Server = request.getfixturevalue(request.param)
    return server


def test_compressed_events_and_checksums_that_come_and_go(own: Server, server_id: int) -> None:
    open_source = connector(own.url())
    workload = Workload(TableName("mixed", "t"), ["int", "varchar(300)", "json"], 11)
    start, _ = bounds(open_source)
    run(open_source, "CREATE DATABASE mixed", workload.definition)
    plan = plan_of(read_table(open_source, workload.name))
    with closing(open_source()) as source:
        for checksum in ("CRC32", "NONE", "CRC32"):
            workload.run(source, 20)
            source.cursor().execute(f"SET GLOBAL binlog_checksum = {checksum}")
            source.cursor().execute("FLUSH BINARY LOGS")
        workload.run(source, 20)
    found = follow(open_source, start, [plan], server_id)
    assert found.live(workload.name) == selected(connector(own.url(), raw=True), plan)
    assert found.seen[ev.FORMAT_DESCRIPTION] >= 4


def test_changes_logged_as_statements_are_seen(own: Server, server_id: int, tmp_path: Path) -> None:
    open_source = connector(own.url())
    file = tmp_path / "rows"
    file.write_text("1\n")
    tmp_path.chmod(0o755)
    start, _ = bounds(open_source)
    run(
        open_source,
        "CREATE DATABASE stated",
        "CREATE TABLE stated.t (id int PRIMARY KEY)",
        "SET SESSION binlog_format = STATEMENT",
        f"LOAD DATA INFILE '{file}' INTO TABLE stated.t",
        "UPDATE stated.t SET id = 2",
    )
    found = follow(open_source, start, [], server_id, keep=True)
    queries = [ev.query(event) for event in found.kept if event[4] == ev.QUERY]
    kinds = [classify(query.statement, query.database, query.sql_mode) for query in queries]
    changes = [each.tables for each in kinds if each.kind == "dml"]
    assert changes[0] == (TableName("stated", "t"),)
    assert TableName("stated", "t") in changes[1]


def test_a_restarting_source_is_reached_again(own: Server, server_id: int) -> None:
    open_source = connector(own.url())
    run(open_source, "CREATE DATABASE again", "CREATE TABLE again.t (id int PRIMARY KEY)")
    start, _ = bounds(open_source)
    run(open_source, "INSERT INTO again.t VALUES (1)")
    with BinlogConnection.open(open_source, start, server_id, 1) as binlog:
        binlog.read(10)
        own.stop(kill=True)
        own.restart()
        with pytest.raises(ServerUnreachable) as caught:
            read_on(binlog)
        assert caught.value.transient
    run(open_source, "INSERT INTO again.t VALUES (2)")
    name = TableName("again", "t")
    found = follow(open_source, start, [plan_of(read_table(open_source, name))], server_id)
    assert found.live(name) == {b"1": b"1", b"2": b"2"}


def test_a_purged_position_is_told_from_a_broken_connection(own: Server, server_id: int) -> None:
    open_source = connector(own.url())
    by_gtid, by_file = bounds(open_source)
    run(open_source, "CREATE DATABASE gone", "FLUSH BINARY LOGS")
    _, here = bounds(open_source)
    run(open_source, "DROP DATABASE gone")
    purge(open_source, here.file)
    for start in (by_gtid, by_file):
        with (
            BinlogConnection.open(open_source, start, server_id, 1) as binlog,
            pytest.raises(SourceError) as caught,
        ):
            read_on(binlog)
        assert "resync" in caught.value.hint
        assert not caught.value.transient


def test_several_domains_of_mariadb(own_mariadb: Server, server_id: int) -> None:
    open_source = connector(own_mariadb.url())
    name = TableName("domains", "t")
    run(open_source, "CREATE DATABASE domains", "CREATE TABLE domains.t (id int PRIMARY KEY)")
    run(open_source, "SET SESSION gtid_domain_id = 7", "INSERT INTO domains.t VALUES (1)")
    start, _ = bounds(open_source)
    assert {0, 7} <= set(start.domains)
    run(open_source, "SET SESSION gtid_domain_id = 7", "INSERT INTO domains.t VALUES (2)")
    run(open_source, "INSERT INTO domains.t VALUES (3)")
    found = follow(open_source, start, [plan_of(read_table(open_source, name))], server_id)
    assert found.live(name) == {b"2": b"2", b"3": b"3"}
