"""How Redis is initialised and run: in memory alone, so that a killed one comes back empty."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import redis

from compose.local.launch import HOST
from compose.local.programs import Program

USER = "default"
SETTINGS = {"save": '""', "appendonly": "no", "daemonize": "no", "maxmemory-policy": "noeviction"}


def initialise(_program: Program, data: Path, password: str) -> None:
    """Make a data directory with the settings, which hold the password."""
    data.mkdir()
    settings = data / "redis.conf"
    settings.touch(mode=0o600)
    lines = {**SETTINGS, "bind": HOST, "requirepass": password}
    settings.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))


def command(
    program: Program, data: Path, port: int, _sockets: Path, options: Sequence[str]
) -> tuple[str, ...]:
    """The words that start a server on this data; the caller's options win, being last."""
    own = ("--port", str(port), "--dir", str(data))
    return (*program.command, str(data / "redis.conf"), *own, *options)


def probe(host: str, port: int, user: str, password: str) -> str | None:
    """The version of the server if it answers already."""
    try:
        with redis.Redis(
            host=host, port=port, username=user, password=password, socket_timeout=5
        ) as client:
            found = client.info("server")
    except (redis.RedisError, OSError):
        return None
    return str(found["redis_version"]) if isinstance(found, dict) else None
