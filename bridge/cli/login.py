"""Database URLs on the command line: where passwords come from, and how they are written down.

A password may be ``env:NAME`` or ``file:PATH`` in the URL's password place, a placeholder as in
bridge.yaml, the password itself, or left out and then asked for on a terminal. Written down is only
ever a placeholder.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from bridge.config.urls import resolve_url
from bridge.databases.endpoint import Endpoint, Kind, Secret, parse_url, split_url
from bridge.errors import ConfigError

_PLACEHOLDER = re.compile(r"\$\{[^{}]*\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Ask = Callable[[str], str]
"""Asks for a password; '' where nobody can answer."""


@dataclass(frozen=True, slots=True)
class Login:
    """A database from the command line: the endpoint, and the URL as bridge.yaml gets it.

    `to_export` names the variable that has to be set before bridge.yaml can be used ('' for none).
    """

    endpoint: Endpoint
    url: str
    to_export: str = ""


def ask_on_terminal(place: str) -> str:
    """Asks for a password without showing it; '' where there is no terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return ""
    return str(
        typer.prompt(
            f"Password for {place}", hide_input=True, default="", show_default=False, err=True
        )
    )


def read_login(
    url: str, kind: Kind, name: str, environ: Mapping[str, str], base: Path, ask: Ask
) -> Login:
    """Reads a URL of the command line for the database that bridge.yaml will call `name`.

    `base` is the directory of bridge.yaml. Raises ConfigError.
    """
    option = "--source" if kind == "mysql" else "--target"
    parts = split_url(_PLACEHOLDER.sub(lambda m: m[0].replace("/", "\0"), url))
    parts = {key: text.replace("\0", "/") for key, text in parts.items()}
    password, variable = _placeholder(parts["password"], name, base)
    if password == parts["password"]:
        endpoint = resolve_url(url, environ, option, base) if password else parse_url(url)
    elif variable:
        endpoint = parse_url(url)
    else:
        written = _joined({**parts, "password": password})
        endpoint = resolve_url(written, environ, option, base)
    if endpoint.kind != kind:
        raise ConfigError(
            f"{option} is a {endpoint.kind} URL",
            "the source is MySQL or MariaDB, the target is PostgreSQL",
        )
    if not endpoint.database:
        raise ConfigError(f"{option} names no database", "end the URL with /DATABASE")
    if not password and not endpoint.socket:
        asked = ask(endpoint.place)
        if asked:
            variable = _variable(name)
            password = f"${{{variable}}}"
            endpoint = replace(endpoint, password=Secret(asked))
    return Login(endpoint, _joined({**parts, "password": password}), variable)


def _placeholder(password: str, name: str, base: Path) -> tuple[str, str]:
    """What stands in bridge.yaml for a password, and the variable that the user has to set."""
    kind, _, rest = password.partition(":")
    if kind == "env" and rest:
        if not _VARIABLE.fullmatch(rest):
            raise ConfigError(f"“{rest}” is not the name of a variable", "write it like env:PW")
        return f"${{{rest}}}", ""
    if kind == "file" and rest:
        path = Path(rest).expanduser()
        if not path.is_absolute() and base.resolve() != Path.cwd():
            path = Path.cwd() / path
        return f"${{file:{path}}}", ""
    if not password or _PLACEHOLDER.fullmatch(password):
        return password, ""
    return f"${{{_variable(name)}}}", _variable(name)


def _variable(name: str) -> str:
    return f"{name.upper()}_PASSWORD"


def _joined(parts: Mapping[str, str]) -> str:
    login = parts["user"] + (f":{parts['password']}" if parts["password"] else "")
    host = f"[{parts['host']}]" if ":" in parts["host"] else parts["host"]
    port = f":{parts['port']}" if parts["port"] else ""
    query = f"?{parts['query']}" if parts["query"] else ""
    at = "@" if login else ""
    return f"{parts['scheme']}://{login}{at}{host}{port}/{parts['database']}{query}"
