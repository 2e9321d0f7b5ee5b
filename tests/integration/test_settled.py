"""What a copy beside Kafka has to see before it begins."""

from __future__ import annotations

from contextlib import closing

import pytest

from bridge.capture.binlog.positions import lower_bound, upper_bound
from bridge.errors import ServerUnreachable
from bridge.replicate.kafka import placing
from bridge.replicate.servers import Servers
from tests.fix_servers import SourceDatabase, TargetDatabase


@pytest.fixture
def servers(source_db: SourceDatabase, target_db: TargetDatabase) -> Servers:
    return Servers(source_db.connect, source_db.connect, target_db.connect, "p")


def test_a_log_that_cannot_be_read_in_time(
    servers: Servers, source_db: SourceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows then what has to be visible."""
    monkeypatch.setattr(placing, "SETTLE_SECONDS", -1.0)
    with (
        closing(source_db.connect()) as conn,
        pytest.raises(ServerUnreachable, match="could not be read up to"),
    ):
        placing.settled(servers, lambda: lower_bound(conn), upper_bound(conn))
