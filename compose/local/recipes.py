"""The kinds of server side by side: what differs between them, as functions."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from compose.local import connect, kafka, mysqlish, postgres, redis
from compose.local.programs import Program


@dataclass(frozen=True)
class Recipe:
    """How one kind of server is initialised, run, asked and stopped."""

    user: str
    """The administrator."""
    url: str
    """The form of its address, of ``login``, ``address`` and ``database``."""
    port: int
    """Where such a server listens unless told otherwise."""
    stop: signal.Signals
    """PostgreSQL's SIGTERM waits for all clients to leave; its SIGINT sends them away."""
    steps_down: bool
    """Whether it refuses to run as root."""
    initialise: Callable[[Program, Path, str], None]
    command: Callable[[Program, Path, int, Path, Sequence[str]], tuple[str, ...]]
    probe: Callable[[str, int, str, str], str | None]


_MYSQL = Recipe(
    user=mysqlish.USER,
    url="mysql://{login}@{address}/{database}",
    port=3306,
    stop=signal.SIGTERM,
    steps_down=False,
    initialise=mysqlish.initialise,
    command=mysqlish.command,
    probe=mysqlish.probe,
)
RECIPES = {
    "mariadb": _MYSQL,
    "mysql": _MYSQL,
    "postgresql": Recipe(
        user=postgres.USER,
        url="postgresql://{login}@{address}/{database}",
        port=5432,
        stop=signal.SIGINT,
        steps_down=True,
        initialise=postgres.initialise,
        command=postgres.command,
        probe=postgres.probe,
    ),
    "redis": Recipe(
        user=redis.USER,
        url="redis://{login}@{address}/{database}",
        port=6379,
        stop=signal.SIGTERM,
        steps_down=False,
        initialise=redis.initialise,
        command=redis.command,
        probe=redis.probe,
    ),
    "kafka": Recipe(
        user="",
        url="{address}",
        port=9092,
        stop=signal.SIGTERM,
        steps_down=False,
        initialise=kafka.initialise,
        command=kafka.command,
        probe=kafka.probe,
    ),
    "connect": Recipe(
        user="",
        url="http://{address}",
        port=8083,
        stop=signal.SIGTERM,
        steps_down=False,
        initialise=connect.initialise,
        command=connect.command,
        probe=connect.probe,
    ),
}
