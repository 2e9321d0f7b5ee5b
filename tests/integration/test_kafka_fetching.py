"""Partitions change hands in a group, and are read from the offset that was told, no other one."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any
from unittest.mock import Mock

from confluent_kafka import Consumer, KafkaError, TopicPartition

from bridge.capture.topics import open_consumer
from bridge.databases.kafka import KafkaEndpoint
from bridge.replicate.kafka.fetching import Fetching
from bridge.replicate.kafka.post import Facts
from bridge.replicate.kafka.shift import OFFSET_GONE, Shift
from bridge.store.partitions import Place
from tests.fix_kafka import Kafka

TOPICS, PARTITIONS, MESSAGES = 8, 3, 60
REBALANCES = 3
PATIENCE_SECONDS = 60.0


def ignore(_: KafkaError) -> None:
    """Errors that heal by themselves."""


class Reader:
    """A member of the group, which begins at random offsets as soon as it is given partitions."""

    def __init__(self, kafka: Kafka, topics: list[str], group: str) -> None:
        endpoint = KafkaEndpoint(kafka.bootstrap)
        self.consumer = open_consumer(endpoint, group, "", ignore)
        self.fetching = Fetching(self.consumer)
        self.given: set[Place] = set()
        self.told: dict[Place, int] = {}
        self.first: dict[Place, int] = {}
        self.consumer.subscribe(
            topics, on_assign=self._on_assign, on_revoke=self._on_lost, on_lost=self._on_lost
        )

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.given |= {(each.topic, each.partition) for each in partitions}
        self.fetching.given()

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        places = {(each.topic, each.partition) for each in partitions}
        self.given -= places
        self.fetching.lose(places)
        for place in places:
            self.told.pop(place, None)
            self.first.pop(place, None)

    def round(self) -> None:
        """Begins with what is new, and reads."""
        for place in self.given - self.told.keys():
            self.told[place] = random.randrange(MESSAGES)
            self.fetching.begin({place: self.told[place]})
        for message in self.consumer.consume(500, 0.02):
            place = (str(message.topic()), int(message.partition() or 0))
            if place in self.told:
                self.first.setdefault(place, int(message.offset() or 0))

    @property
    def settled(self) -> bool:
        """Whether it has read something of all that it has."""
        return bool(self.given) and self.first.keys() == self.told.keys() == self.given


def until_settled(*readers: Reader) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while sum(len(each.first) for each in readers) < TOPICS * PARTITIONS or not all(
        each.settled for each in readers
    ):
        assert time.monotonic() < deadline, [(len(r.given), len(r.first)) for r in readers]
        for reader in readers:
            reader.round()
    for reader in readers:
        assert reader.first == reader.told


def written(kafka: Kafka, topics: list[str], stop: threading.Event) -> Callable[[], None]:
    def write() -> None:
        while not stop.wait(0.05):
            for topic in topics:
                kafka.send(topic, b"more", partition=random.randrange(PARTITIONS))

    return write


def test_it_begins_where_it_was_told(kafka: Kafka, topic_prefix: str, consumer_group: str) -> None:
    topics = [f"{topic_prefix}.{number}" for number in range(TOPICS)]
    for topic in topics:
        kafka.create(topic, PARTITIONS)
        for partition in range(PARTITIONS):
            kafka.send(topic, *[b"one"] * MESSAGES, partition=partition)
    stop = threading.Event()
    writer = threading.Thread(target=written(kafka, topics, stop))
    writer.start()
    try:
        stays = Reader(kafka, topics, consumer_group)
        with closing(stays.consumer):
            until_settled(stays)
            for _ in range(REBALANCES):
                comes = Reader(kafka, topics, consumer_group)
                with closing(comes.consumer):
                    until_settled(stays, comes)
                until_settled(stays)
    finally:
        stop.set()
        writer.join()


def test_it_begins_anew_elsewhere(kafka: Kafka, topic_prefix: str, consumer_group: str) -> None:
    kafka.create(topic_prefix)
    kafka.send(topic_prefix, *[b"one"] * MESSAGES)
    reader = Reader(kafka, [topic_prefix], consumer_group)
    place = (topic_prefix, 0)
    with closing(reader.consumer):
        for offset in (40, 3, 59, 0):
            deadline = time.monotonic() + PATIENCE_SECONDS
            while place not in reader.first:
                assert time.monotonic() < deadline
                reader.round()
            reader.fetching.pause([place])
            reader.fetching.begin({place: offset})
            reader.told[place] = offset
            reader.first.clear()
        while place not in reader.first:
            reader.round()
        assert reader.first == reader.told


def test_what_is_not_read_can_be_lost(kafka: Kafka, topic_prefix: str, consumer_group: str) -> None:
    kafka.create(topic_prefix, PARTITIONS)
    reader = Reader(kafka, [topic_prefix], consumer_group)
    with closing(reader.consumer):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not reader.given:
            assert time.monotonic() < deadline
            reader.consumer.poll(0.05)
        reader.consumer.unsubscribe()
        while reader.given:
            assert time.monotonic() < deadline
            reader.consumer.poll(0.05)


class Busy:
    """A writer that has no room until the reader's client has told of an error, which is lost."""

    def __init__(self, consumer: Consumer) -> None:
        self.ended = threading.Event()
        self._consumer = consumer
        self._full = True

    def offer(self, _: object, __: float) -> bool:
        if not self._full:
            return True
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (message := self._consumer.poll(0.05)) is None or message.error() is None:
            assert time.monotonic() < deadline
        self._full = False
        return False


def test_a_hold_up_hides_no_error(kafka: Kafka, topic_prefix: str, consumer_group: str) -> None:
    """What a partition wants next is deleted, and its error goes while the writer is busy."""
    kafka.create(topic_prefix)
    kafka.send(topic_prefix, *[b"one"] * MESSAGES)
    admin = kafka.admin()
    (deleted,) = admin.delete_records([TopicPartition(topic_prefix, 0, -1)]).values()
    deleted.result(PATIENCE_SECONDS)
    reader = Reader(kafka, [topic_prefix], consumer_group)
    place = (topic_prefix, 0)
    post, lane = Mock(group=consumer_group), Mock(next=3)
    shift = Shift(post, Facts(), threading.Event(), static=False)
    shift._consumer, shift._fetching = reader.consumer, reader.fetching
    shift._writer = Busy(reader.consumer)  # type: ignore[assignment]
    with closing(reader.consumer):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while place not in reader.given:
            assert time.monotonic() < deadline
            reader.consumer.poll(0.05)
        shift._intake.lanes[place] = lane
        reader.fetching.begin({place: lane.next})
        shift._put(Mock())
        others: list[Any] = []
        while not others:
            assert time.monotonic() < deadline
            others = shift._read()[1]
        assert others[0].error().code() == OFFSET_GONE
