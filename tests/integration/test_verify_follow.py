"""What changed is looked at again: keys out of the log, judged while the target stood still."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.capture.binlog import connection
from bridge.capture.binlog.positions import lower_bound, server_identity, upper_bound
from bridge.change.position import Position
from bridge.errors import PositionPurged
from bridge.verify import run
from compose.local import servers
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.integration.binlog_follower import purge
from tests.staged import Stage
from tests.verifying import World
from tests.waiting import WAIT_SECONDS, until


@pytest.fixture
def stage(source_db: SourceDatabase, target_db: TargetDatabase) -> Iterator[Stage]:
    stage = Stage(World(source_db, target_db))
    yield stage
    stage.conn.close()


KEYS = """
CREATE TABLE t (a int, b varchar(20) COLLATE utf8mb4_bin, c binary(3), d decimal(9,2),
    e datetime(3), flag tinyint(1), v varchar(30), PRIMARY KEY (a, b, c, d, e, flag))
"""


def test_every_changed_key_is_judged_again(stage: Stage) -> None:
    world = stage.world
    world.mysql(KEYS)
    values = ", ".join(
        f"({n % 3}, 'k\\t{n}''é', x'00{n:04x}', {n / 7:.2f}, '2024-01-01' + interval {n} second,"
        f" {n % 2}, 'v')"
        for n in range(200)
    )
    world.mysql(f"INSERT INTO t VALUES {values}")
    stage.copied("t")
    stage.swept()
    world.mysql(
        "UPDATE t SET v = 'other' WHERE b LIKE '%\\t5''é'",
        "DELETE FROM t WHERE b LIKE '%\\t6''é'",
        "UPDATE t SET a = 9 WHERE b LIKE '%\\t7''é'",
        "UPDATE t SET v = 'back' WHERE b LIKE '%\\t8''é'",
        "UPDATE t SET v = 'v' WHERE b LIKE '%\\t8''é'",
    )
    proof = stage.round()["t"]
    assert sorted(stage.differences("t").values()) == ["differs", "extra", "extra", "missing"]
    assert (proof.differences, proof.rechecked, proof.open) == (4, 5, ())

    # What differs no more is forgotten, and the proof has moved on.
    plan = stage.tables[0].plan
    world.postgres(f"TRUNCATE {plan.target.postgres}")
    world.recopy(plan)
    again = stage.round()["t"]
    assert again.differences == 0
    assert again.position.covers(proof.position)


def test_rows_that_a_cascade_changed_are_judged_again(stage: Stage) -> None:
    world = stage.world
    world.mysql(
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child (id int PRIMARY KEY, p int,"
        " FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)",
        "INSERT INTO parent VALUES (1), (2), (3)",
        "INSERT INTO child VALUES (10, 1), (11, 1), (20, 2), (30, NULL)",
    )
    stage.copied("parent", "child")
    stage.swept()
    world.mysql("DELETE FROM parent WHERE id = 1")
    stage.round()
    assert stage.differences("parent") == {("1",): "extra"}
    assert stage.differences("child") == {("10",): "extra", ("11",): "extra"}


def test_rows_without_a_key_are_judged_again(stage: Stage) -> None:
    world = stage.world
    world.mysql(
        "CREATE TABLE bag (a int, b varchar(10), d date)",
        "INSERT INTO bag VALUES (1, 'x', NULL), (1, 'x', NULL), (2, 'tab\\t', '2024-01-01')",
    )
    stage.copied("bag")
    stage.swept()
    world.mysql("DELETE FROM bag WHERE a = 1 LIMIT 1", "INSERT INTO bag VALUES (3, NULL, NULL)")
    proof = stage.round()["bag"]
    assert sorted(stage.differences("bag").values()) == ["extra", "missing"]
    assert proof.rechecked == 2


def test_a_truncated_or_altered_table_has_no_proof(stage: Stage) -> None:
    world = stage.world
    world.mysql("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    world.mysql("CREATE TABLE u (id int PRIMARY KEY)", "INSERT INTO u VALUES (1)")
    world.mysql("CREATE TABLE w (id int PRIMARY KEY)", "INSERT INTO w VALUES (1)")
    stage.copied("t", "u", "w")
    stage.swept()
    world.mysql(
        "TRUNCATE t",
        "ALTER TABLE u ADD COLUMN v int",
        "INSERT INTO w VALUES (2)",
    )
    proofs = stage.round()
    assert proofs["t"].obstacle == "the table was truncated"
    assert proofs["u"].obstacle.startswith("the source changed the definition")
    assert (proofs["w"].obstacle, stage.differences("w")) == ("", {("2",): "missing"})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Position]:
    """Where servers were asked to begin, in order."""
    asked: list[Position] = []
    opened = connection.BinlogConnection.open

    def watched(connect: object, start: Position, *rest: object) -> connection.BinlogConnection:
        asked.append(start)
        return opened(connect, start, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(connection.BinlogConnection, "open", watched)
    return asked


def identity_of(world: World) -> str:
    with closing(world.source()) as source:
        return server_identity(source)


def test_a_log_that_was_read_is_read_on_by_coordinates(stage: Stage, asked: list[Position]) -> None:
    """A GTID would let the server read its file from the beginning; other servers have others."""
    world = stage.world
    world.mysql("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1), (2, 1)")
    stage.copied("t")
    stage.swept()
    asked.clear()

    world.mysql("UPDATE t SET v = 2 WHERE id = 1")
    first = stage.round()["t"]
    gtids = asked.pop().kind
    assert (gtids.endswith("gtid"), asked) == (True, [])
    assert stage.differences("t") == {("1",): "differs"}
    assert first.log_server == identity_of(world)

    world.mysql("DELETE FROM t WHERE id = 2")
    second = stage.round()["t"]
    assert asked.pop() == Position.at(first.position.file, first.position.offset)
    assert stage.differences("t") == {("1",): "differs", ("2",): "extra"}
    assert second.log_server == first.log_server
    assert second.position.covers(first.position)

    # The coordinates of a server that is not the source any more say nothing.
    stage.conn.execute("UPDATE dbbridge.proofs SET position_offset = 1, log_server = 'another'")
    world.mysql("INSERT INTO t VALUES (3, 1)")
    third = stage.round()["t"]
    assert asked.pop().kind == gtids
    assert stage.differences("t")["3",] == "missing"
    assert third.log_server == first.log_server


def test_the_server_whose_log_was_read_is_remembered(stage: Stage, asked: list[Position]) -> None:
    """Since the verification was opened, the source's name may have come to lead to another one."""
    world = stage.world
    world.mysql("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    stage.copied("t")
    stage.swept()
    stage.verifier = replace(stage.verifier, source_id="the one before")
    asked.clear()

    world.mysql("INSERT INTO t VALUES (2)")
    assert stage.round()["t"].log_server == identity_of(world)
    assert asked.pop().kind.endswith("gtid")
    world.mysql("INSERT INTO t VALUES (3)")
    assert stage.round()["t"].log_server == identity_of(world)
    assert asked.pop().kind == "file"

    # It has the place of the log that the verification knew, at another server's coordinates.
    stage.conn.execute("UPDATE dbbridge.proofs SET log_server = 'the one before'")
    world.mysql("INSERT INTO t VALUES (4)")
    assert stage.round()["t"].log_server == identity_of(world)
    assert asked.pop().kind.endswith("gtid")
    assert stage.differences("t") == {(key,): "missing" for key in "234"}


def test_coordinates_of_another_log_are_not_believed(stage: Stage, asked: list[Position]) -> None:
    """By another server, or by one of the same name that has not what was read."""
    world = stage.world
    with closing(world.source()) as source:
        here, end = lower_bound(source), upper_bound(source)
    identity = identity_of(world)
    read = replace(here, file=end.file, offset=end.offset)
    text = ",".join(
        [f"{sid}:1-{1 << 60}" for sid in here.sets]
        + [f"{domain}-{server}-{1 << 60}" for domain, (server, _) in here.domains.items()]
    )
    never = replace(read, text=text)
    for position, server in ((read, identity), (read, "another"), (never, identity)):
        stage.verifier.open_log(position, server).log.close()
    assert asked == [Position.at(end.file, end.offset), read, never]
    with pytest.raises(PositionPurged):
        stage.verifier.open_log(asked[0], "another")


@pytest.fixture(params=["mariadb", "mysql"])
def alone(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SourceDatabase]:
    """A database on a server of its own, whose log nobody else writes or purges."""
    server = servers.start(request.param, tmp_path / "source")
    database = SourceDatabase(server, "alone")
    with closing(SourceDatabase(server, "mysql").connect()) as conn, conn.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {database.name} CHARACTER SET utf8mb4")
    yield database
    server.stop(kill=True)


def begin_anew(world: World) -> None:
    """Begins a new file of the log, and purges those before it."""
    world.mysql("FLUSH BINARY LOGS")
    with closing(world.source()) as source:
        file = upper_bound(source).file
    purge(world.source, file)


def test_where_the_file_is_gone_the_log_is_read_on_by_gtid(
    alone: SourceDatabase, target_db: TargetDatabase, asked: list[Position]
) -> None:
    """A quiet source begins files and purges them; nothing is lost by that."""
    stage = Stage(World(alone, target_db))
    world = stage.world
    world.mysql("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    stage.copied("t")
    stage.swept()
    world.mysql("INSERT INTO t VALUES (2)")
    before = stage.round()["t"]
    assert before.log_server == identity_of(world)

    begin_anew(world)
    world.mysql("INSERT INTO t VALUES (3)")
    asked.clear()
    after = stage.round()["t"]
    assert [each.kind for each in asked] == ["file", before.position.kind]
    assert (after.obstacle, after.log_server) == ("", before.log_server)
    assert after.position.file != before.position.file
    assert stage.differences("t") == {("2",): "missing", ("3",): "missing"}

    # What is purged and was not read is lost by either way.
    world.mysql("INSERT INTO t VALUES (4)")
    begin_anew(world)
    world.mysql("INSERT INTO t VALUES (5)")
    assert "no longer reaches back" in stage.round()["t"].obstacle
    stage.conn.close()


def test_who_is_interrupted_does_not_wait_for_the_round_beside(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have locked a table for as long as he likes."""
    monkeypatch.setattr(run, "FOLLOW_SECONDS", 0.05)
    world = stage.world
    world.mysql("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1)")
    stage.copied("t")
    stage.swept()
    world.mysql("UPDATE t SET v = 2")
    waiting = "SELECT FROM pg_locks JOIN pg_class c ON c.oid = relation WHERE NOT granted"
    beside = run.Beside(stage.verifier, stage.tables)
    with closing(world.target()) as locker:
        release = threading.Timer(WAIT_SECONDS, locker.close)
        locker.execute(f"BEGIN; LOCK TABLE {stage.tables[0].relation.postgres}".encode())
        with suppress(KeyboardInterrupt), beside:
            until(lambda: bool(stage.conn.execute(waiting.encode()).fetchall()))
            release.start()
            raise KeyboardInterrupt
        assert not locker.closed
        release.cancel()
    assert beside._thread is not None
    beside._thread.join(WAIT_SECONDS)
    assert not beside._thread.is_alive()
