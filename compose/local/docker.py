"""Servers as containers, where Docker answers and the machine has no such server itself."""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from compose.local import mysqlish, postgres
from compose.local.errors import LocalStackError
from compose.local.launch import HOST, free_port
from compose.local.recipes import RECIPES
from compose.local.servers import Server, given

START_SECONDS = 120.0
"""An image makes its data on the first start, and starts the server twice."""
_ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Image:
    """A server's image, the variable that sets its administrator's password, and its options."""

    name: str
    password: str
    options: tuple[str, ...]


IMAGES = {
    "mariadb": Image("mariadb:10.11", "MARIADB_ROOT_PASSWORD", mysqlish.OPTIONS),
    "mysql": Image("mysql:9", "MYSQL_ROOT_PASSWORD", (*mysqlish.OPTIONS, *mysqlish.MYSQL_OPTIONS)),
    "postgresql": Image(
        "postgres:15",
        "POSTGRES_PASSWORD",
        tuple(
            word
            for name, value in postgres.SETTINGS.items()
            if name != "listen_addresses"  # the image's own: a container has its network
            for word in ("-c", f"{name}={value}")
        ),
    ),
}


@functools.cache
def answers() -> bool:
    """Whether there is a Docker engine that we may use."""
    if shutil.which("docker") is None:
        return False
    try:
        asked = _docker(["info"], timeout=_ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def words(kind: str, name: str, port: int) -> list[str]:
    """What `docker` is told to run; the password comes by its environment."""
    image = IMAGES[kind]
    options = [o for o in image.options if not o.startswith("--bind-address")]
    return [
        *("run", "--detach", "--rm", "--name", name, "--env", image.password),
        *("--publish", f"{HOST}:{port}:{RECIPES[kind].port}", image.name, *options),
    ]


@contextmanager
def container(kind: str) -> Iterator[Server]:
    """A fresh server, removed with its data in the end. Raises LocalStackError."""
    name, password = f"dbbridge-{kind}-{secrets.token_hex(4)}", secrets.token_hex(12)
    port = free_port()
    environment = {**os.environ, IMAGES[kind].password: password}
    done = _docker(words(kind, name, port), environment)
    if done.returncode != 0:
        raise LocalStackError(f"docker did not run {IMAGES[kind].name}: {done.stderr.strip()}")
    try:
        url = f"{RECIPES[kind].user}:{password}@{HOST}:{port}"
        yield _await(kind, f"{'postgresql' if kind == 'postgresql' else 'mysql'}://{url}")
    finally:
        _docker(["rm", "--force", "--volumes", name])


def _await(kind: str, url: str) -> Server:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return given(kind, url)
        except LocalStackError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _docker(
    given_words: Sequence[str],
    environment: dict[str, str] | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [shutil.which("docker") or "docker", *given_words],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
