"""Secrets in settings: resolved when a connection is about to be made, and never shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from bridge.databases.endpoint import (
    Endpoint,
    Tls,
    build_endpoint,
    nearest,
    split_url,
)
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from bridge.databases.broker import Broker
    from bridge.databases.connect_url import ConnectEndpoint

_PLACEHOLDER = re.compile(r"\$\{(file:)?([^{}]*)\}")
_SHIELD = "\x00{}\x00"
_SHIELDED = re.compile("\x00(\\d+)\x00")


def resolve(text: str, environ: Mapping[str, str], where: str, base: Path) -> str:
    """Replaces ``${NAME}`` and ``${file:PATH}``. Raises ConfigError naming the variable or file."""

    def value(match: re.Match[str]) -> str:
        name = match[2]
        if match[1]:
            return _secret_file(base / name, where)
        if name not in environ:
            close = nearest(name, tuple(environ))
            raise ConfigError(
                f"{where}: the variable {name} is not set",
                f"export {name}=…, or put the value into a file and write ${{file:PATH}}{close}",
            )
        return environ[name]

    return _PLACEHOLDER.sub(value, text)


def resolve_url(
    url: str, environ: Mapping[str, str], where: str, base: Path, *, secrets: bool = True
) -> Endpoint:
    """An endpoint from a URL with placeholders; without its password if `secrets` is False.

    What a placeholder gives is taken as it is, so that a password needs no percent-encoding; a URL
    that is one placeholder as a whole is read after it is resolved. Raises ConfigError.
    """

    def split(text: str) -> dict[str, str]:
        return split_url(text) | ({} if secrets else {"password": ""})

    with at(where):
        return build_endpoint(_resolved_parts(url, split, environ, where, base))


def resolve_broker(
    url: str, environ: Mapping[str, str], where: str, base: Path, tls: Tls
) -> Broker:
    """A broker from a URL with placeholders, as `resolve_url` reads a database's."""
    from bridge.databases.broker import build_broker, split_broker

    with at(where):
        return build_broker(_resolved_parts(url, split_broker, environ, where, base), tls)


def resolve_connect(
    url: str, environ: Mapping[str, str], where: str, base: Path, tls: Tls
) -> ConnectEndpoint:
    """Kafka Connect's REST interface from a URL with placeholders, read as a database's."""
    from bridge.databases.connect_url import build_connect, split_connect

    with at(where):
        return build_connect(_resolved_parts(url, split_connect, environ, where, base), tls)


def _resolved_parts(
    url: str,
    split: Callable[[str], dict[str, str]],
    environ: Mapping[str, str],
    where: str,
    base: Path,
) -> dict[str, str]:
    if _PLACEHOLDER.fullmatch(url.strip()):
        url = resolve(url.strip(), environ, where, base)
    shielded, kept = _shield(url)

    def open_up(text: str) -> str:
        plain = _SHIELDED.split(unquote(text))
        plain[1::2] = [resolve(kept[int(i)], environ, where, base) for i in plain[1::2]]
        return "".join(plain)

    return {name: open_up(part) for name, part in split(shielded).items()}


@contextmanager
def at(where: str) -> Iterator[None]:
    """Errors say where the setting stands."""
    try:
        yield
    except ConfigError as error:
        at = "" if error.message.startswith(where) else f"{where}: "
        raise ConfigError(f"{at}{error.message}", error.hint) from None


def masked_url(url: str) -> str:
    """The URL with its password as ***, unless it is a placeholder."""
    shielded, kept = _shield(url)
    head, at, tail = shielded.rpartition("@")
    scheme, separator, login = head.partition("://")
    user, colon, password = login.partition(":")
    if at and colon and not _SHIELDED.fullmatch(password):
        shielded = f"{scheme}{separator}{user}:***@{tail}"
    return _SHIELDED.sub(lambda match: kept[int(match[1])], shielded)


def masked(secret: str) -> str:
    """A secret as ***, unless it is a placeholder (or nothing)."""
    return secret if not secret or _PLACEHOLDER.fullmatch(secret) else "***"


def _shield(url: str) -> tuple[str, list[str]]:
    """Takes placeholders out of a URL, since their text may hold characters that split it."""
    kept: list[str] = []

    def take(match: re.Match[str]) -> str:
        kept.append(match[0])
        return _SHIELD.format(len(kept) - 1)

    return _PLACEHOLDER.sub(take, url), kept


def _secret_file(path: Path, where: str) -> str:
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError(
            f"{where}: the file {path} cannot be read: {reason}", "check its path and rights"
        ) from error
