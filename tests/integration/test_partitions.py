"""Offsets of partitions in the control schema: the order in which their rows are locked."""

from __future__ import annotations

import threading
import time

from bridge.names import TableName
from bridge.store.lease import acquire
from bridge.store.migrate import migrate
from bridge.store.partitions import PartitionState, add_partition, fence_table
from tests.fix_servers import TargetDatabase

ITEMS = TableName("s", "items")
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
        look.execute(
            "INSERT INTO dbbridge.tables (pipeline, source_schema, source_table, target_schema,"
            " target_table, mapping, version) VALUES ('test', 's', 'items', 'public', 'items',"
            " '{}', 'v')"
        )
        for number in (1, 0):  # the later one lies first
            state = PartitionState("t", number, 1, ITEMS, "id", 0, 0, "", None, True, "stream")
            add_partition(look, "test", state)
        look.execute("ANALYZE dbbridge.partitions")
        with batch.transaction():
            batch.execute(LOCK, (0,))
            fencing = threading.Thread(target=fence_table, args=(fence, "test", ITEMS), daemon=True)
            fencing.start()
            deadline = time.monotonic() + SECONDS
            while not look.execute(WAITING).fetchall()[0][0]:
                assert time.monotonic() < deadline
            batch.execute(LOCK, (1,))
        fencing.join(SECONDS)
        found = look.execute("SELECT epoch FROM dbbridge.partitions").fetchall()
        assert found == [(1,), (1,)]
