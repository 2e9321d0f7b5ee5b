"""Starting, stopping and restarting local servers."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from compose.local import guard, places, processes, programs, templates
from compose.local import launch as launches
from compose.local.errors import LocalStackError, PortTaken
from compose.local.launch import HOST, Launch, free_port
from compose.local.programs import Program
from compose.local.recipes import RECIPES

START_SECONDS = 90.0
PORT_TRIES = 5


@dataclass(frozen=True)
class Server:
    """A running server and its administrator. ``pid`` is 0 for one that is not ours."""

    kind: str
    host: str
    port: int
    user: str
    password: str
    version: str
    pid: int
    datadir: Path

    def url(self, database: str = "") -> str:
        """The address for the administrator, as dbbridge's command line takes it."""
        return RECIPES[self.kind].url.format(
            login=f"{quote(self.user, safe='')}:{quote(self.password, safe='')}",
            address=f"{self.host}:{self.port}",
            database=quote(database, safe=""),
        )

    def stop(self, kill: bool = False) -> None:
        """End the process in order, or by SIGKILL, and wait until it is gone."""
        self._ours()
        processes.end(self.pid, signal.SIGKILL if kill else RECIPES[self.kind].stop)

    def restart(self) -> Server:
        """Stop it if it runs, and start it on the same data and port."""
        self._ours()
        processes.end(self.pid, RECIPES[self.kind].stop)
        return _run(self.datadir.parent)

    def _ours(self) -> None:
        if self.pid == 0:
            raise LocalStackError(f"{self.host}:{self.port} was not started here")


def start(kind: str, directory: Path, *, options: Sequence[str] = ()) -> Server:
    """Start a fresh server of this kind; its data and log lie in the directory.

    Where PostgreSQL has to step down from root to a user who cannot reach the directory,
    they lie in a temporary folder instead: ``Server.datadir`` says where. The server ends
    with this process at the latest.
    """
    guard.sweep()
    if launches.saved(directory):
        raise LocalStackError(f"{directory} already holds a server's data")
    program = programs.find(kind)
    template = templates.ready(program)
    sockets = _sockets()
    folder = _folder(kind, directory, sockets)
    template.copy(launches.data(folder))
    for attempt in range(1, PORT_TRIES + 1):
        _launch(program, free_port(), template.password, folder, sockets, options).save(folder)
        try:
            return _run(folder)
        except PortTaken:
            if attempt == PORT_TRIES:
                raise
    raise AssertionError("unreachable")


def resume(directory: Path, *, options: Sequence[str] = ()) -> Server:
    """Start the server whose data an earlier process left in the directory; same port."""
    guard.sweep()
    before = Launch.load(directory)
    sockets = _sockets()
    folder = _folder(before.kind, directory, sockets)
    program = programs.find(before.kind)
    _launch(program, before.port, before.password, folder, sockets, options).save(folder)
    return _run(folder)


def given(kind: str, url: str) -> Server:
    """A server that somebody else runs, such as one named by an environment variable."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    port = parts.port or RECIPES[kind].port
    host = parts.hostname or HOST
    version = RECIPES[kind].probe(host, port, user, password)
    if version is None:
        raise LocalStackError(f"no {kind} server answers at {host}:{port}")
    return Server(kind, host, port, user, password, version, 0, Path("/nonexistent"))


def _sockets() -> Path:
    sockets = places.scratch()
    guard.remember_folder(sockets)
    return sockets


def _folder(kind: str, directory: Path, sockets: Path) -> Path:
    """Where data and log go, and who may enter."""
    account = places.account() if RECIPES[kind].steps_down else None
    directory.mkdir(parents=True, exist_ok=True)
    if account is None:
        return directory
    places.give(sockets, account)
    sockets.chmod(0o755)
    if places.traversable(directory):
        return directory
    return sockets


def _launch(
    program: Program,
    port: int,
    password: str,
    folder: Path,
    sockets: Path,
    options: Sequence[str],
) -> Launch:
    recipe = RECIPES[program.kind]
    return Launch(
        kind=program.kind,
        port=port,
        user=recipe.user,
        password=password,
        command=recipe.command(program, launches.data(folder), port, sockets, options),
        environment=dict(program.environment),
        step_down=recipe.steps_down,
    )


def _run(folder: Path) -> Server:
    launch = Launch.load(folder)
    log = launches.log(folder)
    written = log.stat().st_size if log.exists() else 0
    account = places.account() if launch.step_down else None
    pid = processes.spawn(launch.command, launch.environment, log, account)
    guard.remember_server(pid, RECIPES[launch.kind].stop)
    version = _await(launch, pid, log, written)
    return Server(
        kind=launch.kind,
        host=HOST,
        port=launch.port,
        user=launch.user,
        password=launch.password,
        version=version,
        pid=pid,
        datadir=launches.data(folder),
    )


def _await(launch: Launch, pid: int, log: Path, written: int) -> str:
    """Wait until the server answers; its version. Its own words are in the error."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if processes.exited(pid):
            said = log.read_bytes()[written:].decode(errors="replace")
            if "Address already in use" in said:
                raise PortTaken(f"port {launch.port} was taken meanwhile")
            raise LocalStackError(f"{launch.kind} ended while starting:\n{said[-4000:]}")
        version = RECIPES[launch.kind].probe(HOST, launch.port, launch.user, launch.password)
        if version:
            return version
        time.sleep(0.05)
    processes.end(pid, signal.SIGKILL)
    raise LocalStackError(f"{launch.kind} did not answer in {START_SECONDS:.0f} s, see {log}")
