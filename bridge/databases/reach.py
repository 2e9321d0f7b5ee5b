"""Whether a Kafka cluster answers, and else why not, without waiting for ever."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bridge.databases.kafka import (
    SETTING,
    KafkaEndpoint,
    client_settings,
    kafka_error,
    unreachable_hint,
)
from bridge.databases.listener import Listener, examine
from bridge.errors import BridgeError, ConfigError, ServerRefused, ServerUnreachable

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

REACHABLE_SECONDS = 10.0
_SLICE_SECONDS = 0.2
_GRACE_SECONDS = 1.0
"""How long another broker may still take to answer when one has refused."""


def reachable(endpoint: KafkaEndpoint, seconds: float = REACHABLE_SECONDS) -> None:
    """Asks the cluster for its brokers, once; raises the error that says why it does not answer.

    ServerRefused comes as soon as it is sure that TLS or login are wrong, ServerUnreachable after
    `seconds`. Without this, a client waits for ever and says nothing.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    told: list[KafkaError] = []
    try:
        client = AdminClient(client_settings(endpoint) | {"error_cb": told.append})
    except (KafkaException, ValueError) as error:
        raise _unusable(error, endpoint) from error
    answer = client.describe_cluster(request_timeout=seconds)
    deadline = time.monotonic() + seconds
    refused: BridgeError | None = None
    examined = False
    while not answer.done() and time.monotonic() < deadline:
        client.poll(_SLICE_SECONDS)
        if told and refused is None:
            refused = _refusal(told, endpoint) or (None if examined else _misfit(told, endpoint))
            examined = True
            if refused:
                grace = _GRACE_SECONDS if "," in endpoint.brokers else 0.0
                deadline = min(deadline, time.monotonic() + grace)
    if not answer.done() or answer.exception():
        raise refused or _misfit(told, endpoint) or _silence(told, endpoint)


def _refusal(told: Sequence[KafkaError], endpoint: KafkaEndpoint) -> BridgeError | None:
    """What does not heal, among what the client was told."""
    found = (kafka_error(one, endpoint) for one in told)
    return next((one for one in found if not one.transient), None)


def _silence(told: Sequence[KafkaError], endpoint: KafkaEndpoint) -> BridgeError:
    """What else a broker said is better than that all are down."""
    found = [one for one in told if one.name() != "_ALL_BROKERS_DOWN"]
    if found:
        return kafka_error(found[0], endpoint)
    return ServerUnreachable(f"{endpoint.place} does not answer", unreachable_hint("", ""))


def _misfit(told: Sequence[KafkaError], endpoint: KafkaEndpoint) -> ServerRefused | None:
    """What does not fit between the client and the first broker that took the connection."""
    silent = "".join(
        each for one in told if "failed" in (each := one.str()) and "in state CONNECT)" in each
    )
    tried = [each for each in endpoint.brokers.split(",") if f"{each}/bootstrap" not in silent]
    listeners = (examine(broker, endpoint.tls) for broker in tried)
    found = next((one for one in listeners if one != Listener()), Listener())
    if endpoint.tls is None and found.tls:
        return ServerRefused(
            f"{endpoint.place}: this listener of the broker speaks TLS",
            f"set {SETTING}.tls: {{ca: FILE}}, the authority of the broker's certificate",
        )
    if endpoint.tls and found.kafka and not found.tls:
        return ServerRefused(
            f"{endpoint.place}: this listener of the broker does not speak TLS",
            f"name the broker's listener for TLS, or leave {SETTING}.tls out",
        )
    if endpoint.sasl is None and found.mechanisms:
        return ServerRefused(
            f"{endpoint.place}: this listener of the broker wants a login"
            f" ({', '.join(found.mechanisms)})",
            f"set {SETTING}.sasl: {{mechanism: {found.mechanisms[0]}, user: …, password: …}}",
        )
    return None


def _unusable(error: Exception, endpoint: KafkaEndpoint) -> BridgeError:
    from confluent_kafka import KafkaException

    if isinstance(error, KafkaException):
        return kafka_error(error, endpoint)
    return ConfigError(f"{endpoint.place}: {error}", f"check {SETTING} in bridge.yaml")
