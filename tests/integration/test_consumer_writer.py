"""A consumer's writer against PostgreSQL: it ends when it shall."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pytest

from bridge.change.batch import Batch, Segment, Stretch, TableOps
from bridge.replicate.kafka import writer as writers
from bridge.replicate.kafka.writer import Writer
from bridge.sink.target import Target
from bridge.store.lease import acquire
from bridge.store.migrate import migrate
from bridge.store.partitions import PartitionState, add_partition, take_partition
from tests.fix_servers import TargetDatabase
from tests.plans import create, plan

ITEMS = plan("items", [("id", "integer"), ("n", "integer")])
WAITING = (
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
    " AND wait_event_type = 'Lock')"
)
SECONDS = 60.0


@dataclass
class Told:
    rows: int = 0


def batch(epoch: int, start: int) -> Batch:
    """One row, by one message."""
    ops = TableOps(rows={b"1": b"1\t%d" % start})
    stretch = Stretch("topic", 0, 1, epoch, start, start + 1, True, "stream")
    return Batch([Segment(tables={ITEMS.source: ops})], None, offsets=(stretch,))


def test_it_ends_with_a_batch_that_waits_and_another_behind_it(
    target_db: TargetDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "STOP_SECONDS", 0.2)
    with target_db.connect() as look, target_db.connect() as held, target_db.connect() as leading:
        migrate(look)
        look.execute(create(ITEMS).encode())
        acquire(leading, "test")
        look.execute(
            "INSERT INTO dbbridge.tables (pipeline, source_schema, source_table, target_schema,"
            " target_table, mapping, version) VALUES ('test', 's', 'items', 'public', 'items',"
            " '{}', 'v')"
        )
        state = PartitionState("topic", 0, 1, ITEMS.source, "id", 0, 0, "", None, True, "stream")
        add_partition(look, "test", state)
        taken = take_partition(look, "test", state, "me")
        assert taken is not None
        with held.transaction():
            held.execute("LOCK TABLE items IN SHARE MODE")
            writer = Writer(
                target_db.connect, "test", "me", [Target(ITEMS, 1, ITEMS.target)], Told()
            )
            assert writer.offer(batch(taken.epoch, 0), SECONDS)
            deadline = time.monotonic() + SECONDS
            while not look.execute(WAITING).fetchall()[0][0]:
                assert time.monotonic() < deadline
            assert writer.offer(batch(taken.epoch, 1), SECONDS)
            stopping = threading.Thread(target=writer.stop, daemon=True)
            stopping.start()
            assert writer.ended.wait(SECONDS)
            stopping.join(SECONDS)
            assert not stopping.is_alive()
        assert look.execute("SELECT FROM items").fetchall() == []
