"""Who writes is seen, or it is said that it cannot be; what one transaction writes is sampled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest

from bridge.cutover.census import SAMPLED, Census, look_at_source, look_at_target
from bridge.cutover.counting import Who
from bridge.cutover.proposals import propose
from bridge.cutover.sampling import sample_log
from bridge.names import TableName
from bridge.store.migrate import migrate
from compose.local import servers
from compose.local.errors import Unavailable
from compose.local.servers import Server
from tests.fix_servers import UNAVAILABLE, SourceDatabase, TargetDatabase
from tests.verifying import World
from tests.waiting import until


def writers(conn: psycopg.Connection[Any], side: str, account: str) -> list[tuple[str, int]]:
    return conn.execute(
        "SELECT program, statements FROM dbbridge.writers WHERE side = %s AND account = %s"
        " ORDER BY program",
        (side, account),
    ).fetchall()


def session_of(database: SourceDatabase, user: str) -> pymysql.Connection[Any]:
    server = database.server
    return pymysql.connect(
        host=server.host, port=server.port, user=user, database=database.name,
        program_name="nightly", autocommit=True,
    )  # fmt: skip


def test_writers_are_seen(source_db: SourceDatabase, target_db: TargetDatabase) -> None:
    world, mysql = World(source_db, target_db), source_db.server.kind == "mysql"
    user = f"{source_db.name}_w"
    world.mysql("CREATE TABLE t (id int PRIMARY KEY)", f"CREATE USER '{user}'@'%'")
    world.mysql(f"GRANT ALL ON `{source_db.name}`.* TO '{user}'@'%'")
    try:
        with (
            closing(world.source()) as source,
            closing(world.target()) as control,
            closing(session_of(source_db, user)) as other,
            other.cursor() as cursor,
        ):
            migrate(control)
            control.execute("INSERT INTO dbbridge.pipeline (name) VALUES ('p')")
            census = Census("p", seconds=0.0)
            cursor.execute("INSERT INTO t VALUES (1)")
            cursor.execute("DO 0")  # a statement is counted some time after its answer
            census.tick(source, control)
            assert writers(control, "source", user) == []  # of old, nobody knows when

            cursor.execute("UPDATE t SET id = 2")
            cursor.execute("DELETE FROM t WHERE id = 99")
            census.tick(source, control)
            (unseen,) = control.execute(
                "SELECT unseen FROM dbbridge.census WHERE side = 'source'"
            ).fetchone() or ([],)
            if mysql:
                assert writers(control, "source", user)[0][0] == "nightly"
                assert unseen == []
            else:
                assert writers(control, "source", user) == []
                assert unseen == [SAMPLED]

            # Whoever is in a transaction that has written is met on both kinds of servers.
            control.execute("DELETE FROM dbbridge.writers")
            other.autocommit(False)
            cursor.execute("INSERT INTO t VALUES (3)")
            with closing(world.target()) as there:
                there.autocommit = False
                there.execute("SET application_name = 'by hand'")
                there.execute("CREATE TABLE written (id int)")
                # InnoDB tells of transactions as they were when nobody had asked for 0.1 s.
                slow = Census("p", seconds=0.2)
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline and not writers(control, "source", user):
                    slow.tick(source, control)
                there.rollback()
                role = there.info.user
            other.rollback()
            assert writers(control, "source", user)
            assert "by hand" in [program for program, _ in writers(control, "target", role)]
            (looks,) = control.execute(
                "SELECT looks FROM dbbridge.census WHERE side = 'target'"
            ).fetchone() or (0,)
            assert looks >= 3
    finally:
        world.mysql(f"DROP USER '{user}'@'%'")


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server of the kind and with the options that are asked for, which is nobody else's."""
    kind, *options = request.param
    try:
        started = servers.start(kind, tmp_path / "data", options=options)
    except Unavailable as reason:
        pytest.skip(f"{UNAVAILABLE}: {kind} ({reason})")
    try:
        yield started
    finally:
        started.stop()


def counting(control: psycopg.Connection[Any]) -> Census:
    migrate(control)
    control.execute("INSERT INTO dbbridge.pipeline (name) VALUES ('p')")
    return Census("p", seconds=0.0)


