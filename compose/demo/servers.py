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

from compose.local import guard, places, programs, servers, templates


@dataclass(frozen=True)
class Pair:
    """Addresses of administrators, and what the servers are."""

    source: str
    target: str
    described: str


@contextlib.contextmanager
def pair() -> Iterator[Pair]:
    """Both servers; those that were started here are stopped in the end, and their data removed."""
    given = {"mariadb": _given("LEGACY_URL"), "postgresql": _given("MAIN_URL")}
    wanted = [kind for kind, url in given.items() if not url]
    with contextlib.ExitStack() as stack:
        if wanted:
            with ThreadPoolExecutor(len(wanted)) as pool:
                list(pool.map(_prepare, wanted))
        urls, names = [], []
        for kind, url in given.items():
            server = servers.given(kind, url) if url else stack.enter_context(_started(kind))
            urls.append(url or server.url("postgres" if kind == "postgresql" else ""))
            name = "PostgreSQL" if kind == "postgresql" else "MariaDB"
            name = "MySQL" if kind == "mariadb" and "Maria" not in server.version else name
            names.append(f"{name} {'.'.join(map(str, programs.numbered(server.version)))}")
        yield Pair(urls[0], urls[1], " and ".join(names))


def _given(variable: str) -> str:
    return "" if programs.private_only() else os.environ.get(variable, "")


def _prepare(kind: str) -> None:
    """Binaries and initialised data; nothing to do but the first time."""
    templates.ready(programs.find(kind))


@contextlib.contextmanager
def _started(kind: str) -> Iterator[servers.Server]:
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir=places.folder("data")))
    folder.chmod(0o755)
    guard.remember_folder(folder)
    server = servers.start(kind, folder / kind)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
