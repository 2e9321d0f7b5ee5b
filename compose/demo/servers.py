"""The servers of the demo: those that variables such as LEGACY_URL name, else private ones."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from compose.local import connect, docker, guard, maven, places, programs, servers, templates
from compose.local.errors import LocalStackError

VARIABLES = {
    "mariadb": "LEGACY_URL",
    "mysql": "MYSQL_URL",
    "postgresql": "MAIN_URL",
    "kafka": "KAFKA_BOOTSTRAP",
    "connect": "CONNECT_URL",
}
PAIR = ("mariadb", "postgresql")
PIPED = ("mysql", "postgresql", "kafka", "connect")
LOGS_CASCADES = (9, 6)
"""The MySQL from which on the log has what foreign keys do to rows."""


@dataclass(frozen=True)
class Pair:
    """Addresses of administrators, and what the servers are."""

    source: str
    target: str
    described: str
    mysql: bool
    """Whether the source is MySQL rather than MariaDB."""


@dataclass(frozen=True)
class Pipes:
    """Addresses of Kafka and of Connect's REST interface."""

    bootstrap: str
    connect: str


@dataclass(frozen=True)
class _Running:
    server: servers.Server
    url: str


@contextlib.contextmanager
def pair() -> Iterator[Pair]:
    """Both servers; those that were started here are stopped in the end, and their data removed."""
    with _running(PAIR) as found:
        yield _pair(found)


@contextlib.contextmanager
def piped() -> Iterator[tuple[Pair, Pipes]]:
    """As `pair`, from MySQL, with Kafka and Connect beside it.

    Raises LocalStackError where one of them cannot be had, or where Debezium could not tell all
    that happens to the shop's rows.
    """
    if _given("connect") and not _given("kafka"):
        raise LocalStackError("CONNECT_URL names a worker, and KAFKA_BOOTSTRAP not its broker")
    with _running(PIPED) as found:
        source = found["mysql"].server
        if "MariaDB" in source.version or programs.numbered(source.version) < LOGS_CASCADES:
            raise LocalStackError(
                f"what foreign keys do to the shop's rows is not in the log of {source.version}, so"
                " that Debezium cannot tell it; MySQL writes it from"
                f" {'.'.join(map(str, LOGS_CASCADES))} on"
            )
        yield _pair(found), Pipes(found["kafka"].url, found["connect"].url)


def _pair(found: Mapping[str, _Running]) -> Pair:
    source, target = list(found.values())[:2]
    mysql = "MariaDB" not in source.server.version
    return Pair(
        source=source.url,
        target=target.url,
        described=f"{'MySQL' if mysql else 'MariaDB'} {_number(source.server)}"
        f" and PostgreSQL {_number(target.server)}",
        mysql=mysql,
    )


@contextlib.contextmanager
def _running(kinds: Sequence[str]) -> Iterator[dict[str, _Running]]:
    """Servers of these kinds, in their order."""
    wanted = [kind for kind in kinds if not _given(kind)]
    ours = [kind for kind in wanted if not _by_docker(kind)]
    if wanted:
        print("servers of our own (downloaded the first time) …", flush=True)
    for kind in set(ours) & set(programs.JAVA_KINDS):
        programs.find(kind)  # where there is no Java, that is said before anything is downloaded
    if ours:
        with ThreadPoolExecutor(len(ours)) as pool:
            list(pool.map(_prepare, ours))
    found: dict[str, _Running] = {}
    with contextlib.ExitStack() as stack:
        for kind in kinds:
            url = _given(kind)
            if url:
                server = servers.given(kind, url)
            else:
                server = stack.enter_context(_started(kind, _options(kind, found)))
            default = "postgres" if kind == "postgresql" else ""
            found[kind] = _Running(server, url or server.url(default))
        yield found


def _given(kind: str) -> str:
    return "" if programs.private_only() else os.environ.get(VARIABLES[kind], "")


def _number(server: servers.Server) -> str:
    return ".".join(map(str, programs.numbered(server.version)))


def _by_docker(kind: str) -> bool:
    """Whether Docker has to run it: the machine has none itself, and may be asked."""
    if programs.private_only() or kind not in docker.IMAGES or programs.installed(kind) is not None:
        return False
    return docker.answers()


def _prepare(kind: str) -> None:
    """Binaries and initialised data; nothing to do but the first time."""
    templates.ready(programs.find(kind))
    if kind == "connect":
        maven.connector("mysql")


def _options(kind: str, found: Mapping[str, _Running]) -> list[str]:
    return connect.options(found["kafka"].url) if kind == "connect" else []


@contextlib.contextmanager
def _started(kind: str, options: Sequence[str]) -> Iterator[servers.Server]:
    if _by_docker(kind):
        with docker.container(kind) as server:
            yield server
        return
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir=places.folder("data")))
    folder.chmod(0o755)
    guard.remember_folder(folder)
    server = servers.start(kind, folder / kind, options=options)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