@pytest.mark.parametrize(
    ("server", "right"),
    [
        (("mysql",), "SELECT ON performance_schema.*"),
        (("mariadb", "--userstat=1"), "PROCESS ON *.*"),
    ],
    indirect=["server"],
)
def test_a_right_to_read_the_sources_counters_tells_nobody_of_old(
    server: Server, right: str, target_db: TargetDatabase
) -> None:
    def session(user: str) -> pymysql.Connection[Any]:
        return pymysql.connect(
            host=server.host, port=server.port, user=user, password="x", autocommit=True
        )

    def write() -> None:
        before = counted()
        with closing(session("writer")) as conn, conn.cursor() as cursor:
            cursor.execute("INSERT INTO shop.t VALUES (1)")
        until(lambda: counted() > before)

    def counted() -> int:
        found = look_at_source(administrator).accounts or {}
        return sum(number for who, number in found.items() if who.account == "writer")

    with (
        closing(SourceDatabase(server, "mysql").connect()) as administrator,
        administrator.cursor() as root,
        closing(target_db.connect()) as control,
    ):
        root.execute("CREATE DATABASE shop")
        root.execute("CREATE TABLE shop.t (id int)")
        for user in ("bridge", "writer"):
            root.execute(f"CREATE USER {user} IDENTIFIED BY 'x'")
            root.execute(f"GRANT ALL ON shop.* TO {user}")
        census = counting(control)
        write()
        with closing(session("bridge")) as source:
            census.tick(source, control)
        root.execute(f"GRANT {right} TO bridge")
        with closing(session("bridge")) as source:
            census.tick(source, control)
            assert writers(control, "source", "writer") == []
        root.execute(f"REVOKE {right} FROM bridge")
        with closing(session("bridge")) as source:
            write()
            census.tick(source, control)
            assert writers(control, "source", "writer") == []
        root.execute(f"GRANT {right} TO bridge")
        with closing(session("bridge")) as source:
            census.tick(source, control)
            assert writers(control, "source", "writer") == [("", 1)]


@pytest.mark.parametrize(
    "server", [("postgresql", "-c", "shared_preload_libraries=pg_stat_statements")], indirect=True
)
def test_a_right_to_read_the_targets_counters_tells_nobody_of_old(
    server: Server, source_db: SourceDatabase
) -> None:
    database = TargetDatabase(server, "postgres")
    writer, bridge = Who("writer", ""), {"user": "bridge", "password": "x"}
    with (
        closing(source_db.connect()) as source,
        closing(database.connect()) as root,
    ):
        root.execute("CREATE EXTENSION pg_stat_statements")
        root.execute("CREATE TABLE t (id int)")
        census = counting(root)
        for role in ("writer", "bridge"):
            root.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'".encode())
        root.execute("GRANT ALL ON t TO writer")
        root.execute("GRANT ALL ON SCHEMA dbbridge TO bridge")
        root.execute("GRANT ALL ON ALL TABLES IN SCHEMA dbbridge TO bridge")
        with (
            closing(database.connect(**{**bridge, "user": "writer"})) as application,
            closing(database.connect(**bridge)) as control,
        ):
            application.execute("INSERT INTO t VALUES (1)")
            until(lambda: writer in (look_at_target(root).accounts or {}))
            census.tick(source, control)
            root.execute("GRANT pg_read_all_stats TO bridge")
            census.tick(source, control)
            assert writers(control, "target", "writer") == []
            application.execute("INSERT INTO t VALUES (2)")
            census.tick(source, control)
            assert writers(control, "target", "writer") == [("", 1)]


def test_the_newest_transactions_are_looked_at(
    source_db: SourceDatabase, target_db: TargetDatabase
) -> None:
    world = World(source_db, target_db)
    world.mysql("CREATE TABLE old (id int PRIMARY KEY, t longtext)", "CREATE TABLE new (id int)")
    for number in range(8):
        world.mysql(f"INSERT INTO old VALUES ({number}, REPEAT('x', 100000))")
    newest, seen = TableName(source_db.name, "new"), set[TableName]()
    deadline = time.monotonic() + 60
    while newest not in seen:  # other tests may write more than is looked at in between
        assert time.monotonic() < deadline, seen
        world.mysql("INSERT INTO new VALUES (1)")
        found = sample_log(world.source, transactions=100, most_bytes=300_000, seconds=30.0)
        seen = {table for each in found.together for table in each.tables}


def test_groups_by_what_transactions_write(
    source_db: SourceDatabase, target_db: TargetDatabase
) -> None:
    world = World(source_db, target_db)
    world.mysql(*(f"CREATE TABLE {name} (id int PRIMARY KEY)" for name in "abc"))
    for number in range(3):
        world.mysql(
            "BEGIN",
            f"INSERT INTO a VALUES ({number})",
            f"INSERT INTO b VALUES ({number})",
            "COMMIT",
        )
    world.mysql("INSERT INTO c VALUES (1)")
    found = sample_log(world.source, seconds=120.0)
    mine = [each for each in found.together if {t.schema for t in each.tables} == {source_db.name}]
    a, b, c = (TableName(source_db.name, name) for name in "abc")
    assert [(each.tables, each.transactions) for each in mine] == [
        (frozenset({a, b}), 3),
        (frozenset({c}), 1),
    ]
    tables = [world.plan(name).table for name in "abc"]
    groups = {each.name: each.tables for each in propose(tables, found.together)}
    assert groups == {"a": (a, b), "c": (c,)}
