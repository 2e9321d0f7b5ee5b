"""A rig for each kind of source."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.integration.reverse.rig import Rig, new_rig


@pytest.fixture
def rig(source_db: SourceDatabase, target_db: TargetDatabase) -> Iterator[Rig]:
    """Ends with its sessions, its slot and its accounts."""
    made = new_rig(source_db, target_db)
    try:
        yield made
    finally:
        made.close()
        made.await_idle()
        with target_db.connect() as conn:
            conn.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                " WHERE database = %s",
                (target_db.name,),
            )
        made.accounts.drop()
