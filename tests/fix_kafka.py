"""Kafka, Kafka Connect and Debezium for tests.

As with the other servers, each starts when the first test asks for it. Without Java and Maven
their tests are skipped, and the summary counts them (``fix_servers``). A test that uses them
lies in a file or folder with ``kafka`` in its name, so that one process of the tests has them all.
"""

from __future__ import annotations

import functools
import itertools
import secrets
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from compose.local import connect as workers
from compose.local import debezium
from compose.local.rest import Connect
from compose.local.servers import Server

ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class Kafka:
    """A broker; topics are made before they are used, since the broker makes none by itself."""

    server: Server

    @property
    def bootstrap(self) -> str:
        """The broker's address, as clients take it."""
        return self.server.url()

    def admin(self) -> AdminClient:
        """A client for topics, groups and offsets."""
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def create(self, topic: str, partitions: int = 1, **config: str) -> None:
        """Make a topic; of the names of settings, dots are written as underscores."""
        settings = {name.replace("_", "."): value for name, value in config.items()}
        admin = self.admin()
        made = admin.create_topics([NewTopic(topic, partitions, 1, config=settings)])
        made[topic].result(ANSWER_SECONDS)

    def send(self, topic: str, *values: bytes | None, partition: int = 0, **options: Any) -> None:
        """Send messages and wait until the broker has them."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 0})
        for value in values:
            producer.produce(topic, value, partition=partition, **options)
        assert producer.flush(ANSWER_SECONDS) == 0

    def read(self, topic: str, count: int, group: str = "reader", **config: Any) -> list[Message]:
        """So many messages of a topic, from its beginning; nothing is committed."""
        with closing(self.follow(topic, group, **config)) as messages:
            return list(itertools.islice(messages, count))

    def follow(
        self, topic: str, group: str = "reader", **config: Any
    ) -> Generator[Message, None, None]:
        """The messages of a topic as they come, which may be made later; fails when none comes."""
        settings = {
            "bootstrap.servers": self.bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "topic.metadata.refresh.interval.ms": 100,
            "allow.auto.create.topics": False,
            "log_level": 0,
            **config,
        }
        consumer = Consumer(settings)
        consumer.subscribe([topic])
        try:
            while message := consumer.poll(ANSWER_SECONDS):
                if message.error() is None:  # else, for one, that the topic is not there yet
                    yield message
            raise AssertionError(f"nothing in {topic} for {ANSWER_SECONDS:.0f} s")
        finally:
            consumer.close()


@pytest.fixture(scope="session")
def kafka(server_of: Callable[..., Server]) -> Kafka:
    """A Kafka broker."""
    return Kafka(server_of("kafka"))


@pytest.fixture(scope="session")
def connect(server_of: Callable[..., Server], kafka: Kafka) -> Connect:
    """A worker of Kafka Connect with Debezium's connector for MySQL."""
    options = functools.partial(workers.options, kafka.bootstrap)
    return Connect(server_of("connect", options).url())


@pytest.fixture
def topic_prefix() -> str:
    """The beginning of names of topics that no other test uses."""
    return f"t{secrets.token_hex(5)}"


@pytest.fixture
def consumer_group() -> str:
    """A group of consumers that no other test uses."""
    return f"g{secrets.token_hex(5)}"


@pytest.fixture
def capture(kafka: Kafka, connect: Connect) -> Iterator[Callable[..., str]]:
    """Starts a connector of ``debezium.source`` for a database's URL; its topics' prefix.

    The prefix, new unless it is given, is the connector's name as well. It runs on return, though
    its snapshot may not be over, and is deleted when the test ends.
    """
    started: list[str] = []

    def start(url: str, *, overrides: Mapping[str, str] | None = None, **options: Any) -> str:
        name = options.pop("prefix", f"t{secrets.token_hex(5)}")
        config = debezium.source(
            url, prefix=name, bootstrap=kafka.bootstrap, overrides=overrides, **options
        )
        connect.put(name, config)
        started.append(name)
        connect.wait(name)
        return str(name)

    yield start
    for name in started:
        if name in connect.connectors():
            connect.delete(name)
