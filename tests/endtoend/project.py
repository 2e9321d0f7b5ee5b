"""A pipeline as a user has it: a folder, accounts with the least rights, and the command line.

Every verb is a process of its own; what the daemon says goes into a log beside the settings.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.endtoend.accounts import Accounts
from tests.fix_servers import SourceDatabase, TargetDatabase

CHECKOUT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.02
VERB_SECONDS = 120.0
STOP_SECONDS = 30.0
"""The promise of 10 s has tests of its own; here the machine may stand still, too."""
COMMAND = (sys.executable, "-m", "bridge.cli.start")


@dataclass(frozen=True)
class Result:
    """What a verb gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What stands on stdout, read."""
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


@dataclass
class Daemon:
    """A `dbbridge sync` or `dbbridge worker` that runs."""

    process: subprocess.Popen[bytes]
    path: Path

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self.path.read_text(errors="replace")

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL, whatever it does at the moment."""
        self.process.kill()
        self.process.wait()

    def send(self, number: signal.Signals) -> None:
        """Any other signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float) -> int:
        """Its exit code; fails, with the stack of each thread, if that takes longer."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGABRT)
            self.process.wait()
            raise AssertionError(f"it has not ended in {timeout} s:\n{self.log}") from None

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Ends it in order; within `timeout` seconds, and with 0."""
        self.send(signal.SIGTERM)
        code = self.wait(timeout)
        assert code == 0, f"it ended with {code}:\n{self.log}"


@dataclass
class Project:
    """A folder with bridge.yaml and mappings/, between two databases."""

    folder: Path
    source: SourceDatabase
    target: TargetDatabase
    accounts: Accounts
    command: tuple[str, ...] = ()
    """In place of `COMMAND`, for broken variants."""
    daemons: list[Daemon] = field(default_factory=list)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    session: psycopg.Connection[Any] | None = None
    """Of `ask`; a login at each look costs more than most of what is waited for."""

    # -- verbs -------------------------------------------------------------------------------

    def run(self, *words: str, code: int | None = 0, timeout: float = VERB_SECONDS) -> Result:
        """One verb to its end; fails if it exits with another code (None: with any)."""
        done = subprocess.run(
            [*(self.command or COMMAND), *words],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        result = Result(done.returncode, done.stdout, done.stderr)
        assert code is None or result.code == code, f"{' '.join(words)}: {result}"
        assert "Traceback" not in result.err, result.err
        return result

    def init(self) -> Result:
        """Settings and mapping files out of the live source."""
        urls = ("--source", self.accounts.source_url, "--target", self.accounts.target_url)
        return self.run("init", *urls)

    def apply_schema(self) -> Result:
        """Makes the target's tables: the plan's hash goes into apply."""
        plan = self.run("schema", "plan", "--format", "json").json["plan"]
        return self.run("schema", "apply", "--plan", plan)

    def begin(self) -> None:
        """All that comes before the first `sync`."""
        self.init()
        self.apply_schema()

    def sync(self, *words: str, kill_at: str = "") -> Daemon:
        """Starts the daemon; `kill_at` names a point and a count (bridge.replicate.points)."""
        return self.background("sync", *words, DBBRIDGE_KILL_AT=kill_at)

    def worker(self, *words: str) -> Daemon:
        """Starts a worker of verifications."""
        return self.background("worker", *words)

    def background(self, verb: str, *words: str, **environment: str) -> Daemon:
        """Any verb that takes its time, with a log of its own."""
        path = self.folder / f"{verb}-{len(self.daemons)}.log"
        given = {name: value for name, value in environment.items() if value}
        with path.open("wb") as log:
            process = subprocess.Popen(
                [*(self.command or COMMAND), verb, *words],
                cwd=self.folder,
                env={**self._environment(), **given},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        daemon = Daemon(process, path)
        self.daemons.append(daemon)
        return daemon

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """One verb in the background; nobody reads what it prints."""
        process = subprocess.Popen(
            [*(self.command or COMMAND), *words],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.started.append(process)
        return process

    def catch_up(self, timeout: float = VERB_SECONDS) -> None:
        """A `sync --until caught-up` to its good end; the writers rest."""
        daemon = self.sync("--until", "caught-up")
        code = daemon.wait(timeout)
        assert code == 0, f"caught-up ended with {code}:\n{daemon.log}"

    def status(self) -> Any:
        """`status --format json`."""
        return self.run("status", "--format", "json").json

    def table(self, name: str) -> Any:
        """One table's part of the status."""
        found = [t for t in self.status()["tables"] if t["table"] == f"{self.source.name}.{name}"]
        assert len(found) == 1, found
        return found[0]

    def mapping(self, table: str) -> Path:
        """A table's mapping file."""
        return self.folder / "mappings" / self.source.name / f"{table}.yaml"

    def consent_to_lock(self, table: str) -> None:
        """Allows the short lock with which MySQL's tables without a key are copied."""
        path = self.mapping(table)
        path.write_text(path.read_text() + "copy: {lock: brief}\n")

    # -- looking -----------------------------------------------------------------------------

    def ask(self, query: str, *values: Any) -> list[Any]:
        """Rows of the target, its control schema included."""
        if self.session is not None and not self.session.closed:
            try:
                return self.session.execute(query.encode(), values).fetchall()
            except psycopg.Error:
                if not self.session.broken:
                    raise
        # Nothing is prepared: tables change between two looks.
        self.session = self.target.connect(prepare_threshold=None)
        return self.session.execute(query.encode(), values).fetchall()

    def stages(self) -> dict[str, str]:
        """Each followed table and what it is at, as `status` words it; without the process."""
        if not self.ask("SELECT to_regclass('dbbridge.tables')")[0][0]:
            return {}
        rows = self.ask(
            "SELECT source_table, CASE WHEN error_code IS NOT NULL THEN 'stopped: ' || error_code"
            " WHEN paused THEN 'paused' ELSE stage END FROM dbbridge.tables ORDER BY generation"
        )
        return dict(rows)

    def streaming(self) -> bool:
        """Whether every followed table streams; fails if one has stopped."""
        stages = self.stages()
        stopped = {name: stage for name, stage in stages.items() if stage.startswith("stopped")}
        assert not stopped, stopped
        return bool(stages) and set(stages.values()) == {"streaming"}

    def wait_until(
        self,
        condition: Callable[[], bool],
        timeout: float = 120.0,
        *,
        daemon: Daemon | None = None,
    ) -> None:
        """Asks until it is so; fails when time is up or the daemon has ended without it."""
        deadline = time.monotonic() + timeout
        while not condition():
            log = daemon.log if daemon else ""
            if daemon is not None and not daemon.running and not condition():
                raise AssertionError(f"it ended with {daemon.process.returncode}:\n{log}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout} s; {self.stages()}\n{log}")
            time.sleep(POLL_SECONDS)

    def wait_streaming(self, daemon: Daemon, timeout: float = 120.0) -> None:
        """Waits until every followed table streams; fails as soon as one has stopped."""
        self.wait_until(self.streaming, timeout, daemon=daemon)

    def wait_streaming_again(self, daemon: Daemon) -> None:
        """The same after tables had stopped, which they are until the daemon takes them up."""
        self.wait_until(lambda: {*self.stages().values()} == {"streaming"}, daemon=daemon)

    def wait_said_streaming(self, daemon: Daemon) -> None:
        """Waits until the daemon says so of itself in `status`, which it tells once a second."""
        said = "SELECT status ->> 'phase' FROM dbbridge.daemon"
        self.wait_until(lambda: self.ask(said) == [("streaming",)], daemon=daemon)

    def close(self) -> None:
        """Ends every process that a test left, and the session."""
        if self.session is not None:
            self.session.close()
        for process in [*(daemon.process for daemon in self.daemons), *self.started]:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BRIDGE_", "DBBRIDGE_KILL", "DBBRIDGE_STOP"))
        }
        ours = {"PYTHONPATH": str(CHECKOUT), "PYTHONFAULTHANDLER": "1"}
        return {**kept, **self.accounts.environment, **ours}
