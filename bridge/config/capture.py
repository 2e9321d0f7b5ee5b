"""The settings of ``pipeline.capture``: what goes with what, and where Kafka and Connect are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.config.models import CaptureSettings, TlsSettings
from bridge.config.urls import at, resolve, resolve_connect
from bridge.databases.endpoint import Secret, Tls
from bridge.errors import ConfigError
from bridge.yamlfile import Place

if TYPE_CHECKING:
    from bridge.databases.connect_url import ConnectEndpoint
    from bridge.databases.kafka import KafkaEndpoint

_CAPTURE: Place = ("pipeline", "capture")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,200}")
"""Debezium's topic.prefix: letters, digits and the signs that a topic's name may hold."""

Origins = Mapping[Place, str]


def check_capture(capture: CaptureSettings, origins: Origins, path: Path) -> None:
    """Refuses settings of Kafka without Kafka, and Kafka without what it takes: ConfigError."""
    here = origins.get(_CAPTURE, str(path))
    given = [name for name in capture.__struct_fields__ if (*_CAPTURE, name) in origins]
    if capture.kind == "binlog":
        for name in given:
            if name != "kind":
                raise ConfigError(
                    f"{_origin(origins, path, name)}: pipeline.capture.{name} is a setting of"
                    " Kafka, but the source's log is read",
                    "add kind: kafka, or leave it out",
                )
        return
    for name, example in (("brokers", "kafka1:9092,kafka2:9092"), ("topics", "shop")):
        if not getattr(capture, name):
            raise ConfigError(
                f"{here}: “pipeline.capture.{name}” is missing",
                f"add it: {name}: {example}"
                + (" (topic.prefix of Debezium's connector)" if name == "topics" else ""),
            )
    if not _TOPIC.fullmatch(capture.topics):
        raise ConfigError(
            f"{_origin(origins, path, 'topics')}: “{capture.topics}” is no beginning of topics",
            "it is topic.prefix of Debezium's connector: letters, digits, dots, - and _",
        )
    from bridge.databases.kafka import checked_brokers

    with at(_origin(origins, path, "brokers")):
        if "${" not in capture.brokers:
            checked_brokers(capture.brokers)
    _check_connect(capture, origins, path)
    _check_security(capture, origins, path)


def _check_connect(capture: CaptureSettings, origins: Origins, path: Path) -> None:
    for name, other, example in (
        ("connect", "connector", "the connector's name"),
        ("connector", "connect", "http://connect:8083"),
    ):
        if getattr(capture, name) and not getattr(capture, other):
            raise ConfigError(
                f"{_origin(origins, path, name)}: pipeline.capture.{name} needs {other}",
                f"add {other}: {example}",
            )


def _check_security(capture: CaptureSettings, origins: Origins, path: Path) -> None:
    sasl = capture.sasl
    if bool(sasl.mechanism) != bool(sasl.user) or (sasl.password and not sasl.mechanism):
        raise ConfigError(
            f"{_origin(origins, path, 'sasl')}: pipeline.capture.sasl is not complete",
            "sasl: {mechanism: SCRAM-SHA-512, user: NAME, password: '${KAFKA_PASSWORD}'}",
        )
    tls = capture.tls
    if tls.mode == "preferred" or (tls.mode == "disabled" and (tls.ca or tls.cert or tls.key)):
        raise ConfigError(
            f"{_origin(origins, path, 'tls')}: Kafka's clients and brokers do not agree on"
            f" encryption by themselves, so that {tls.mode} "
            + ("means nothing" if tls.mode == "preferred" else "goes with no files"),
            "mode: verify, required or disabled, as the brokers' listener is",
        )
    if bool(tls.cert) != bool(tls.key):
        raise ConfigError(
            f"{_origin(origins, path, 'tls')}: a certificate and its key go together",
            "set both cert and key, or none",
        )


def kafka_endpoint(
    capture: CaptureSettings, environ: Mapping[str, str], origins: Origins, path: Path
) -> KafkaEndpoint:
    """Where Kafka is, secrets resolved; raises ConfigError."""
    from bridge.databases.kafka import KafkaEndpoint, Sasl, checked_brokers

    if capture.kind != "kafka":
        raise ConfigError(
            f"{origins.get(_CAPTURE, path)}: nothing is captured through Kafka",
            "set capture: {kind: kafka, brokers: …, topics: …} under pipeline",
        )

    def value(text: str, *place: str) -> str:
        return resolve(text, environ, _origin(origins, path, *place), path.parent)

    with at(_origin(origins, path, "brokers")):
        brokers = checked_brokers(value(capture.brokers, "brokers"))
    sasl = None
    if capture.sasl.mechanism:
        sasl = Sasl(
            capture.sasl.mechanism,
            value(capture.sasl.user, "sasl", "user"),
            Secret(value(capture.sasl.password, "sasl", "password")),
        )
    tls = _tls(capture.tls, path.parent, otherwise="disabled")
    return KafkaEndpoint(brokers, None if tls.mode == "disabled" else tls, sasl)


def connect_endpoint(
    capture: CaptureSettings, environ: Mapping[str, str], origins: Origins, path: Path
) -> ConnectEndpoint | None:
    """Where Kafka Connect is, secrets resolved; None if it is not told. Raises ConfigError."""
    if not capture.connect:
        return None
    where = _origin(origins, path, "connect")
    tls = _tls(capture.tls, path.parent, otherwise="verify")
    return resolve_connect(capture.connect, environ, where, path.parent, tls)


def _tls(tls: TlsSettings, base: Path, *, otherwise: str) -> Tls:
    files = {"ca": tls.ca, "cert": tls.cert, "key": tls.key}
    given = {name: str(base / value) for name, value in files.items() if value}
    return Tls(tls.mode or ("verify" if given or otherwise == "verify" else "disabled"), **given)


def _origin(origins: Origins, path: Path, *names: str) -> str:
    place = (*_CAPTURE, *names)
    while place and place not in origins:
        place = place[:-1]
    return origins.get(place, str(path))
