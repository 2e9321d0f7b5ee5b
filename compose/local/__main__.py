"""``python -m compose.local up|prepare``: the servers for development, in the foreground."""

from __future__ import annotations

import argparse
import concurrent.futures
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from compose.local import guard, launch, places, programs, servers, templates
from compose.local.errors import LocalStackError
from compose.local.servers import Server

VARIABLES = {
    "mariadb": "LEGACY_URL",
    "mysql": "MYSQL_URL",
    "postgresql": "MAIN_URL",
    "redis": "REDIS_URL",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; 1 if a server could not be had."""
    parser = argparse.ArgumentParser(prog="python -m compose.local", description=__doc__)
    parser.add_argument("command", choices=["up", "prepare"])
    parser.add_argument("--kinds", default=",".join(programs.KINDS), help="comma-separated")
    parser.add_argument(
        "--directory", type=Path, help="where data stay (default: a new one, removed)"
    )
    given = parser.parse_args(arguments)
    kinds = [kind for kind in given.kinds.split(",") if kind]
    try:
        if given.command == "prepare":
            _prepare(kinds)
        else:
            _up(kinds, given.directory)
    except LocalStackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


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
    running: list[Server] = []
    try:
        for kind in kinds:
            folder = directory / kind
            known = launch.saved(folder)
            server = servers.resume(folder) if known else servers.start(kind, folder)
            running.append(server)
            database = "postgres" if kind == "postgresql" else ""
            print(f"export {VARIABLES[kind]}='{server.url(database)}'", flush=True)
        print(f"servers run until this process ({directory}) ends", file=sys.stderr)
        finish.wait()
    finally:
        for server in running:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
