"""What a cluster tells of topics, and of what the account may do there.

It is judged in `bridge.capture.debezium.topics`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclOperation,
    AdminClient,
    ConfigResource,
    ResourceType,
)

from bridge.capture.debezium.topics import Topic
from bridge.databases.kafka import KafkaEndpoint, client_settings, kafka_error
from bridge.errors import ServerUnreachable

ANSWER_SECONDS = 20.0
_PAUSE_SECONDS = 0.1
_MISSING = frozenset({"UNKNOWN_TOPIC_OR_PART", "GROUP_ID_NOT_FOUND"})


def read_topics(endpoint: KafkaEndpoint, names: Iterable[str]) -> dict[str, Topic]:
    """Those of the topics that are there, or of which the account may not know, by their names.

    Raises ServerUnreachable, ServerRefused.
    """
    wanted = sorted(set(names))
    if not wanted:
        return {}
    client = AdminClient(client_settings(endpoint))
    asked = client.describe_topics(
        TopicCollection(wanted), include_authorized_operations=True, request_timeout=ANSWER_SECONDS
    )
    told, hidden = _told(asked, endpoint)
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in told]
    configs: dict[str, Any] = {}
    if resources:
        answers = client.describe_configs(resources, request_timeout=ANSWER_SECONDS)
        configs, _ = _told({each.name: future for each, future in answers.items()}, endpoint)
    found = {name: Topic(name, 0, 0, readable=False) for name in hidden}
    for name, topic in told.items():
        config = configs.get(name)
        values = config and {key: str(entry.value) for key, entry in config.items()}
        replicas = min((len(each.replicas) for each in topic.partitions), default=1)
        readable = AclOperation.READ in topic.authorized_operations
        found[name] = Topic(name, len(topic.partitions), replicas, values, readable)
    return found


def may_join(endpoint: KafkaEndpoint, group: str) -> bool:
    """Whether the account may be a consumer of the group, as far as the cluster tells.

    Raises ServerUnreachable, ServerRefused.
    """
    client = AdminClient(client_settings(endpoint))
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        asked = client.describe_consumer_groups(
            [group], include_authorized_operations=True, request_timeout=ANSWER_SECONDS
        )
        try:
            told, hidden = _told(asked, endpoint)
        except ServerUnreachable:  # such as: the coordinator of a cluster that has just begun loads
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
            continue
        if hidden or group not in told:  # nobody has ever joined it
            return not hidden
        return AclOperation.READ in told[group].authorized_operations


def _told(asked: Mapping[str, Any], endpoint: KafkaEndpoint) -> tuple[dict[str, Any], set[str]]:
    """The answers, and of what the account may not know; neither has what is not there."""
    found, hidden = {}, set()
    for name, future in asked.items():
        try:
            found[name] = future.result(ANSWER_SECONDS)
        except KafkaException as error:
            code = error.args[0].name()
            if code.endswith("_AUTHORIZATION_FAILED"):
                hidden.add(name)
            elif code not in _MISSING:
                raise kafka_error(error, endpoint) from error
    return found, hidden
