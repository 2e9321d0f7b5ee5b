"""Offsets of partitions in the control schema: who may write them, and the order of locks."""

from __future__ import annotations

import threading
import time

from bridge.names import TableName
from bridge.store.lease import acquire
from bridge.store.migrate import migrate
from bridge.store.partitions import (
    PartitionState,
    add_partition,
    drop_partition,
    fence_table,
    take_partition,
)
from tests.fix_servers import TargetDatabase

ITEMS = TableName("s", "items")
TABLE = """
INSERT INTO dbbridge.tables (pipeline, source_schema, source_table, target_schema, target_table,
                             mapping, version)
VALUES ('test', 's', 'items', 'public', 'items', '{}', 'v')"""
EPOCHS = "SELECT epoch FROM dbbridge.partitions ORDER BY partition"
LOCK = (
    "SELECT FROM dbbridge.partitions WHERE pipeline = 'test' AND partition = %s"
    " FOR NO KEY UPDATE NOWAIT"
)
WAITING = (
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
    " AND wait_event_type = 'Lock')"
)
SECONDS = 60.0


def test_a_fence_holds_nothing_behind_what_it_waits_for(target_db: TargetDatabase) -> None:
    """Who applies a batch locks the first partition first: each could wait for the other."""
    connect = target_db.connect
    with connect() as look, connect() as batch, connect() as fence, connect() as leading:
        migrate(look)
        acquire(leading, "test")
        look.execute(TABLE)
        for number in (1, 0):  # the later one lies first
            state = PartitionState("t", number, 1, ITEMS, "id", 0, 0, "", None, True, "stream")
            add_partition(look, "test", state)
        look.execute("ANALYZE dbbridge.partitions")
        before = look.execute(EPOCHS).fetchall()
        with batch.transaction():
            batch.execute(LOCK, (0,))
            fencing = threading.Thread(target=fence_table, args=(fence, "test", ITEMS), daemon=True)
            fencing.start()
            deadline = time.monotonic() + SECONDS
            while not look.execute(WAITING).fetchall()[0][0]:
                assert time.monotonic() < deadline
            batch.execute(LOCK, (1,))
        fencing.join(SECONDS)
        assert look.execute(EPOCHS).fetchall() == [(epoch + 1,) for (epoch,) in before]


def test_a_partition_that_begins_anew_has_no_epoch_of_before(target_db: TargetDatabase) -> None:
    """Who had it then, and stood still meanwhile, may neither write nor take it for his own."""
    with target_db.connect() as conn, target_db.connect() as leading:
        migrate(conn)
        acquire(leading, "test")
        conn.execute(TABLE)
        state = PartitionState("t", 0, 1, ITEMS, "id", 0, 0, "", None, True, "stream")
        had = set()
        for _ in range(3):
            add_partition(conn, "test", state)
            for _ in range(3):
                taken = take_partition(conn, "test", state, "somebody")
                assert taken is not None and taken.epoch not in had
                had.add(taken.epoch)
            drop_partition(conn, "test", state)
