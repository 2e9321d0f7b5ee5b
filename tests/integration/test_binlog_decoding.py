"""Rows read from the binlog are the rows that the tables hold."""

from __future__ import annotations

import random
from contextlib import closing

import pytest

from bridge.capture.binlog import events as ev
from bridge.capture.binlog import rows
from bridge.capture.binlog.positions import lower_bound
from bridge.change.batch import BadRow
from bridge.names import TableName
from compose.local.servers import Server
from tests.fix_servers import SourceDatabase
from tests.integration.binlog_follower import connector, follow, plan_of, read_table, selected
from tests.integration.binlog_workload import COLUMNS, Workload

SERVER_ID = 0x41000000


@pytest.fixture
def server_id() -> int:
    return SERVER_ID + random.randrange(1 << 20)


@pytest.mark.parametrize(("seed", "often"), [(1, 0), (2, 4), (3, 10**9)])
def test_random_changes_of_every_type(
    source_db: SourceDatabase,
    seed: int,
    often: int,
    server_id: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # How soon functions are made, and how many: all ways of reading a row have their turn.
    monkeypatch.setattr(rows, "_OFTEN", often)
    monkeypatch.setattr(rows, "_FUNCTIONS", 60)
    rng = random.Random(seed)
    # `json` is text with a check on MariaDB, which INSERT IGNORE passes over; its values are valid.
    kinds = sorted(COLUMNS)
    wide = Workload(TableName(source_db.name, "all `of` them\\"), kinds, seed)
    few = Workload(TableName(source_db.name, "few"), rng.sample(kinds, 5), seed)
    open_source = connector(source_db.url)
    raw = connector(source_db.url, raw=True)
    with closing(open_source()) as source:
        for workload in (wide, few):
            source.cursor().execute(workload.definition)
        start = lower_bound(source)
        for _ in range(3):
            if source_db.server.kind == "mysql":
                on = rng.choice(("ON", "OFF"))
                source.cursor().execute(f"SET SESSION binlog_transaction_compression = {on}")
            wide.run(source, 10)
            few.run(source, 60)
    plans = [
        plan_of(read_table(open_source, wide.name), without=("c 3", "first")),
        plan_of(read_table(open_source, few.name)),
    ]
    follower = follow(open_source, start, plans, server_id)
    for plan in plans:
        expected = selected(raw, plan)
        assert expected
        assert follower.live(plan.source) == expected


def test_the_same_rows_come_as_pairs(source_db: SourceDatabase, server_id: int) -> None:
    workload = Workload(TableName(source_db.name, "t"), ["varchar(20)", "int", "date"], 5)
    open_source = connector(source_db.url)
    with closing(open_source()) as source:
        source.cursor().execute(workload.definition)
        start = lower_bound(source)
        workload.run(source, 100)
    plan = plan_of(read_table(open_source, workload.name))
    keyed = follow(open_source, start, [plan], server_id)
    paired = follow(open_source, start, [plan], server_id, by_pairs=True)
    assert paired.live(plan.source) == keyed.live(plan.source)


def test_a_table_without_key_is_a_bag(source_db: SourceDatabase, server_id: int) -> None:
    open_source = connector(source_db.url)
    name = TableName(source_db.name, "bag")
    with closing(open_source()) as source, source.cursor() as cursor:
        cursor.execute("CREATE TABLE bag (a int, b varchar(10))")
        start = lower_bound(source)
        cursor.execute("INSERT INTO bag VALUES (1,'x'),(1,'x'),(NULL,'a\tb'),(2,NULL)")
        cursor.execute("DELETE FROM bag WHERE a = 1 LIMIT 1")
        cursor.execute("UPDATE bag SET b = 'y' WHERE a = 2")
    follower = follow(open_source, start, [plan_of(read_table(open_source, name))], server_id)
    assert +follower.bags[name] == {b"1\tx": 1, b"\\N\ta\\tb": 1, b"2\ty": 1}


@pytest.mark.parametrize("columns", [64, 65, 300])
def test_wide_tables(source_db: SourceDatabase, columns: int, server_id: int) -> None:
    rng = random.Random(columns)
    open_source = connector(source_db.url)
    name = TableName(source_db.name, "wide")
    kinds = ["int", "varchar(9)", "bigint", "text"]
    body = ", ".join(f"c{n} {kinds[n % 4]}" for n in range(1, columns))
    with closing(open_source()) as source, source.cursor() as cursor:
        cursor.execute(f"CREATE TABLE wide (id int PRIMARY KEY, {body})")
        start = lower_bound(source)
        for row in range(25):
            values = [rng.choice(("NULL", str(rng.randrange(1000)))) for _ in range(columns - 1)]
            cursor.execute(f"INSERT INTO wide VALUES ({row}, {', '.join(values)})")
        for row in range(0, 25, 5):
            cursor.execute(f"UPDATE wide SET c{rng.randrange(1, columns)} = NULL WHERE id > {row}")
        cursor.execute("DELETE FROM wide WHERE id = 7")
    plan = plan_of(read_table(open_source, name))
    follower = follow(open_source, start, [plan], server_id)
    assert follower.live(name) == selected(connector(source_db.url, raw=True), plan)


def test_an_event_that_spans_packets(source_db: SourceDatabase, server_id: int) -> None:
    open_source = connector(source_db.url)
    name = TableName(source_db.name, "big")
    # At 2**24 bytes of packet the length is one byte short, equal, and one byte over.
    with closing(open_source()) as source, source.cursor() as cursor:
        cursor.execute("CREATE TABLE big (id int PRIMARY KEY, t longtext)")
        start = lower_bound(source)
        for row, size in enumerate([(1 << 24) - 100, (1 << 24) - 40, (1 << 24) - 39, 35 << 20]):
            cursor.execute("INSERT INTO big VALUES (%s, REPEAT('ab', %s DIV 2))", (row, size))
        cursor.execute("INSERT INTO big VALUES (9, 'after')")
    plan = plan_of(read_table(open_source, name))
    follower = follow(open_source, start, [plan], server_id)
    lines = follower.live(name)
    assert lines.pop(b"9") == b"9\tafter"
    for line, size in zip(lines.values(), [16777116, 16777176, 16777176, 35 << 20], strict=True):
        assert line is not None
        assert line[2:] == b"ab" * (size // 2)


def test_a_row_that_the_target_cannot_hold(source_db: SourceDatabase, server_id: int) -> None:
    open_source = connector(source_db.url)
    name = TableName(source_db.name, "t")
    with closing(open_source()) as source, source.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute("CREATE TABLE t (id int PRIMARY KEY, d date, v varchar(9))")
        start = lower_bound(source)
        days = ["0000-00-00" if row == 30 else "2024-01-31" for row in range(60)]
        values = ", ".join(f"({row}, '{day}', 'x')" for row, day in enumerate(days))
        cursor.execute(f"INSERT INTO t VALUES {values}")
        cursor.execute("UPDATE t SET v = 'y'")
    plan = plan_of(read_table(open_source, name))
    follower = follow(open_source, start, [plan], server_id)
    rows_of = follower.rows[name]
    bad = rows_of.pop(b"30")
    assert isinstance(bad, BadRow)
    assert (bad.key, bad.code, bad.column, bad.at) == (b"30", "zero-date", "d", "here")
    assert bad.raw[-2:] == b"\x01y"
    assert rows_of == {b"%d" % n: b"%d\t2024-01-31\ty" % n for n in range(60) if n != 30}


def test_flags_of_rows_say_how_foreign_keys_were_checked(
    source_db: SourceDatabase, server_id: int
) -> None:
    open_source = connector(source_db.url)
    with closing(open_source()) as source, source.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int PRIMARY KEY)")
        start = lower_bound(source)
        cursor.execute("INSERT INTO t VALUES (1)")
        cursor.execute("SET foreign_key_checks = 0")
        cursor.execute("INSERT INTO t VALUES (2)")
    found = follow(open_source, start, [], server_id, keep=True)
    ours = found.maps[TableName(source_db.name, "t")].table_id
    flags = [
        ev.rows_flags(event)
        for event in found.kept
        if event[4] in ev.ROW_KIND and ev.rows_table(event) == ours
    ]
    assert [flag & ev.NO_FOREIGN_KEY_CHECKS for flag in flags] == [0, 2]
    assert all(flag & ev.STATEMENT_END for flag in flags)


def test_cascades_are_logged_or_flagged(source_db: SourceDatabase, server_id: int) -> None:
    """Either the children's rows are in the log, or no flag says that they need not be."""
    open_source = connector(source_db.url)
    with closing(open_source()) as source, source.cursor() as cursor:
        cursor.execute("CREATE TABLE parent (id int PRIMARY KEY)")
        cursor.execute(
            "CREATE TABLE child (id int PRIMARY KEY, p int,"
            " FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)"
        )
        cursor.execute("INSERT INTO parent VALUES (1)")
        cursor.execute("INSERT INTO child VALUES (5, 1)")
        start = lower_bound(source)
        cursor.execute("DELETE FROM parent")
    found = follow(open_source, start, [], server_id, keep=True)
    ours = {found.maps[TableName(source_db.name, name)].table_id for name in ("parent", "child")}
    changes = [
        event for event in found.kept if event[4] in ev.ROW_KIND and ev.rows_table(event) in ours
    ]
    flagged = [bool(ev.rows_flags(each) & ev.SQL_LAYER_FOREIGN_KEYS) for each in changes]
    assert flagged in ([False], [True, True])


COLUMNS_OF_ALL_KINDS = """
CREATE TABLE odd (id int PRIMARY KEY, v varchar(20), hidden int {invisible},
    low varchar(20) AS (LOWER(v)) VIRTUAL, twice int AS (id * 2) {stored}, last int)
    PARTITION BY HASH (id) PARTITIONS 3
"""


def test_partitions_and_columns_that_do_not_show(source_db: SourceDatabase, server_id: int) -> None:
    open_source = connector(source_db.url)
    name = TableName(source_db.name, "odd")
    mysql = source_db.server.kind == "mysql"
    with closing(open_source()) as source, source.cursor() as cursor:
        cursor.execute(COLUMNS_OF_ALL_KINDS.format(invisible="INVISIBLE", stored="STORED"))
        if mysql:
            cursor.execute("ALTER TABLE odd ADD INDEX f ((UPPER(v)))")
        start = lower_bound(source)
        cursor.execute("INSERT INTO odd (id, v, hidden, last) VALUES (1,'Aa',7,1),(2,'B',NULL,2)")
        cursor.execute("UPDATE odd SET id = id + 10, v = 'Cc', last = NULL")
        cursor.execute("INSERT INTO odd (id) VALUES (3)")
        cursor.execute("DELETE FROM odd WHERE id = 12")
    plan = plan_of(read_table(open_source, name))
    assert len(plan.columns) == 6
    follower = follow(open_source, start, [plan], server_id)
    assert follower.live(name) == {
        b"11": b"11\tCc\t7\tcc\t22\t\\N",
        b"3": b"3\t\\N\t\\N\t\\N\t6\t\\N",
    }


def test_a_generated_invisible_key(mysql: Server, server_id: int) -> None:
    open_source = connector(mysql.url())
    name = TableName(f"t_{server_id}", "t")
    with closing(open_source()) as source, source.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name.schema}")
        cursor.execute("SET SESSION sql_generate_invisible_primary_key = ON")
        cursor.execute(f"CREATE TABLE {name.mysql} (v varchar(9))")
        start = lower_bound(source)
        cursor.execute("SET SESSION gtid_next = 'AUTOMATIC:other'")
        cursor.execute(f"INSERT INTO {name.mysql} VALUES ('a'), ('b')")
        cursor.execute("SET SESSION gtid_next = 'AUTOMATIC'")
        tagged = lower_bound(source)
        cursor.execute(f"UPDATE {name.mysql} SET v = 'c' WHERE v = 'b'")
    plan = plan_of(read_table(open_source, name))
    assert follow(open_source, start, [plan], server_id).live(name) == {
        b"1": b"1\ta",
        b"2": b"2\tc",
    }
    # A start with a tag in it is understood by the server.
    assert follow(open_source, tagged, [plan], server_id).live(name) == {b"2": b"2\tc"}
    with closing(open_source()) as source:
        source.cursor().execute(f"DROP DATABASE {name.schema}")
