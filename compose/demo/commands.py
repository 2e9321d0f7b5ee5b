"""Running dbbridge as a user does: the command is shown first, secrets come by the environment."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from bridge.databases.endpoint import parse_url
from compose.local import guard, places

STOP_SECONDS = 60.0
FIRST_LINES, LAST_LINES = 16, 3
"""What is shown of a command that says much."""


class Failed(Exception):
    """A command did not do what the tour needs of it."""


class Daemon:
    """A ``dbbridge sync`` that runs beside the tour, its words passed on line by line.

    `name` stands before each line, where several run at once.
    """

    def __init__(self, process: subprocess.Popen[str], name: str) -> None:
        self._process = process
        self._indent = f"    {name} " if name else "    "
        guard.remember_server(process.pid, signal.SIGTERM)
        self._reader = threading.Thread(target=self._pass_on, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Ends it by SIGKILL: it gets no chance to tidy up."""
        self._process.kill()
        self._over()

    def stop(self) -> int:
        """Ends it by SIGTERM, or by SIGKILL if that does not help; its exit code."""
        if self.running:
            self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return self._over()

    def _over(self) -> int:
        code = self._process.wait()
        self._reader.join()
        return code

    def _pass_on(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                print(f"{self._indent}{line.rstrip()}", flush=True)


class Dbbridge:
    """The command line in one working folder."""

    def __init__(self, folder: Path, source: str, target: str) -> None:
        self.folder = folder
        self._secrets = {"LEGACY_PASSWORD": _password(source), "MAIN_PASSWORD": _password(target)}
        self.source = _without_password(source, "LEGACY_PASSWORD")
        self.target = _without_password(target, "MAIN_PASSWORD")

    def run(self, *words: str, fine: tuple[int, ...] = (0,)) -> int:
        """Shows and runs a command; what it prints is for people. Raises Failed."""
        self.show(*words)
        code = subprocess.run(
            _command(words), cwd=self.folder, env=self._environment, check=False
        ).returncode
        if code not in fine:
            raise Failed(f"`dbbridge {' '.join(words)}` exited {code}")
        return code

    def preview(self, *words: str) -> tuple[str, ...]:
        """Shows and runs a command that says much, the beginning and the end of it.

        The words of the command that it says comes next.
        """
        self.show(*words)
        done = self._captured(words)
        if done.returncode != 0:
            raise Failed(f"`dbbridge {' '.join(words)}` exited {done.returncode}: {done.stderr}")
        lines = done.stdout.splitlines()
        left = len(lines) - FIRST_LINES - LAST_LINES
        if left > 1:
            lines[FIRST_LINES:-LAST_LINES] = [f"  … {left} more lines …"]
        print("\n".join(lines), flush=True)
        return tuple(lines[-1].removeprefix("next: dbbridge ").split())

    def ask(self, *words: str) -> dict[str, Any] | None:
        """The JSON that a command prints; None if it cannot say anything yet (exit code 2)."""
        done = self._captured((*words, "--format", "json"))
        if done.returncode == 2:
            return None
        if done.returncode != 0:
            raise Failed(f"`dbbridge {' '.join(words)}` exited {done.returncode}: {done.stderr}")
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def look(self, *words: str) -> dict[str, Any]:
        """Shows a command, runs it, and prints nothing; its JSON, also where it finds something."""
        self.show(*words)
        done = self._captured((*words, "--format", "json"))
        if done.returncode not in (0, 1):
            raise Failed(f"`dbbridge {' '.join(words)}` exited {done.returncode}: {done.stderr}")
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def _captured(self, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            _command(words),
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *words: str, name: str = "") -> Daemon:
        """Shows a command and starts it beside us; a ^C for us does not reach it. See Daemon."""
        self.show(*words)
        process = subprocess.Popen(
            _command(words),
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return Daemon(process, name)

    def show(self, *words: str) -> None:
        """The line that a user would type."""
        print(f"$ dbbridge {shlex.join(words)}", flush=True)

    @property
    def _environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("BRIDGE_")}
        path = [str(places.CHECKOUT), *filter(None, [inherited.get("PYTHONPATH")])]
        return {**inherited, **self._secrets, "PYTHONPATH": os.pathsep.join(path)}


def _command(words: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "bridge.cli.start", *words]


def _password(url: str) -> str:
    return parse_url(url).password.reveal()


def _without_password(url: str, variable: str) -> str:
    """The URL with ``env:VARIABLE`` in the password's place."""
    parts = urlsplit(url)
    where = parts.netloc.rpartition("@")[2]
    user = quote(parse_url(url).user, safe="")
    return urlunsplit(parts._replace(netloc=f"{user}:env:{variable}@{where}"))
