"""Where the Redis of Celery is and how to log in: a URL whose password never prints."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from bridge.databases.endpoint import Secret, Tls, checked_port, split_address
from bridge.errors import ConfigError

SCHEMES = {"redis": False, "rediss": True}
"""Whether they are encrypted."""
PORT = 6379


@dataclass(frozen=True, slots=True)
class Broker:
    """One database of a Redis server; `tls` None: not encrypted."""

    host: str
    port: int
    user: str = ""
    password: Secret = field(default_factory=lambda: Secret(""))
    database: int = 0
    tls: Tls | None = None

    @property
    def place(self) -> str:
        """What messages call it, never with the password."""
        return f"{self._scheme}://{_bracketed(self.host)}:{self.port}/{self.database}"

    def url(self) -> str:
        """As Celery takes it, with the password."""
        login = quote(self.user, safe="")
        if self.password:
            login += f":{quote(self.password.reveal(), safe='')}"
        at = "@" if login else ""
        where = f"{_bracketed(self.host)}:{self.port}/{self.database}"
        return f"{self._scheme}://{login}{at}{where}"

    def ssl_options(self) -> dict[str, Any] | None:
        """Celery's ``broker_use_ssl``; certificate and host name are checked unless told not to."""
        if self.tls is None:
            return None
        verified = self.tls.mode not in ("required", "preferred")
        options = {
            "ssl_cert_reqs": ssl.CERT_REQUIRED if verified else ssl.CERT_NONE,
            "ssl_check_hostname": verified,
            "ssl_ca_certs": self.tls.ca,
            "ssl_certfile": self.tls.cert,
            "ssl_keyfile": self.tls.key,
        }
        return {name: value for name, value in options.items() if value != ""}

    @property
    def _scheme(self) -> str:
        return "redis" if self.tls is None else "rediss"


def split_broker(url: str) -> dict[str, str]:
    """The raw parts of a URL, as `endpoint.split_url` gives a database's; raises ConfigError."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        raise ConfigError(
            "a broker's URL begins with redis:// or rediss:// (encrypted)",
            "write it like redis://:${REDIS_PASSWORD}@host:6379/0",
        )
    return {"scheme": scheme.lower(), **split_address(rest)}


def build_broker(parts: Mapping[str, str], tls: Tls) -> Broker:
    """A broker from the decoded parts of `split_broker`; raises ConfigError."""
    port, database = checked_port(parts, PORT, "the broker"), parts["database"] or "0"
    if not database.isdigit() or parts["query"]:
        raise ConfigError(
            "a broker's URL ends with the number of Redis's database, and has no options",
            "write it like rediss://host:6379/0, and files under celery.tls",
        )
    encrypted = SCHEMES[parts["scheme"]]
    if not encrypted and (
        tls.ca or tls.cert or tls.key or tls.mode not in ("preferred", "disabled")
    ):
        raise ConfigError(
            "celery.tls is set, but the broker's URL is not encrypted", "begin it with rediss://"
        )
    if encrypted and tls.mode == "disabled":
        raise ConfigError("celery.tls disables what rediss:// asks for", "begin it with redis://")
    return Broker(
        host=parts["host"] or "localhost",
        port=port,
        user=parts["user"],
        password=Secret(parts["password"]),
        database=int(database),
        tls=tls if encrypted else None,
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
