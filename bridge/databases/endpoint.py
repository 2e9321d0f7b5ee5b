"""Where a server is and how to log in: URLs read into a value whose password never prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, unquote

from bridge.errors import ConfigError

Kind = Literal["mysql", "postgresql"]
TlsMode = Literal["disabled", "preferred", "required", "verify"]

SCHEMES: Mapping[str, Kind] = {
    "mysql": "mysql",
    "mariadb": "mysql",
    "postgresql": "postgresql",
    "postgres": "postgresql",
}
PORTS: Mapping[Kind, int] = {"mysql": 3306, "postgresql": 5432}
TLS_MODES: tuple[TlsMode, ...] = ("disabled", "preferred", "required", "verify")

_TLS_WORDS: Mapping[str, TlsMode] = {
    "disabled": "disabled", "disable": "disabled",
    "preferred": "preferred", "prefer": "preferred", "allow": "preferred",
    "required": "required", "require": "required",
    "verify": "verify", "verify-full": "verify", "verify_identity": "verify",
}  # fmt: skip
_TLS_OPTIONS = {
    "tls": "mode", "sslmode": "mode", "ssl-mode": "mode", "ssl_mode": "mode",
    "sslrootcert": "ca", "ssl-ca": "ca", "ssl_ca": "ca",
    "sslcert": "cert", "ssl-cert": "cert", "ssl_cert": "cert",
    "sslkey": "key", "ssl-key": "key", "ssl_key": "key",
}  # fmt: skip
_OPTIONS: Mapping[Kind, frozenset[str]] = {
    "mysql": frozenset({"socket", "unix_socket", "connect_timeout"}),
    "postgresql": frozenset({"host", "connect_timeout", "options", "target_session_attrs"}),
}


class Secret:
    """A text that shows itself only to `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')" if self._value else "Secret('')"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection is encrypted.

    `preferred`: if the server can; `verify`: certificate and host name are checked (against `ca`,
    or the system's authorities). Paths are files in PEM form.
    """

    mode: TlsMode = "preferred"
    ca: str = ""
    cert: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One database on one server, with everything that a connection needs."""

    kind: Kind
    host: str
    port: int
    user: str
    password: Secret = field(default_factory=lambda: Secret(""))
    database: str = ""
    tls: Tls = field(default_factory=Tls)
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    socket: str = ""
    """Unix socket: the file (MySQL), or its directory (PostgreSQL); '' for TCP."""

    @property
    def place(self) -> str:
        """What messages call it: ``mysql://user@host:port/database``, never with the password."""
        where = self.socket or f"{_bracketed(self.host)}:{self.port}"
        return f"{self.kind}://{self.user}@{where}/{self.database}"


def parse_url(url: str) -> Endpoint:
    """Reads ``mysql://user:password@host:port/database?option=value`` (percent-encoded parts).

    Also ``mariadb://``, ``postgresql://`` and ``postgres://``. Raises ConfigError, whose message
    holds nothing of what may be the password.
    """
    parts = split_url(url)
    return build_endpoint({name: unquote(text) for name, text in parts.items()})


def split_url(url: str) -> dict[str, str]:
    """The raw parts of a URL: scheme, user, password, host, port, database, query.

    Raises ConfigError.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        raise ConfigError(
            "a database URL begins with mysql://, mariadb:// or postgresql://",
            "write it like mysql://user:env:PASSWORD@host:3306/database",
        )
    return {"scheme": scheme.lower(), **split_address(rest)}


def checked_port(parts: Mapping[str, str], default: int, nameless: str) -> int:
    """The port of a split URL; raises ConfigError. `nameless` is said where it names no host."""
    port = parts["port"] or str(default)
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(
            f"the port of {parts['host'] or nameless} is not a number from 1 to 65535",
            "a password with '@', '/', '?' or '#' is percent-encoded: %40, %2F, %3F, %23",
        )
    return int(port)


def split_address(rest: str) -> dict[str, str]:
    """The raw parts of a URL behind its ``scheme://``."""
    # The password may hold anything but '@' unescaped, so the last '@' ends it.
    rest, _, query = rest.partition("?")
    login, _, place = rest.rpartition("@")
    user, _, password = login.partition(":")
    address, _, database = place.partition("/")
    if address.startswith("["):
        host, _, port = address[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = address.partition(":")
    return {
        "user": user,
        "password": password,
        "host": host,
        "port": port,
        "database": database,
        "query": query,
    }


def build_endpoint(parts: Mapping[str, str]) -> Endpoint:
    """An endpoint from the decoded parts of `split_url`; raises ConfigError."""
    kind = SCHEMES[parts["scheme"]]
    port = checked_port(parts, PORTS[kind], "the server")
    options, tls = _options(kind, parts["query"])
    socket = options.pop("socket", "") or options.pop("unix_socket", "")
    if kind == "postgresql" and "host" in options:
        socket = options.pop("host")
    return Endpoint(
        kind=kind,
        host=parts["host"] or "localhost",
        port=port,
        user=parts["user"],
        password=Secret(parts["password"]),
        database=parts["database"],
        tls=tls,
        options=options,
        socket=socket,
    )


def tls_mode(word: str) -> TlsMode:
    """A TLS mode under any of its usual names; raises ConfigError."""
    mode = _TLS_WORDS.get(word.lower())
    if mode is None:
        raise ConfigError(
            f"“{word}” is not a TLS mode",
            f"one of {', '.join(TLS_MODES)}{nearest(word, _TLS_WORDS)}",
        )
    return mode


def nearest(word: str, known: Mapping[str, object] | frozenset[str] | tuple[str, ...]) -> str:
    """``; did you mean “x”?`` for the known word closest to a wrong one, or ''."""
    import difflib  # which only those wait for who mistyped a word

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean “{close[0]}”?" if close else ""


def _options(kind: Kind, query: str) -> tuple[dict[str, str], Tls]:
    options: dict[str, str] = {}
    tls: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _TLS_OPTIONS:
            tls[_TLS_OPTIONS[name]] = value
        elif name in _OPTIONS[kind]:
            options[name] = value
        else:
            known = tuple(sorted(_OPTIONS[kind] | _TLS_OPTIONS.keys()))
            raise ConfigError(
                f"unknown option “{name}” in a {kind} URL",
                f"known are {', '.join(known)}{nearest(name, known)}",
            )
    mode = tls_mode(tls.pop("mode")) if "mode" in tls else None
    default: TlsMode = "verify" if tls.get("ca") else "preferred"
    return options, Tls(mode or default, **tls)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
