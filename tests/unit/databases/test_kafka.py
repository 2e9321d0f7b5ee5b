"""What errors of Kafka's client mean, and the properties that it gets."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from bridge.databases.endpoint import Secret, Tls
from bridge.databases.kafka import (
    KafkaEndpoint,
    Sasl,
    checked_brokers,
    client_settings,
    kafka_error,
)
from bridge.errors import ConfigError, PositionPurged, ServerRefused, ServerUnreachable

PLACE = KafkaEndpoint("k1:9092")
SECURE = KafkaEndpoint(
    "k1:9093", Tls("verify", "ca", "crt", "key"), Sasl("PLAIN", "me", Secret("hunter2"))
)


def test_properties() -> None:
    assert client_settings(PLACE) == {
        "bootstrap.servers": "k1:9092",
        "client.id": "dbbridge",
        "security.protocol": "PLAINTEXT",
        "log_level": 0,
    }
    told = client_settings(SECURE)
    assert told["security.protocol"] == "SASL_SSL"
    assert told["enable.ssl.certificate.verification"] is True
    assert told["ssl.endpoint.identification.algorithm"] == "https"
    assert (told["ssl.ca.location"], told["ssl.key.location"]) == ("ca", "key")
    assert told["sasl.password"] == "hunter2"
    unchecked = client_settings(KafkaEndpoint("k1:9093", Tls("required")))
    assert unchecked["enable.ssl.certificate.verification"] is False
    assert "ssl.ca.location" not in unchecked
    assert "hunter2" not in f"{SECURE!r} {SECURE} {SECURE.place}"


def test_brokers() -> None:
    assert checked_brokers(" k1 ,k2:1,[::1],[fe80::1]:7,") == "k1:9092,k2:1,[::1]:9092,[fe80::1]:7"
    for wrong in ("", " , ", "kafka://k1:1", "k1:x", "me@k1"):
        with pytest.raises(ConfigError):
            checked_brokers(wrong)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError._TRANSPORT, ServerUnreachable),
        (KafkaError._ALL_BROKERS_DOWN, ServerUnreachable),
        (KafkaError.LEADER_NOT_AVAILABLE, ServerUnreachable),
        (KafkaError.REBALANCE_IN_PROGRESS, ServerUnreachable),
        (KafkaError.REQUEST_TIMED_OUT, ServerUnreachable),
        (KafkaError._SSL, ServerRefused),
        (KafkaError._AUTHENTICATION, ServerRefused),
        (KafkaError._BAD_MSG, ServerRefused),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, ServerRefused),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, ServerRefused),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, ServerRefused),
        (KafkaError.FENCED_INSTANCE_ID, ServerRefused),
        (KafkaError._AUTO_OFFSET_RESET, PositionPurged),
        (KafkaError.OFFSET_OUT_OF_RANGE, PositionPurged),
        (KafkaError._LOG_TRUNCATION, PositionPurged),
        (KafkaError._INVALID_ARG, ConfigError),
    ],
)
def test_kinds_of_errors(code: int, kind: type[Exception]) -> None:
    for error in (KafkaError(code), KafkaException(KafkaError(code))):
        found = kafka_error(error, SECURE)
        assert type(found) is kind
        assert found.message.startswith("kafka://me@k1:9093")
        assert "hunter2" not in found.message + found.hint


def test_words_are_those_of_the_client_without_its_numbers() -> None:
    said = (
        "ssl://k1:9092/bootstrap: SSL handshake failed: error:0A00010B:SSL routines::wrong version"
        " number (after 3ms in state SSL_HANDSHAKE, 12 identical error(s) suppressed)"
    )
    found = kafka_error(KafkaError(KafkaError._SSL, said), PLACE)
    assert found.message == (
        "kafka://k1:9092: the TLS handshake failed: SSL handshake failed: wrong version number"
    )


def test_missing_rights_are_told_as_commands() -> None:
    found = kafka_error(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), SECURE)
    assert "--allow-principal User:me --operation Read" in found.hint
