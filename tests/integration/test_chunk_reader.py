"""A reader of chunks: what it takes, and what it leaves alone, though it was called for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from bridge.capture.binlog.positions import server_identity
from bridge.capture.catalog import read_catalog
from bridge.errors import ConfigError
from bridge.mapping.compile import compile_table
from bridge.mapping.model import to_document
from bridge.mapping.propose import propose_table
from bridge.names import TableName
from bridge.replicate.errands import MOST_TRIES
from bridge.replicate.reader import Reader
from bridge.replicate.servers import Servers
from bridge.sink.ddl import create_table
from bridge.store.lease import Fence
from bridge.store.migrate import migrate
from bridge.store.state import Q
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.verifying import World

PIPELINE = "p"
EPOCH = 3


class Offered:
    """A table of three rows, two chunks of which a daemon has offered."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.mysql("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1,1)")
        world.mysql("INSERT INTO t VALUES (2,2), (3,3)")
        name = TableName(world.source_db.name, "t")
        with closing(world.source()) as source:
            table = read_catalog(source, name.schema, ["t"])[name]
            self.source_id = server_identity(source)
        mapping = propose_table(table, ())
        plan = compile_table(mapping, table)
        self.conn: psycopg.Connection[Any] = world.target()
        migrate(self.conn)
        for statement in create_table(plan):
            self.conn.execute(statement.encode())
        self.relation = plan.target
        self.names = {"pipeline": PIPELINE, "schema": name.schema, "table": "t", "generation": 1}
        place = {"target_schema": plan.target.schema, "target_table": plan.target.table}
        facts = {"mapping": Jsonb(to_document(mapping)), "version": plan.version, "rows": 3}
        self.conn.execute(
            "INSERT INTO dbbridge.pipeline (name, epoch) VALUES (%s, %s)", (PIPELINE, EPOCH)
        )
        me = {"pipeline": PIPELINE, "epoch": EPOCH, "host": "h", "boot": "", "pid": 1}
        self.conn.execute(Q["set_daemon"], me)
        # Nobody renews it, however long a test takes.
        self.conn.execute("UPDATE dbbridge.daemon SET renewed_at = now() + interval '1 hour'")
        self.conn.execute(Q["add_table"], {**self.names, **place, **facts})
        self.conn.execute("UPDATE dbbridge.tables SET stage = 'copying'")
        for number, lower, upper in ((0, None, [b"2"]), (1, [b"2"], None)):
            chunk = {**self.names, "number": number}
            self.conn.execute(Q["add_chunk"], {**chunk, "lower": lower, "upper": upper})
            self.conn.execute(Q["add_errand"], {**chunk, "epoch": EPOCH})

    def read(self, *, epoch: int = EPOCH, source_id: str = "") -> tuple[int, int]:
        world = self.world
        servers = Servers(world.source, world.source, world.target, PIPELINE)
        fence = Fence(PIPELINE, epoch)
        return Reader(servers, fence, source_id or self.source_id, "w:1").run(lambda: True)

    def rows(self) -> list[Any]:
        query = f"SELECT id FROM {self.relation.postgres} ORDER BY id"
        return [row[0] for row in self.conn.execute(query.encode())]

    def errands(self, what: str) -> list[Any]:
        return self.conn.execute(
            f"SELECT {what} FROM dbbridge.errands ORDER BY id".encode()
        ).fetchall()


@pytest.fixture
def offered(source_db: SourceDatabase, target_db: TargetDatabase) -> Iterator[Offered]:
    made = Offered(World(source_db, target_db))
    with closing(made.conn):
        yield made


def test_what_was_offered_is_read_once(offered: Offered) -> None:
    assert offered.read() == (2, 3)
    assert offered.rows() == [1, 2, 3]
    assert offered.errands("*") == []
    done = offered.conn.execute("SELECT bool_and(done), count(*) FROM dbbridge.chunks").fetchone()
    assert done == (True, 2)
    # An errand that came too late, over a chunk that is done.
    offered.conn.execute(Q["add_errand"], {**offered.names, "number": 0, "epoch": EPOCH})
    assert offered.read() == (0, 0)
    assert offered.errands("worker, tries") == [("", 0)]
    assert offered.rows() == [1, 2, 3]


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_nothing_is_read_for_a_daemon_that_is_gone(offered: Offered) -> None:
    assert offered.read(epoch=EPOCH - 1) == (0, 0)
    offered.conn.execute("UPDATE dbbridge.daemon SET renewed_at = now() - interval '1 minute'")
    assert offered.read() == (0, 0)
    offered.conn.execute("DELETE FROM dbbridge.daemon")
    assert offered.read() == (0, 0)
    assert offered.rows() == []


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_another_server_than_the_daemons_is_not_read(offered: Offered) -> None:
    with pytest.raises(ConfigError, match="but the daemon copies from another@server"):
        offered.read(source_id="another@server")
    assert offered.rows() == []


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
@pytest.mark.parametrize("what", ["paused = true", "error_code = 'x'", "stage = 'new'"])
def test_a_table_that_stands_still_is_left_alone(offered: Offered, what: str) -> None:
    offered.conn.execute(f"UPDATE dbbridge.tables SET {what}".encode())
    assert offered.read() == (0, 0)
    assert offered.rows() == []
    assert {tries for (tries,) in offered.errands("tries")} == {0}


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_a_chunk_that_somebody_reads_is_his(offered: Offered) -> None:
    with offered.world.target() as other, other.transaction():
        other.execute(Q["take_chunk"], {**offered.names, "number": 0})
        assert offered.read() == (0, 0)
    assert offered.read() == (2, 3)


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_another_definition_stops_the_table(offered: Offered) -> None:
    offered.world.mysql("ALTER TABLE t MODIFY v varchar(20)")
    offered.read()
    assert offered.rows() == []
    stops = [stop["code"] for (stop,) in offered.errands("stop")]
    assert stops == ["definition-changed"] * 2


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_what_fails_is_written_down_and_given_up_in_the_end(offered: Offered) -> None:
    offered.conn.execute(f"DROP TABLE {offered.relation.postgres}".encode())
    for _ in range(2 * MOST_TRIES):
        with pytest.raises(Exception, match="does not exist"):
            offered.read()
    assert offered.read() == (0, 0)
    assert offered.errands("tries, worker") == [(MOST_TRIES, "")] * 2
    assert all("does not exist" in error for (error,) in offered.errands("error"))
