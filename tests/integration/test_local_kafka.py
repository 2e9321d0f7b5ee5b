"""The local Kafka, Connect and Debezium: what other tests and the demo rely on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from compose.local import connect as workers
from compose.local import debezium, listeners, places, processes, servers
from compose.local.errors import Unavailable
from compose.local.listeners import Secured
from compose.local.rest import Connect, ConnectorFailed, RestError
from compose.local.servers import Server
from tests.fix_kafka import Kafka
from tests.fix_servers import UNAVAILABLE, SourceDatabase, _connect_mysql

USERS = {"alice": "wonderland"}
SECONDS = 60.0
FAILING_SECONDS = 180.0
"""A connector takes half a minute to fail, whatever the machine does."""


@pytest.fixture
def shop(mysql: Server, topic_prefix: str) -> Iterator[SourceDatabase]:
    """A database on MySQL with a table of one row."""
    database = SourceDatabase(mysql, topic_prefix)
    with _connect_mysql(mysql) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {database.name}")
        cursor.execute(f"CREATE TABLE {database.name}.t (id int PRIMARY KEY, price decimal(9,2))")
        cursor.execute(f"INSERT INTO {database.name}.t VALUES (1, 1.5)")
        yield database
        cursor.execute(f"DROP DATABASE {database.name}")


def test_a_killed_broker_comes_back_with_its_data(kafka: Kafka, tmp_path: Path) -> None:
    server = servers.start("kafka", tmp_path, options=["log.retention.hours=1", "-Xmx150m"])
    own = Kafka(server)
    own.create("kept", partitions=2)
    own.send("kept", b"before")
    server.stop(kill=True)
    again = server.restart()
    try:
        assert (again.port, again.version) == (server.port, server.version)
        assert again.version != kafka.server.version, "each broker is a cluster of its own"
        own.send("kept", b"after")
        assert [m.value() for m in own.read("kept", 2)] == [b"before", b"after"]
    finally:
        again.stop()


def test_aborted_transactions_are_not_read(kafka: Kafka, topic_prefix: str) -> None:
    kafka.create(topic_prefix)
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "transactional.id": topic_prefix, "log_level": 0}
    )
    producer.init_transactions()
    for value in (b"aborted", b"committed"):
        producer.begin_transaction()
        producer.produce(topic_prefix, value)
        (producer.abort_transaction if value == b"aborted" else producer.commit_transaction)()
    assert [m.value() for m in kafka.read(topic_prefix, 1)] == [b"committed"]


def test_reading_makes_no_topic(kafka: Kafka, topic_prefix: str) -> None:
    asked = kafka.admin().list_topics(topic_prefix, timeout=SECONDS).topics[topic_prefix]
    assert asked.error is not None and asked.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert topic_prefix not in kafka.admin().list_topics(timeout=SECONDS).topics


def test_rows_of_mysql_arrive(
    kafka: Kafka, connect: Connect, capture: Callable[..., str], shop: SourceDatabase
) -> None:
    prefix = capture(shop.url, tables=["t"])
    topic = f"{prefix}.{shop.name}.t"
    assert _rows(kafka, topic, 1) == [("r", {"id": 1, "price": "1.50"})]
    with shop.connect() as source, source.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (2, NULL)")
    assert _rows(kafka, topic, 2)[1] == ("c", {"id": 2, "price": None})
    connect.pause(prefix)
    connect.wait(prefix, "PAUSED")
    connect.resume(prefix)
    connect.wait(prefix)
    connect.stop(prefix)
    assert connect.wait(prefix, "STOPPED").tasks == ()
    assert [offset["partition"] for offset in connect.offsets(prefix)] == [{"server": prefix}]
    connect.forget_offsets(prefix)
    assert connect.offsets(prefix) == []


def _rows(kafka: Kafka, topic: str, count: int) -> list[tuple[str, object]]:
    events = [json.loads(message.value() or b"") for message in kafka.read(topic, count)]
    return [(event["op"], event["after"]) for event in events]


def test_why_a_connector_failed_is_told(
    connect: Connect, capture: Callable[..., str], shop: SourceDatabase
) -> None:
    with pytest.raises(RestError, match="Access denied"):
        capture(shop.url.replace(f":{shop.server.password}@", ":wrong@"))
    name = shop.name
    with suppress(ConnectorFailed):
        thrice = {"topic.creation.default.replication.factor": "3"}
        capture(shop.url, prefix=name, overrides=thrice)
    assert "Unable to create topic" in connect.wait(name, "FAILED", FAILING_SECONDS).trace
    with pytest.raises(ConnectorFailed, match=f"{name}: .*Unable to create topic"):
        connect.wait(name)
    connect.delete(name)
    with pytest.raises(RestError) as gone:
        connect.status(name)
    assert gone.value.status == 404


def test_a_killed_worker_goes_on(
    kafka: Kafka, connect: Connect, shop: SourceDatabase, tmp_path: Path
) -> None:
    server = servers.start("connect", tmp_path, options=workers.options(kafka.bootstrap))
    own, name = Connect(server.url()), f"{shop.name}_own"
    try:
        own.put(name, debezium.source(shop.url, prefix=name, bootstrap=kafka.bootstrap))
        assert name not in connect.connectors(), "workers share no group unless they are told to"
        assert len(_rows(kafka, f"{name}.{shop.name}.t", 1)) == 1
        server.stop(kill=True)
        server = server.restart()
        own.wait(name)
        with shop.connect() as source, source.cursor() as cursor:
            cursor.execute("INSERT INTO t VALUES (2, NULL)")
        with closing(kafka.follow(f"{name}.{shop.name}.t")) as messages:
            assert any(b'"after":{"id":2,' in (message.value() or b"") for message in messages)
    finally:
        server.stop(kill=True)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker with TLS and SASL."""
    try:
        started = listeners.start(tmp_path_factory.mktemp("secured"), USERS)
    except Unavailable as reason:
        pytest.skip(f"{UNAVAILABLE}: kafka ({reason})")
    yield started
    started.server.stop(kill=True)


