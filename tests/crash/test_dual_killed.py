"""Writers through the dual-write layer, others beside it, and everything dies now and then."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.crash import dual_instance
from tests.crash.kills import MADE, PATIENCE, cut_connections
from tests.crash.pair import Pair
from tests.endtoend.compare import assert_same
from tests.endtoend.dual import grant_dual_writes, source_url, target_url
from tests.endtoend.fixtures import NewProject
from tests.endtoend.project import CHECKOUT, Daemon, Project
from tests.endtoend.traffic import Act, Cursor, Traffic

pytestmark = pytest.mark.crash

TABLES = """
CREATE TABLE account (id bigint AUTO_INCREMENT PRIMARY KEY, owner varchar(40) NOT NULL,
    email varchar(40) UNIQUE, amount int NOT NULL);
CREATE TABLE entry (id bigint AUTO_INCREMENT PRIMARY KEY, account_id bigint NOT NULL,
    body varchar(80), FOREIGN KEY (account_id) REFERENCES account (id));
CREATE TABLE ledger (writer varchar(40) NOT NULL, number int NOT NULL, PRIMARY KEY (writer, number))
"""
NAMES = ["account", "entry", "ledger"]
INSTANCES, WRITERS, BYPASSING = 2, 4, 4
SHORT_SECONDS = 25.0
UNREACHABLE = 4
"""The exit code of a daemon that finds no server at its start."""


def bypass(chance: random.Random, cursor: Cursor) -> None:
    """Statements of an application that does not know of the layer."""
    key = chance.randint(1, dual_instance.ACCOUNTS)
    email = f"e{chance.randint(1, dual_instance.ACCOUNTS)}@example.org"
    statement, values = chance.choice(
        (
            ("INSERT INTO account (owner, email, amount) VALUES ('b', %s, 0)", (email,)),
            ("UPDATE account SET email = %s WHERE id = %s", (email, key)),
            ("UPDATE account SET amount = amount + 1 WHERE id = %s", (key,)),
            ("UPDATE account SET email = NULL WHERE id = %s", (key,)),
            ("DELETE FROM entry WHERE account_id = %s", (key,)),
            ("INSERT INTO entry (account_id, body) VALUES (%s, 'bypassed')", (key,)),
        )
    )
    cursor.execute(statement, values)


ACTS: dict[str, tuple[float, Act]] = {"bypass": (1.0, bypass)}


@dataclass
class Application:
    """Instances of the application, each a process with a log of what was acknowledged."""

    project: Project
    seed: int
    logs: list[Path] = field(default_factory=list)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def begin(self) -> None:
        """One instance more."""
        project, number = self.project, len(self.logs)
        path = project.folder / f"instance-{number}.log"
        words = (
            source_url(project).render_as_string(hide_password=False),
            target_url(project).render_as_string(hide_password=False),
            project.source.name,
            str(project.folder / "bridge.yaml"),
            f"i{number}",
            f"{self.seed}/{number}",
            str(WRITERS),
        )
        with path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.dual_instance", *words],
                cwd=CHECKOUT,
                env=project._environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.logs.append(path)
        self.running.append(process)
        project.started.append(process)

    def kill(self, chance: random.Random) -> None:
        """One dies, another takes its place."""
        victim = self.running.pop(chance.randrange(len(self.running)))
        self._kill(victim)
        self.begin()

    def _kill(self, victim: subprocess.Popen[bytes]) -> None:
        assert victim.stdin is not None
        victim.kill()
        victim.stdin.close()
        assert victim.wait() == -signal.SIGKILL, self.said()

    def end(self) -> None:
        """All tell what became of their operations, and die."""
        for process in self.running:
            assert process.stdin is not None
            process.stdin.write(b"now\n")
            process.stdin.flush()
        self.project.wait_until(lambda: len(self.counts()) == len(self.running), PATIENCE)
        for process in self.running:
            self._kill(process)

    def counts(self) -> list[str]:
        """What the instances told."""
        lines = [line for path in self.logs for line in path.read_text().splitlines()]
        return [line.removeprefix("counts ") for line in lines if line.startswith("counts")]

    def said(self) -> str:
        """What was not expected."""
        lines = [line for path in self.logs for line in path.read_text().splitlines()]
        return "\n".join(line for line in lines if line.startswith("unexpected"))

    def acknowledged(self) -> set[tuple[str, int]]:
        """Writer and number of each acknowledged transaction."""
        found = set()
        for path in self.logs:
            for line in path.read_text().splitlines(keepends=True):
                if line.startswith("i") and line.endswith("\n"):
                    writer, number = line.split()
                    found.add((writer, int(number)))
        return found


@pytest.fixture
def project(pair: Pair, new_project: NewProject) -> Project:
    """A pipeline between servers that may be killed, in provisional mode."""
    project = new_project(*pair.databases())
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for statement in TABLES.split(";"):
            cursor.execute(statement)
        for number in range(1, dual_instance.ACCOUNTS + 1):
            email = f"e{number}@example.org"
            cursor.execute("INSERT INTO account VALUES (%s, 'first', %s, 0)", (number, email))
    project.begin()
    project.catch_up()
    grant_dual_writes(project)
    project.run("cutover", "mode", "provisional")
    return project


class Storm:
    """What goes wrong, one thing after the other."""

    def __init__(self, pair: Pair, app: Application, chance: random.Random) -> None:
        self.pair, self.app, self.chance = pair, app, chance
        self.project = app.project
        self.daemon: Daemon = self.project.sync()
        self.done: Counter[str] = Counter()

    def instance(self) -> None:
        """An instance of the application dies."""
        self.app.kill(self.chance)

    def frozen(self) -> None:
        """An instance stands still in the middle of whatever it does, and goes on late."""
        process = self.chance.choice(self.app.running)
        process.send_signal(signal.SIGSTOP)
        time.sleep(self.chance.uniform(0.5, 4.0))
        process.send_signal(signal.SIGCONT)

    def stream(self) -> None:
        """The daemon dies."""
        self.daemon.kill()
        time.sleep(self.chance.uniform(0, 2.0))
        self.daemon = self.project.sync()

    def sessions(self) -> None:
        """All sessions of the bridge on one side are ended."""
        cut_connections(self.project, self.chance)

    def mode(self) -> None:
        """The operator changes the mode, and back."""
        for mode in ("cdc", "provisional"):
            self.project.run("cutover", "mode", mode)

    def target(self) -> None:
        """PostgreSQL dies."""
        self._server("target")

    def source(self) -> None:
        """MySQL dies."""
        self._server("source")

    def _server(self, which: str) -> None:
        self.pair.kill(which)
        time.sleep(self.chance.uniform(0, 2.0))
        self.pair.revive(which)

    def strike(self, kind: str) -> None:
        """One of them, after some time of peace."""
        time.sleep(self.chance.uniform(0.3, 1.5))
        getattr(self, kind)()
        if not self.daemon.running:  # it had just begun, and found a server dead
            assert self.daemon.process.returncode == UNREACHABLE, self.daemon.log
            self.daemon = self.project.sync()
        for process in self.app.running:
            assert process.poll() is None, self.app.said()
        self.done[kind] += 1
        MADE[self.project.source.server.kind][f"dual writes: {kind}"] += 1


KINDS = ("instance", "frozen", "stream", "sessions", "mode", "target", "source")


def rage(project: Project, pair: Pair, seed: int, seconds: float, instances: int) -> None:
    """Everything at once for so long; then both sides hold the same, and what was acknowledged."""
    chance = random.Random(seed)
    app = Application(project, seed)
    storm = Storm(pair, app, chance)
    traffic = Traffic(project.source, seed, writers=BYPASSING, rate=40.0, survives=True, acts=ACTS)
    with traffic:
        for _ in range(instances):
            app.begin()
        project.wait_until(lambda: len(app.acknowledged()) > 20, PATIENCE)
        deadline, kinds = time.monotonic() + seconds, list(KINDS)
        while kinds or time.monotonic() < deadline:
            if not kinds:
                kinds = list(KINDS)
            storm.strike(kinds.pop(chance.randrange(len(kinds))))
            traffic.check()
        app.end()
        done = traffic.stop()
    storm.daemon.kill()
    acknowledged = app.acknowledged()
    assert not app.said(), app.said()
    early = early_writes(project)
    project.catch_up()
    rows = assert_same(project.source, project.target, tables=NAMES)
    kept = project.ask(f'SELECT writer, number FROM "{project.source.name}".ledger')
    lost = acknowledged - set(kept)
    assert not lost, f"acknowledged and lost: {sorted(lost)[:10]}"
    assert project.status()["tables"][0]["quarantined"] == 0
    assert early > 20, app.counts()
    print(
        f"{len(acknowledged)} acknowledged, {early} early, {done.total()} bypassed, {rows} rows"
        f" the same; {dict(storm.done)}; of the last instances: {app.counts()}"
    )


def early_writes(project: Project) -> int:
    """How many operations were written before the stream brought them."""
    ((count,),) = project.ask("SELECT count(*) FROM dbbridge.applied_ops WHERE writer IS NOT NULL")
    return int(count)


def test_everything_dies_and_nothing_is_lost(project: Project, pair: Pair, seed: int) -> None:
    rage(project, pair, seed, SHORT_SECONDS, INSTANCES)


@pytest.mark.soak
def test_soak(project: Project, pair: Pair, seed: int) -> None:
    rage(project, pair, seed, float(os.environ["DBBRIDGE_SOAK_DURATION"]), 2 * INSTANCES)
