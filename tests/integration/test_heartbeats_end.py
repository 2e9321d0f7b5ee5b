"""Heartbeats end when the daemon does, whatever the source does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from bridge.databases import mysql
from bridge.errors import ServerUnreachable
from bridge.names import TableName
from bridge.replicate.heartbeat import Heartbeat
from tests.engines import Rig
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.waiting import WAIT_SECONDS, until


@pytest.fixture
def rig(source_db: SourceDatabase, target_db: TargetDatabase) -> Iterator[Rig]:
    rig = Rig(source_db, target_db)
    yield rig
    rig.close()


def test_a_source_that_is_away_when_an_engine_begins(rig: Rig) -> None:
    """It is said that the source is away, which the daemon waits for."""
    nobody = replace(rig.source, port=1)
    servers = replace(
        rig.servers, source=lambda: mysql.connect(nobody), heartbeat=(rig.name("beat"), 1.0)
    )
    with pytest.raises(ServerUnreachable), rig.running(servers):
        pass


def test_a_lock_does_not_hold_up_the_end(rig: Rig) -> None:
    """As FLUSH TABLES WITH READ LOCK does, which would reach other tests' tables as well."""
    name = TableName(rig.source_db.name, "beat")
    beats = Heartbeat(rig.servers.source, name, 0.05, "p", lambda position: True)
    beats.start()
    waits = (
        f"SELECT 1 FROM information_schema.processlist WHERE info LIKE 'INSERT INTO {name.mysql}%'"
    )
    try:
        until(lambda: beats.lag is not None)
        with closing(rig.source_db.connect()) as backup, backup.cursor() as cursor:
            cursor.execute("LOCK TABLES beat READ")
            until(lambda: rig.mysql(waits + " AND state LIKE 'Waiting%'"))
            ending = threading.Thread(target=beats.stop, daemon=True)
            ending.start()
            ending.join(WAIT_SECONDS)
            assert not ending.is_alive()
    finally:
        beats.stop()
