"""What the target is told of how far all is safe in the source."""

from __future__ import annotations

import time

from bridge.reverse import slots
from tests.integration.reverse.rig import GROUP, PATIENCE, PIPELINE, Rig


def test_a_server_of_little_patience_need_not_ask(rig: Rig) -> None:
    """Whoever asks gets everything confirmed, and a failover of the source would lose it.

    It would ask after four seconds of silence.
    """
    rig.make({"one": "id int PRIMARY KEY, n int"})
    with rig.target.connect() as conn:
        conn.execute(f"ALTER ROLE \"{rig.accounts.name}\" SET wal_sender_timeout = '8s'".encode())
    rig.start()
    before = rig.drain().applied
    rig.write("INSERT INTO one VALUES (1, 1)")
    rig.drain()
    deadline = time.monotonic() + PATIENCE
    with rig.target.connect() as conn:
        (then,) = conn.execute("SELECT now() + interval '5 s'").fetchone() or (None,)
        query = "SELECT 1 FROM pg_stat_replication WHERE usename = %s AND reply_time > %s"
        while not conn.execute(query, (rig.accounts.name, then)).fetchall():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        slot = slots.read_slot(conn, slots.slot_name(rig.target.name, PIPELINE, GROUP))
    assert slot is not None and slot.confirmed <= before
