"""Where Kafka Connect's REST interface is and how to log in: a URL whose password never prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.databases.endpoint import Secret, Tls, checked_port, split_address
from bridge.errors import ConfigError

PORTS = {"http": 8083, "https": 443}


@dataclass(frozen=True, slots=True)
class ConnectEndpoint:
    """A worker's address, without the login; `tls` None: not encrypted."""

    url: str
    user: str = ""
    password: Secret = field(default_factory=lambda: Secret(""))
    tls: Tls | None = None

    @property
    def place(self) -> str:
        """What messages call it, never with the password."""
        return self.url


def split_connect(url: str) -> dict[str, str]:
    """The raw parts of a URL, as `endpoint.split_url` gives a database's; raises ConfigError."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in PORTS:
        raise ConfigError(
            "the URL of Kafka Connect begins with http:// or https://",
            "write it like http://connect:8083",
        )
    return {"scheme": scheme.lower(), **split_address(rest)}


def build_connect(parts: Mapping[str, str], tls: Tls) -> ConnectEndpoint:
    """Where a worker is, from the decoded parts of `split_connect`; raises ConfigError."""
    scheme, host = parts["scheme"], parts["host"] or "localhost"
    port = checked_port(parts, PORTS[scheme], "Kafka Connect")
    if parts["query"]:
        raise ConfigError(
            "the URL of Kafka Connect has no options", "write it like http://connect:8083"
        )
    bracketed = f"[{host}]" if ":" in host else host
    path = parts["database"].strip("/")
    return ConnectEndpoint(
        url=f"{scheme}://{bracketed}:{port}" + (f"/{path}" if path else ""),
        user=parts["user"],
        password=Secret(parts["password"]),
        tls=tls if scheme == "https" else None,
    )
