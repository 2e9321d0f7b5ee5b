"""compose.yaml's connector, its account, and where Connect gets the password from."""

from __future__ import annotations

import functools
import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pymysql
import pytest

from compose.local import connect as workers
from compose.local import servers
from compose.local.rest import Connect
from compose.local.servers import Server
from tests.composition import FILE, FOLDER, SERVICES, accounts_sql
from tests.fix_kafka import Kafka


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    for name in FILE["secrets"]:
        (tmp_path / name).write_text(secrets.token_hex(12))
    return tmp_path


@pytest.fixture
def shop(tmp_path: Path, passwords: Path) -> Iterator[Server]:
    """The service mysql with its accounts."""
    server = servers.start("mysql", tmp_path / "mysql", options=SERVICES["mysql"]["command"])
    run_on(server, "CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)")
    run_on(server, *accounts_sql("source.sh", passwords))
    yield server
    server.stop(kill=True)


@pytest.fixture
def worker(tmp_path: Path, passwords: Path, kafka: Kafka) -> Iterator[Connect]:
    """The service connect with its providers of secrets."""
    found = SERVICES["connect"]["environment"].items()
    given = [
        # as the image's entrypoint makes settings of variables
        f"{name.removeprefix('CONNECT_').lower().replace('_', '.')}="
        + value.replace("/run/secrets", str(passwords))
        for name, value in found
        if name.startswith("CONNECT_")
    ]
    options = [*workers.options(kafka.bootstrap), *given]
    server = servers.start("connect", tmp_path / "connect", options=options)
    yield Connect(server.url())
    server.stop(kill=True)


def run_on(server: Server, *statements: str) -> None:
    connect = functools.partial(pymysql.connect, host=server.host, port=server.port)
    connection = connect(user=server.user, password=server.password, autocommit=True)
    with closing(connection) as conn, conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_the_connector_runs_and_changes_come(
    worker: Connect, shop: Server, kafka: Kafka, passwords: Path, topic_prefix: str
) -> None:
    text = (FOLDER / "connector.json").read_text().replace("/run/secrets", str(passwords))
    worker.put(
        topic_prefix,
        json.loads(text)
        | {
            "database.hostname": shop.host,
            "database.port": str(shop.port),
            "topic.prefix": topic_prefix,
            "schema.history.internal.kafka.bootstrap.servers": kafka.bootstrap,
            "schema.history.internal.kafka.topic": f"{topic_prefix}.history",
        },
    )
    worker.wait(topic_prefix)
    kafka.read(topic_prefix, 1)  # definitions: from here on nothing passes unseen
    run_on(shop, "INSERT INTO shop.t VALUES (7)")
    (message,) = kafka.read(f"{topic_prefix}.shop.t", 1)
    assert json.loads(message.value() or b"")["after"] == {"id": 7}
    worker.delete(topic_prefix)