def trouble(secured: Secured, listener: str, **settings: str) -> str:
    """What keeps a client from the broker; nothing if it gets through."""
    said: list[str] = []
    config: dict[str, Any] = {
        "bootstrap.servers": secured.addresses[listener],
        "security.protocol": listeners.PROTOCOLS[listener.upper()],
        "error_cb": lambda error: said.append(error.str()),
        "log_level": 0,
        **{name.replace("_", "."): value for name, value in settings.items()},
    }
    client = AdminClient(config)
    deadline = time.monotonic() + SECONDS
    while not said and time.monotonic() < deadline:
        try:
            assert client.list_topics(timeout=0.5).brokers
        except KafkaException:
            client.poll(0)
        else:
            return ""
    return said[0]


def test_tls_is_checked_on_both_sides(secured: Secured) -> None:
    trust = {"ssl_ca_location": str(secured.authority)}
    assert trouble(secured, "tls", **trust) == ""
    assert "certificate" in trouble(secured, "tls")
    for identity, accepted in ((secured.client, True), (secured.stranger, False)):
        own = {
            "ssl_certificate_location": str(identity.certificate),
            "ssl_key_location": str(identity.key),
        }
        assert ("certificate" not in trouble(secured, "mutual", **trust, **own)) == accepted
    assert "certificate" in trouble(secured, "mutual", **trust)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_sasl_knows_the_password(secured: Secured, mechanism: str) -> None:
    login = {
        "ssl_ca_location": str(secured.authority),
        "sasl_mechanism": mechanism,
        "sasl_username": "alice",
    }
    assert trouble(secured, "sasl", **login, sasl_password=USERS["alice"]) == ""
    assert "uthentication failed" in trouble(secured, "sasl", **login, sasl_password="wrong")


OWNER = """
import sys, time
from pathlib import Path
from compose.local import servers
print(servers.start("kafka", Path(sys.argv[1])).pid, flush=True)
time.sleep(600)
"""


@pytest.mark.crash
def test_a_broker_ends_with_its_owner_however_that_ends(kafka: Kafka, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        cwd=places.CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert processes.birth(pid) is not None
        os.kill(owner.pid, signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while processes.birth(pid) is not None:
        assert time.monotonic() < deadline, "it outlived its owner"
        time.sleep(0.05)
