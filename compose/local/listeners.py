"""A Kafka broker with listeners for TLS and SASL beside the plain one, for tests of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from compose.local import servers
from compose.local.certificates import Identity, authority
from compose.local.launch import HOST, free_port
from compose.local.servers import Server

ANSWER_SECONDS = 20.0
PROTOCOLS = {"TLS": "SSL", "MUTUAL": "SSL", "SASL": "SASL_SSL"}
"""Listeners and what they speak: TLS, TLS with the client's certificate, SASL over TLS."""
_SECURITY = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class Secured:
    """A broker and what its clients need to know."""

    server: Server
    addresses: Mapping[str, str]
    """``tls``, ``mutual`` and ``sasl``; the plain listener is the server's own address."""
    authority: Path
    """Who certified the broker (librdkafka's ``ssl.ca.location``)."""
    client: Identity
    """What the listener ``mutual`` accepts."""
    stranger: Identity
    """A client's certificate by an authority that the broker does not know."""
    users: Mapping[str, str]
    """Passwords by name; they serve for SCRAM-SHA-512 and for PLAIN alike."""

    def restart(self) -> Server:
        """As ``Server.restart``; the listeners stay where they are."""
        return self.server.restart()


def start(
    directory: Path, users: Mapping[str, str], *, options: Sequence[str] = (), host: str = HOST
) -> Secured:
    """Start a fresh broker with all listeners; its certificate is for the host.

    Another name than the broker's makes clients that look at names refuse it.
    """
    known, unknown = authority(directory / "known"), authority(directory / "unknown")
    addresses = {name.lower(): f"{HOST}:{free_port()}" for name in PROTOCOLS}
    settings = _settings(addresses, known.issue("broker", host), known.certificate, users)
    server = servers.start("kafka", directory / "broker", options=[*settings, *options])
    try:
        _make_users(server, users)
    except BaseException:
        server.stop(kill=True)
        raise
    return Secured(
        server=server,
        addresses=addresses,
        authority=known.certificate,
        client=known.issue("client"),
        stranger=unknown.issue("client"),
        users=users,
    )


def _settings(
    addresses: Mapping[str, str], broker: Identity, trusted: Path, users: Mapping[str, str]
) -> list[str]:
    passwords = " ".join(f'user_{name}="{password}"' for name, password in users.items())
    more = ",".join(f"{name.upper()}://{address}" for name, address in addresses.items())
    protocols = ",".join(f"{name}:{protocol}" for name, protocol in PROTOCOLS.items())
    scram, plain = (
        f"listener.name.sasl.{mechanism}.sasl.jaas.config"
        for mechanism in ("scram-sha-512", "plain")
    )
    return [
        f"listeners+={more}",
        f"listener.security.protocol.map+={protocols}",
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={broker.store}",
        "ssl.truststore.type=PEM",
        f"ssl.truststore.location={trusted}",
        "listener.name.mutual.ssl.client.auth=required",
        "listener.name.sasl.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN",
        f"{scram}={_SECURITY}.scram.ScramLoginModule required;",
        f"{plain}={_SECURITY}.plain.PlainLoginModule required {passwords};",
    ]


def _make_users(server: Server, users: Mapping[str, str]) -> None:
    """PLAIN's users are in the settings; SCRAM's are kept by the cluster."""
    client = AdminClient({"bootstrap.servers": server.url(), "log_level": 0})
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    made = client.alter_user_scram_credentials(
        [
            UserScramCredentialUpsertion(name, info, password.encode())
            for name, password in users.items()
        ]
    )
    for future in made.values():
        future.result(ANSWER_SECONDS)
