"""What a real Kafka Connect tells of a connector."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from bridge.databases.connect import ConnectClient
from bridge.databases.connect_url import ConnectEndpoint
from bridge.errors import ConfigError, ServerUnreachable
from compose.local.rest import Connect, ConnectorFailed
from compose.local.servers import Server
from tests.fix_servers import SourceDatabase, _connect_mysql

SECONDS = 60.0
FAILING_SECONDS = 180.0
"""It takes half a minute to fail, whatever the machine does."""


@pytest.fixture
def shop(mysql: Server, topic_prefix: str) -> Iterator[SourceDatabase]:
    """A database on MySQL with a table of one row."""
    database = SourceDatabase(mysql, topic_prefix)
    with _connect_mysql(mysql) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {database.name}")
        cursor.execute(f"CREATE TABLE {database.name}.t (id int PRIMARY KEY)")
        cursor.execute(f"INSERT INTO {database.name}.t VALUES (1)")
        yield database
        cursor.execute(f"DROP DATABASE {database.name}")


def test_what_connect_tells(
    connect: Connect, capture: Callable[..., str], shop: SourceDatabase
) -> None:
    client = ConnectClient(ConnectEndpoint(connect.url))
    with pytest.raises(ConfigError, match="no connector “none of this name”"):
        client.status("none of this name")
    name = capture(shop.url, prefix=f"{shop.name}.a-b")
    assert name in client.connectors()
    config = client.config(name)
    assert (config["topic.prefix"], config["skipped.operations"]) == (name, "none")
    status = client.status(name)
    assert status.running
    assert (status.state, status.tasks, status.trace) == ("RUNNING", ("RUNNING",), "")
    (offset,) = _offsets(client, name)
    assert {"file", "pos", "gtids"} <= offset.keys()
    connect.pause(name)
    connect.wait(name, "PAUSED")
    assert not client.status(name).running
    with pytest.raises(ConfigError, match="there is no connector") as caught:
        client.config(name[:-1])
    assert f"did you mean “{name}”" in caught.value.hint


def test_why_a_connector_fails(
    connect: Connect, capture: Callable[..., str], shop: SourceDatabase
) -> None:
    client = ConnectClient(ConnectEndpoint(connect.url))
    name, thrice = shop.name, {"topic.creation.default.replication.factor": "3"}
    with contextlib.suppress(ConnectorFailed):
        capture(shop.url, prefix=name, overrides=thrice)
    connect.wait(name, "FAILED", FAILING_SECONDS)
    status = client.status(name)
    assert not status.running
    assert status.tasks == ("FAILED",)
    assert "Unable to create topic(s)" in status.trace
    assert "Caused by: org.apache.kafka.common" in status.trace
    assert "\n" not in status.trace


def test_a_worker_that_is_not_there() -> None:
    with pytest.raises(ServerUnreachable, match="refused"):
        ConnectClient(ConnectEndpoint("http://127.0.0.1:1")).connectors()


def _offsets(client: ConnectClient, name: str) -> list[dict[str, object]]:
    """What is committed every second."""
    deadline = time.monotonic() + SECONDS
    while not (found := client.offsets(name)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found
