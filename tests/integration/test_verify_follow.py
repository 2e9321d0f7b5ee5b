"""What changed is looked at again: keys out of the log, judged while the target stood still."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from bridge.capture.binlog.connection import BinlogConnection
from bridge.capture.binlog.positions import lower_bound, server_identity, upper_bound
from bridge.mapping.model import to_document
from bridge.mapping.propose import propose_table
from bridge.names import TableName
from bridge.store.migrate import migrate
from bridge.verify.ledger import Ledger, Proof
from bridge.verify.run import Verifier
from bridge.verify.tables import Followed, prepare, states
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.verifying import World

PIPELINE = "p"
SERVER_ID = 0x42000000


class Stage:
    """Copied tables, and a control schema that says whatever the test wants it to say."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.conn = world.target()
        migrate(self.conn)
        self.conn.execute("INSERT INTO dbbridge.pipeline (name) VALUES ('p')")
        self.conn.execute(
            "INSERT INTO dbbridge.daemon (pipeline, epoch, host, boot, pid, backend, renewed_at)"
            " VALUES ('p', 0, '', '', 0, 0, now() + interval '1 hour')"
        )
        with closing(world.source()) as source:
            identity = server_identity(source)
        self.verifier = Verifier(
            PIPELINE,
            world,
            lambda start: BinlogConnection.open(world.source, start, SERVER_ID, 1.0),
            identity,
        )
        self.ledger = Ledger(self.conn, PIPELINE)
        self.tables: list[Followed] = []

    def copied(self, *names: str) -> None:
        """Copies the tables and lets them stream."""
        for name in names:
            plan = self.world.copied(name)
            document = to_document(propose_table(plan.table, ()))
            self.conn.execute(
                "INSERT INTO dbbridge.tables (pipeline, source_schema, source_table, target_schema,"
                " target_table, stage, mapping, version)"
                " VALUES ('p', %s, %s, %s, %s, 'streaming', %s, %s)",
                [
                    plan.source.schema, plan.source.table, plan.target.schema, plan.target.table,
                    json.dumps(document), plan.version,
                ],
            )  # fmt: skip
        with closing(self.world.source()) as source:
            applied(source, self.conn)
            known = states(self.conn, PIPELINE)
            self.tables = [
                table
                for table in prepare(source, known, {}, sorted(known))
                if isinstance(table, Followed)
            ]
        assert len(self.tables) == len(names)

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """The stream says that it has applied everything, whatever others do on the source."""
        done = threading.Event()

        def advance() -> None:
            with closing(self.world.source()) as source, closing(self.world.target()) as target:
                while not done.wait(0.02):
                    applied(source, target)

        thread = threading.Thread(target=advance)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def swept(self) -> None:
        """Proves all tables."""
        named = {table.name: table for table in self.tables}
        with self.streaming():
            run = self.verifier.begin(self.ledger, self.tables, "values", certify=True)
            for part in self.ledger.parts(run):
                assert self.verifier.sweep_part(self.ledger, run, part, named[part.table])
            result = self.verifier.finish(self.ledger, run, self.tables, named)
        assert result.verdict == "match", result

    def round(self) -> dict[str, Proof]:
        """One round of what changed; the proofs by the tables' names."""
        with self.streaming():
            self.verifier.follow(self.ledger, self.tables, threading.Event())
        return {name.table: proof for name, proof in self.ledger.proofs().items()}

    def differences(self, table: str) -> dict[tuple[str, ...], str]:
        """Known ones: key and kind."""
        name = TableName(self.world.source_db.name, table)
        return {key: d.kind for key, d in self.ledger.differences(name)}


def applied(source: Any, target: Any) -> None:
    """Writes down that the stream has applied everything."""
    low, high = lower_bound(source), upper_bound(source)
    target.execute(
        "UPDATE dbbridge.pipeline SET position_kind = %s, position = %s, position_file = %s,"
        " position_offset = %s",
        [low.kind, low.text, high.file, high.offset],
    )


@pytest.fixture
def stage(source_db: SourceDatabase, target_db: TargetDatabase) -> Any:
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
    assert "changed the definition" in proofs["u"].obstacle
    assert (proofs["w"].obstacle, stage.differences("w")) == ("", {("2",): "missing"})
