"""Where a Kafka cluster is, how to log in, and what its client's errors mean to a user.

The client is librdkafka; its properties: CONFIGURATION.md of librdkafka. It tries for ever, and
tells of a failed handshake only through its callback for errors: `bridge.databases.reach`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from bridge.databases.endpoint import Secret, Tls, checked_port
from bridge.errors import (
    BridgeError,
    ConfigError,
    PositionPurged,
    ServerRefused,
    ServerUnreachable,
)

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, KafkaException

PORT = 9092

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@dataclass(frozen=True, slots=True)
class Sasl:
    """Who the client is, and how it proves it."""

    mechanism: Mechanism
    user: str
    password: Secret = field(default_factory=lambda: Secret(""))


@dataclass(frozen=True, slots=True)
class KafkaEndpoint:
    """A cluster by some of its brokers (``host:port,host:port``); `tls` None: not encrypted."""

    brokers: str
    tls: Tls | None = None
    sasl: Sasl | None = None

    @property
    def place(self) -> str:
        """What messages call it, never with the password."""
        user = f"{self.sasl.user}@" if self.sasl else ""
        return f"kafka://{user}{self.brokers}"


def checked_brokers(text: str) -> str:
    """The list of brokers, each with a port; raises ConfigError."""
    found = []
    for one in filter(None, (part.strip() for part in text.split(","))):
        host, colon, port = one.rpartition(":")
        if not colon or one.endswith("]"):
            host, port = one, ""
        if not host or "/" in one or "@" in one:
            raise ConfigError(
                f"“{one}” is not the address of a broker", "write them like kafka1:9092,kafka2:9092"
            )
        found.append(f"{host}:{checked_port({'host': host, 'port': port}, PORT, 'the broker')}")
    if not found:
        raise ConfigError("no broker is named", "write them like kafka1:9092,kafka2:9092")
    return ",".join(found)


def client_settings(endpoint: KafkaEndpoint) -> dict[str, Any]:
    """What any client of the cluster needs, as librdkafka's properties; the password among them.

    Nothing of groups, and nothing is logged: errors come through ``error_cb``.
    """
    layers = ("SASL_" if endpoint.sasl else "") + ("SSL" if endpoint.tls else "PLAINTEXT")
    settings: dict[str, Any] = {
        "bootstrap.servers": endpoint.brokers,
        "client.id": "dbbridge",
        "security.protocol": layers,
        "log_level": 0,
    }
    return settings | _tls(endpoint.tls) | _sasl(endpoint.sasl)


def _tls(tls: Tls | None) -> dict[str, Any]:
    if tls is None:
        return {}
    verified = tls.mode == "verify"
    files = {
        "ssl.ca.location": tls.ca,
        "ssl.certificate.location": tls.cert,
        "ssl.key.location": tls.key,
    }
    return {
        "enable.ssl.certificate.verification": verified,
        "ssl.endpoint.identification.algorithm": "https" if verified else "none",
        **{name: path for name, path in files.items() if path},
    }


def _sasl(sasl: Sasl | None) -> dict[str, Any]:
    if sasl is None:
        return {}
    return {
        "sasl.mechanism": sasl.mechanism,
        "sasl.username": sasl.user,
        "sasl.password": sasl.password.reveal(),
    }


def kafka_error(error: KafkaException | KafkaError, endpoint: KafkaEndpoint) -> BridgeError:
    """What an error of the client, or of one broker, means; never holds the password.

    ServerUnreachable heals by itself. ServerRefused does not: TLS, login, or a missing right.
    PositionPurged: the topic does not have what comes after the position any more.
    """
    from confluent_kafka import KafkaException

    told: KafkaError = error.args[0] if isinstance(error, KafkaException) else error
    text = _plain(told.str() or told.name())
    place = endpoint.place
    said = _handshake_error(told, text, endpoint) or _right_error(told.name(), text, endpoint)
    if said:
        return said
    name = told.name()
    if name in _PURGED:
        return PositionPurged(
            f"{place}: {text}",
            "keep messages for longer (retention.ms of the topic), and copy its table again:"
            " dbbridge tables resync TABLE",
        )
    if name == "_INVALID_ARG":
        return ConfigError(f"{place}: {text}", "check pipeline.capture in bridge.yaml")
    if name in _GONE:
        return ServerUnreachable(f"{place} cannot be reached: {text}", unreachable_hint(name, text))
    return ServerRefused(f"{place}: {text} ({name})")


_GONE = frozenset(
    {
        "_TRANSPORT", "_ALL_BROKERS_DOWN", "_RESOLVE", "_TIMED_OUT", "_TIMED_OUT_QUEUE", "_RETRY",
        "_WAIT_COORD", "_WAIT_CACHE", "_OUTDATED", "_MAX_POLL_EXCEEDED", "_INTR",
        "BROKER_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE",
        "FENCED_LEADER_EPOCH", "FETCH_SESSION_ID_NOT_FOUND", "ILLEGAL_GENERATION",
        "INVALID_FETCH_SESSION_EPOCH", "KAFKA_STORAGE_ERROR", "LEADER_NOT_AVAILABLE",
        "LISTENER_NOT_FOUND", "NETWORK_EXCEPTION", "NOT_CONTROLLER", "NOT_COORDINATOR",
        "NOT_LEADER_FOR_PARTITION", "OFFSET_NOT_AVAILABLE", "PREFERRED_LEADER_NOT_AVAILABLE",
        "REBALANCE_IN_PROGRESS", "REPLICA_NOT_AVAILABLE", "REQUEST_TIMED_OUT",
        "THROTTLING_QUOTA_EXCEEDED", "UNKNOWN_LEADER_EPOCH", "UNKNOWN_MEMBER_ID",
        "UNSTABLE_OFFSET_COMMIT",
    }
)  # fmt: skip
"""Errors that heal: the protocol's retriable ones, and the client's own. UNKNOWN_TOPIC_OR_PART is
retriable for Kafka, but here a name is wrong, or nothing was ever captured."""
_PURGED = frozenset({"_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE", "_LOG_TRUNCATION"})
_PREAMBLE = re.compile(r"^(?:\w+://)?\S+/(?:bootstrap|\d+): ")
_TIMING = re.compile(r" \(after \d+ms in state \w+(?:, [^)]*\([^)]*\)[^)]*)?\)$")
_OPENSSL = re.compile(r"error:[0-9A-F]+:[^:]*:[^:]*:")
SETTING = "pipeline.capture"


def _plain(text: str) -> str:
    """What librdkafka says, without the broker's inner name, OpenSSL's numbers and timing."""
    return _OPENSSL.sub("", _TIMING.sub("", _PREAMBLE.sub("", text))).strip()


def _handshake_error(told: KafkaError, text: str, endpoint: KafkaEndpoint) -> BridgeError | None:
    place, name = endpoint.place, told.name()
    if name == "_INVALID_ARG" and "ssl." in text:
        files = endpoint.tls and (endpoint.tls.ca, endpoint.tls.cert, endpoint.tls.key)
        return ConfigError(
            f"a TLS file cannot be used ({', '.join(filter(None, files or ()))}): {text}",
            f"check ca, cert and key under {SETTING}.tls: PEM files, the key without a password",
        )
    if name in ("_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED"):
        return _login_error(text, endpoint)
    if ("alert" in text and "certificate" in text) or "unknown ca" in text:
        cert = endpoint.tls.cert if endpoint.tls else ""
        what = "refused the client's certificate" if cert else "wants a certificate of the client"
        return ServerRefused(
            f"{place}: the broker {what}: {text}",
            f"set cert and key under {SETTING}.tls to what an authority of the broker has signed",
        )
    if "verify failed" in text:
        return ServerRefused(
            f"{place}: the broker's certificate is not by an authority that is trusted here, or"
            " not for this host name",
            f"set {SETTING}.tls.ca to the authority's file; name brokers as the certificate does",
        )
    if name == "_BAD_MSG":
        return ServerRefused(
            f"{place}: what answers there is not Kafka: {text}", f"check {SETTING}.brokers"
        )
    if name == "_SSL":
        return ServerRefused(
            f"{place}: the TLS handshake failed: {text}", f"check {SETTING}.tls in bridge.yaml"
        )
    return None


def _login_error(text: str, endpoint: KafkaEndpoint) -> ServerRefused:
    place, mechanism = endpoint.place, endpoint.sasl.mechanism if endpoint.sasl else ""
    offered = re.search(r"supported mechanisms: ?(.*)$", text)
    if offered and offered[1]:
        return ServerRefused(
            f"{place}: the broker does not take {mechanism}, but {offered[1]}",
            f"set {SETTING}.sasl.mechanism to one of them",
        )
    if offered:
        return ServerRefused(
            f"{place}: this listener of the broker takes no login",
            f"leave {SETTING}.sasl out, or name the broker's listener for SASL",
        )
    return ServerRefused(
        f"{place}: the broker refused user and password ({mechanism})",
        f"check user and password under {SETTING}.sasl, and that the user is made for {mechanism}",
    )


def _right_error(name: str, text: str, endpoint: KafkaEndpoint) -> BridgeError | None:
    if not name.endswith("_AUTHORIZATION_FAILED"):
        return None
    user = endpoint.sasl.user if endpoint.sasl else "NAME"
    return ServerRefused(
        f"{endpoint.place}: {text}",
        f"kafka-acls --add --allow-principal User:{user} --operation Read, with --topic PREFIX"
        " --resource-pattern-type prefixed, and with --group GROUP; `dbbridge check` prints them",
    )


def unreachable_hint(name: str, text: str) -> str:
    """What to do about an error that heals by itself, if it does not."""
    lowered = text.lower()
    if "refused" in lowered:
        return "does the broker run, and does it listen on this address and port?"
    if name == "_RESOLVE":
        return "the host name is unknown here: check its spelling and DNS"
    if "closed" in lowered or "disconnected" in lowered:
        return f"does this listener of the broker speak TLS? Check {SETTING}.tls"
    return "check addresses and ports of the brokers, and the firewall"
