"""The servers of the demo: those that LEGACY_URL and MAIN_URL name, else private ones."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from compose.local import docker, guard, places, programs, servers, templates


@dataclass(frozen=True)
class Pair:
    """Addresses of administrators, and what the servers are."""

    source: str
    target: str
    described: str
    mysql: bool
    """Whether the source is MySQL rather than MariaDB."""


@contextlib.contextmanager
def pair() -> Iterator[Pair]:
    """Both servers; those that were started here are stopped in the end, and their data removed."""
    given = {"mariadb": _given("LEGACY_URL"), "postgresql": _given("MAIN_URL")}
    wanted = [kind for kind, url in given.items() if not url]
    with contextlib.ExitStack() as stack:
        ours = [kind for kind in wanted if not _by_docker(kind)]
        if wanted:
            print("servers of our own (downloaded the first time) …", flush=True)
        if ours:
            with ThreadPoolExecutor(len(ours)) as pool:
                list(pool.map(_prepare, ours))
        source, target = (
            servers.given(kind, url) if url else stack.enter_context(_started(kind))
            for kind, url in given.items()
        )
        mysql = "MariaDB" not in source.version
        yield Pair(
            source=given["mariadb"] or source.url(),
            target=given["postgresql"] or target.url("postgres"),
            described=f"{'MySQL' if mysql else 'MariaDB'} {_number(source)}"
            f" and PostgreSQL {_number(target)}",
            mysql=mysql,
        )


def _given(variable: str) -> str:
    return "" if programs.private_only() else os.environ.get(variable, "")


def _number(server: servers.Server) -> str:
    return ".".join(map(str, programs.numbered(server.version)))


def _by_docker(kind: str) -> bool:
    """Whether Docker has to run it: the machine has none itself, and may be asked."""
    if programs.private_only() or programs.installed(kind) is not None:
        return False
    return docker.answers()


def _prepare(kind: str) -> None:
    """Binaries and initialised data; nothing to do but the first time."""
    templates.ready(programs.find(kind))


@contextlib.contextmanager
def _started(kind: str) -> Iterator[servers.Server]:
    if _by_docker(kind):
        with docker.container(kind) as server:
            yield server
        return
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir=places.folder("data")))
    folder.chmod(0o755)
    guard.remember_folder(folder)
    server = servers.start(kind, folder / kind)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
