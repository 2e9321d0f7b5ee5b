"""Kafka's topics: their partitions, where these begin and end, and a consumer of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from bridge.databases.kafka import (
    KafkaEndpoint,
    client_settings,
    kafka_error,
    unreachable_hint,
)
from bridge.errors import ServerUnreachable

ANSWER_SECONDS = 10.0
SESSION_SECONDS = 6.0
"""A consumer that is silent for so long is dead to its group (and zombies know no better)."""
METADATA_SECONDS = 5.0
"""How soon a new topic is seen."""

Place = tuple[str, int]
"""Topic and number of a partition."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic: its identity, which one of the same name made later has not, and its partitions."""

    name: str
    id: str
    partitions: int


class Topics:
    """Asks the cluster. Every method raises what `kafka_error` makes of an error."""

    def __init__(self, endpoint: KafkaEndpoint) -> None:
        self._endpoint = endpoint
        self._admin = AdminClient(client_settings(endpoint))

    def describe(self, names: Iterable[str]) -> dict[str, Topic]:
        """Those of the topics that are there."""
        wanted = sorted(set(names))
        if not wanted:
            return {}
        asked = self._admin.describe_topics(TopicCollection(wanted), request_timeout=ANSWER_SECONDS)
        found: dict[str, Topic] = {}
        for name, future in asked.items():
            try:
                said = self._answer(future)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue
                raise kafka_error(error, self._endpoint) from error
            found[name] = Topic(name, str(said.topic_id), len(said.partitions))
        return found

    def begins(self, places: Iterable[Place]) -> dict[Place, int]:
        """The offset of the oldest message that each partition still has, of those there are."""
        return self._offsets(places, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def ends(self, places: Iterable[Place]) -> dict[Place, int]:
        """The offset after the last message of each partition, of those there are."""
        return self._offsets(places, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def _offsets(self, places: Iterable[Place], spec: Any) -> dict[Place, int]:
        wanted = {TopicPartition(topic, number): spec for topic, number in places}
        if not wanted:
            return {}
        found: dict[Place, int] = {}
        asked = self._admin.list_offsets(wanted, request_timeout=ANSWER_SECONDS)
        for place, future in asked.items():
            try:
                found[place.topic, place.partition] = self._answer(future).offset
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise kafka_error(error, self._endpoint) from error
        return found

    def _answer(self, future: Future[Any]) -> Any:
        try:
            return future.result(ANSWER_SECONDS)
        except TimeoutError as error:
            raise ServerUnreachable(
                f"{self._endpoint.place} does not answer", unreachable_hint("", "")
            ) from error


def open_consumer(
    endpoint: KafkaEndpoint, group: str, member: str, on_error: Callable[[KafkaError], None]
) -> Consumer:
    """A member of the group that never commits by itself and never jumps over what is gone.

    `member` is its static name (KIP-345), '' for none: one that comes back soon gets its partitions
    again, and the others do not notice.
    """
    settings: Mapping[str, Any] = {
        **client_settings(endpoint),
        "group.id": group,
        **({"group.instance.id": member} if member else {}),
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": int(SESSION_SECONDS * 1000),
        "heartbeat.interval.ms": int(SESSION_SECONDS * 1000 / 4),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # earliest and latest would jump silently
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "allow.auto.create.topics": False,
        "topic.metadata.refresh.interval.ms": int(METADATA_SECONDS * 1000),
        # A full queue waits for a second otherwise.
        "fetch.queue.backoff.ms": 10,
        "error_cb": on_error,
    }
    try:
        return Consumer(dict(settings))
    except KafkaException as error:
        raise kafka_error(error, endpoint) from error
