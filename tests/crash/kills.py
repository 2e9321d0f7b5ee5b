"""Ways to end a daemon at a bad moment, and what must hold afterwards."""

from __future__ import annotations

import random
import signal
import subprocess
from collections import Counter, defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep

import pymysql

from bridge.replicate.points import POINTS
from tests.endtoend import tables
from tests.endtoend.compare import assert_same
from tests.endtoend.project import Daemon, Project
from tests.endtoend.traffic import Traffic

RATE = 80.0
"""Transactions a second: enough to keep the daemon busy, and less than it can follow."""
PHASES = ("new", "copying", "catching-up", "streaming")
"""What the pipeline is at: the least that any of its tables is."""
STREAM_POINTS = ("stream.read", "stream.apply", "stream.committed")
PATIENCE = 60.0
"""Seconds in which a daemon must reach the point at which it shall die, or the state to be in."""
MADE: defaultdict[str, Counter[str]] = defaultdict(Counter)
"""Kills of the whole session, by the kind of source and by where they hit."""


@dataclass
class Victim:
    """A project under load whose daemon is killed again and again."""

    project: Project
    traffic: Traffic
    chance: random.Random
    kills: Counter[str] = field(default_factory=Counter)

    def at_point(self, point: str, count: int) -> None:
        """Starts the daemon, which dies at the `count`-th passage of the point."""
        daemon = self.project.sync(kill_at=f"{point}:{count}")
        self.await_death(daemon, point)

    def await_death(self, daemon: Daemon, point: str) -> None:
        """Waits until the daemon has killed itself there."""
        try:
            code = daemon.wait(PATIENCE)
        finally:
            self.traffic.check()
        assert code == -signal.SIGKILL, f"{point}: ended with {code}:\n{daemon.log}"
        self._count(point)

    def after(self, seconds: float) -> None:
        """Starts the daemon and kills it when so much time has passed, whatever it does."""
        daemon = self.project.sync()
        sleep(seconds)
        self.kill(daemon)

    def somewhere(self) -> None:
        """At any moment or at a point, at random; sometimes a table is copied again meanwhile.

        A point is the likelier the less often it was hit; that it does not come is no fault.
        """
        idle = set(self.project.stages().values()) == {"streaming"}
        if self.chance.random() < 0.4:
            if idle and self.chance.random() < 0.6:
                self._ask_for_a_copy()
            self.after(self.chance.uniform(0.3, 3.0))
            return
        point = self.chance.choices(POINTS, [1 / (1 + self.kills[p]) for p in POINTS])[0]
        most = 40 if point in STREAM_POINTS else 4
        count = self.chance.choice((1, self.chance.randint(1, most)))
        if idle and point not in STREAM_POINTS:
            self._ask_for_a_copy()
        daemon = self.project.sync(kill_at=f"{point}:{count}")
        with suppress(subprocess.TimeoutExpired):
            daemon.process.wait(self.chance.uniform(2.0, 10.0))
        self.kill(daemon, point)

    def _ask_for_a_copy(self) -> None:
        """Leaves a request to copy some table again, for the daemon that comes to it."""
        self.project.ask(
            "INSERT INTO dbbridge.requests (pipeline, verb, source_schema, source_table, argument)"
            " SELECT DISTINCT pipeline, 'resync', source_schema, source_table, ''"
            " FROM dbbridge.tables WHERE source_table = %s RETURNING id",
            self.chance.choice(("bulk", *tables.TABLES)),
        )

    def kill(self, daemon: Daemon, point: str = "") -> None:
        """Kills a daemon, which runs or has just killed itself at the point."""
        stages = Counter(self.project.stages().values())
        alive = daemon.running
        daemon.kill()
        assert daemon.process.returncode == -signal.SIGKILL, f"{point}: {daemon.log}"
        assert alive or point, f"killed by somebody else:\n{daemon.log}"
        stopped = [stage for stage in stages if stage.startswith("stopped")]
        assert not stopped, f"{stopped}\n{daemon.log}"
        phases = [stage for stage in PHASES if stages[stage]] or ["starting"]
        self._count(f"any moment, {phases[0]}" if alive else point)

    def _count(self, kind: str) -> None:
        self.kills[kind] += 1
        MADE[self.project.source.server.kind][kind] += 1

    def during_resync(self, table: str, point: str) -> None:
        """A streaming daemon is asked to copy a table again, and dies at the point."""
        daemon = start(self.project, kill_at=f"{point}:1")
        self.project.wait_streaming(daemon, PATIENCE)
        self.project.run("tables", "resync", table, timeout=PATIENCE)
        self.await_death(daemon, point)

    def judge(self) -> None:
        """The writers rest, the pipeline catches up, and both sides hold the same."""
        done = self.traffic.stop()
        self.project.catch_up()
        rows = assert_same(self.project.source, self.project.target)
        left = self.project.ask("SELECT relname FROM pg_class WHERE relname ~ '__copy'")
        assert not left, f"left behind: {left}"
        print(
            f"{self.kills.total()} kills, {rows} rows the same, {done.total()} acts: {self.kills}"
        )


def begin(project: Project, seed: int, *, bulk: int = 60_000) -> Victim:
    """Tables with rows, mapping files, and the target's tables; no daemon has run yet.

    The writers wait for their start.
    """
    tables.create(project.source, bulk=bulk, seed=seed)
    project.init()
    if project.source.server.kind == "mysql":
        project.consent_to_lock(tables.KEYLESS)
    project.apply_schema()
    return Victim(
        project, Traffic(project.source, seed, rate=RATE, large=True), random.Random(seed)
    )


def start(project: Project, *words: str, kill_at: str = "") -> Daemon:
    """A daemon that holds the lease."""
    before = epoch(project)
    daemon = project.sync(*words, kill_at=kill_at)
    project.wait_until(lambda: epoch(project) > before, PATIENCE, daemon=daemon)
    return daemon


def epoch(project: Project) -> int:
    """How often the lease was taken."""
    if not project.ask("SELECT to_regclass('dbbridge.pipeline')")[0][0]:
        return 0
    found = project.ask("SELECT epoch FROM dbbridge.pipeline")
    return int(found[0][0]) if found else 0


def process_state(pid: int) -> str:
    """Field 3 of stat, see proc(5): T while it stands still by SIGSTOP; '' where it is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


_SESSIONS = {
    "mariadb": "id FROM information_schema.processlist WHERE user",
    # There the other view fails while some session's statement has characters of four bytes.
    "mysql": "processlist_id FROM performance_schema.threads WHERE processlist_user",
}


def cut_connections(project: Project, chance: random.Random) -> None:
    """Ends all sessions of the bridge on one of the servers; the daemon lives."""
    if chance.random() < 0.5:
        project.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s",
            project.accounts.name,
        )
        return
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(
            f"SELECT {_SESSIONS[project.source.server.kind]} = %s", (project.accounts.name,)
        )
        for (number,) in cursor.fetchall():
            with suppress(pymysql.Error):  # it may have ended by itself
                cursor.execute(f"KILL {number}")
