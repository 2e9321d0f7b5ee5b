"""Reading of the cluster what its topics are like; judged in `bridge.capture.debezium.topics`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    ResourceType,
)

from bridge.capture.debezium.topics import Topic
from bridge.databases.kafka import KafkaEndpoint, client_settings, kafka_error

ANSWER_SECONDS = 20.0


def read_topics(endpoint: KafkaEndpoint, names: Iterable[str]) -> dict[str, Topic]:
    """Those of the topics that are there, by their names.

    Raises ServerUnreachable, ServerRefused; only their settings may be none of the account's
    business.
    """
    wanted = sorted(set(names))
    if not wanted:
        return {}
    client = AdminClient(client_settings(endpoint))
    asked = client.describe_topics(TopicCollection(wanted), request_timeout=ANSWER_SECONDS)
    told = _told(asked, endpoint, _missing)
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in told]
    configs: dict[str, Any] = {}
    if resources:
        answers = client.describe_configs(resources, request_timeout=ANSWER_SECONDS)
        by_name = {resource.name: future for resource, future in answers.items()}
        configs = _told(by_name, endpoint, lambda name: _missing(name) or _unauthorized(name))
    found = {}
    for name, topic in told.items():
        config = configs.get(name)
        values = config and {key: str(entry.value) for key, entry in config.items()}
        replicas = min((len(each.replicas) for each in topic.partitions), default=1)
        found[name] = Topic(name, len(topic.partitions), replicas, values)
    return found


def _told(
    asked: Mapping[str, Any], endpoint: KafkaEndpoint, harmless: Callable[[str], bool]
) -> dict[str, Any]:
    found = {}
    for name, future in asked.items():
        try:
            found[name] = future.result(ANSWER_SECONDS)
        except KafkaException as error:
            if not harmless(error.args[0].name()):
                raise kafka_error(error, endpoint) from error
    return found


def _missing(name: str) -> bool:
    return name == "UNKNOWN_TOPIC_OR_PART"


def _unauthorized(name: str) -> bool:
    return name.endswith("_AUTHORIZATION_FAILED")
