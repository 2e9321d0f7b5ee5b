"""``python -m compose.local up|prepare``: the servers for development, in the foreground."""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from compose.local import connect, guard, launch, places, programs, servers, templates
from compose.local.errors import LocalStackError, Unavailable
from compose.local.servers import Server

VARIABLES = {
    "mariadb": "LEGACY_URL",
    "mysql": "MYSQL_URL",
    "postgresql": "MAIN_URL",
    "redis": "REDIS_URL",
    "kafka": "KAFKA_BOOTSTRAP",
    "connect": "CONNECT_URL",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; 1 if a server could not be had."""
    parser = argparse.ArgumentParser(prog="python -m compose.local", description=__doc__)
    parser.add_argument("command", choices=["up", "prepare"])
    parser.add_argument(
        "--kinds", help="comma-separated; connect needs kafka (default: all that can be had)"
    )
    parser.add_argument(
        "--directory", type=Path, help="where data stay (default: a new one, removed)"
    )
    given = parser.parse_args(arguments)
    try:
        kinds = given.kinds.split(",") if given.kinds else _all()
        if given.command == "prepare":
            _prepare(kinds)
        else:
            _up(kinds, given.directory)
    except LocalStackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _all() -> list[str]:
    """All kinds, less those that this machine cannot have."""
    try:
        for kind in programs.JAVA_KINDS:
            programs.find(kind)
    except Unavailable as reason:
        print(f"without {', '.join(programs.JAVA_KINDS)}: {reason}", file=sys.stderr)
        return [*programs.KINDS]
    return [*programs.KINDS, *programs.JAVA_KINDS]


def _prepare(kinds: Sequence[str]) -> None:
    """Have binaries and initialised data of all kinds, at once: most of the time is waiting."""

    def one(kind: str) -> str:
        began = time.monotonic()
        program = programs.find(kind)
        templates.ready(program)
        return f"{program.identity} ready after {time.monotonic() - began:.1f} s"

    with concurrent.futures.ThreadPoolExecutor(len(kinds) or 1) as pool:
        for line in pool.map(one, kinds):
            print(line, file=sys.stderr)


def _up(kinds: Sequence[str], directory: Path | None) -> None:
    """Run the servers until SIGTERM or SIGINT; stdout is for a shell to evaluate."""
    finish = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: finish.set())
    _prepare(kinds)
    if directory:
        _serve(kinds, directory.resolve(), finish)
        return
    with tempfile.TemporaryDirectory(prefix="up-", dir=places.folder("data")) as made:
        Path(made).chmod(0o755)
        guard.remember_folder(Path(made))
        _serve(kinds, Path(made), finish)


def _serve(kinds: Sequence[str], directory: Path, finish: threading.Event) -> None:
    running: dict[str, Server] = {}
    try:
        for kind in kinds:
            folder = directory / kind
            begin = functools.partial(servers.resume, folder)
            if not launch.saved(folder):
                begin = functools.partial(servers.start, kind, folder)
            running[kind] = server = begin(options=_options(kind, running))
            database = "postgres" if kind == "postgresql" else ""
            print(f"export {VARIABLES[kind]}='{server.url(database)}'", flush=True)
        print(f"servers run until this process ({directory}) ends", file=sys.stderr)
        finish.wait()
    finally:
        for server in reversed(running.values()):
            server.stop()


def _options(kind: str, running: Mapping[str, Server]) -> list[str]:
    if kind != "connect":
        return []
    if "kafka" not in running:
        raise LocalStackError("connect needs a broker: --kinds kafka,connect")
    return connect.options(running["kafka"].url())


if __name__ == "__main__":
    sys.exit(main())
