"""Reverse replication dies and is cut off at any moment, and the source has everything once."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pymysql
import pytest

from bridge.reverse import slots
from tests.crash.kills import MADE
from tests.crash.reverse_writers import TABLES, Writers, fill
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.integration.reverse.rig import GROUP, PIPELINE, Rig, new_rig

KILLS = 20
SOAK_KILLS = 100
PATIENCE = 60.0
SETTLE_SECONDS = 150.0
"""In which all arrives that was written while hardly anything was applied."""
CHECKOUT = Path(__file__).resolve().parents[2]
_SESSIONS = {
    "mariadb": "id FROM information_schema.processlist WHERE user",
    "mysql": "processlist_id FROM performance_schema.threads WHERE processlist_user",
}


@pytest.fixture
def rig(source_db: SourceDatabase, target_db: TargetDatabase) -> Iterator[Rig]:
    made = new_rig(source_db, target_db)
    made.make(TABLES)
    try:
        yield made
    finally:
        made.accounts.drop()


class Victim:
    """The process, and those who kill it."""

    def __init__(self, rig: Rig, folder: Path, seed: int, *words: str) -> None:
        self.rig = rig
        self.chance = random.Random(seed)
        self.kills: Counter[str] = Counter()
        rig.arm()
        with rig.bridge() as conn:
            flip = slots.marker(conn)
        arguments = (*rig.endpoints, PIPELINE, GROUP, list(rig.plans.values()))
        options = {"epoch": 1, "flip": flip, "keep_seconds": 1.0}
        self._file = folder / "reverse.pickle"
        self._file.write_bytes(pickle.dumps((arguments, options)))
        self._log = folder / "reverse.log"
        self._words = words
        self.process = self.begin()

    def begin(self) -> subprocess.Popen[bytes]:
        """A new process."""
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.crash.reverse_process", self._file, *self._words],
                cwd=CHECKOUT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def strike(self) -> None:
        """One of the ways, after a while."""
        time.sleep(self.chance.uniform(0.05, 0.5))
        kind = self.chance.choice(("process", "process", "source sessions", "walsender", "both"))
        if kind == "process":
            self.process.kill()
            self.process.wait()
            assert self.process.returncode == -signal.SIGKILL, self._log.read_text()
            self.process = self.begin()
            with suppress(AssertionError):
                self.wait(self.position(), 1.0 + self.chance.random())
        if kind in ("source sessions", "both"):
            self._end_in_source()
        if kind in ("walsender", "both"):
            self._end_in_target()
        self.kills[kind] += 1
        MADE[self.rig.source.server.kind][f"reverse: {kind}"] += 1

    def position(self) -> int:
        """The source's."""
        found = self.rig.rows("SHOW TABLES LIKE '\\_bridge\\_reverse'")
        rows = self.rig.rows("SELECT lsn FROM _bridge_reverse") if found else []
        return int(rows[0][0]) if rows else 0

    def wait(self, lsn: int, seconds: float) -> None:
        """Until the source has passed a position."""
        self._until(lambda: self.position() > lsn, seconds)

    def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()[-3000:]
            time.sleep(0.02)

    def settle(self) -> None:
        """Everything that is committed gets there: this is the last of it, and comes last."""
        self.rig.write("UPDATE total SET n = n + 1 WHERE id = 1")
        query = "SELECT n FROM {}total WHERE id = 1"
        with self.rig.target.connect() as conn:
            last = conn.execute(query.format(f'"{self.rig.source.name}".').encode()).fetchall()
        self._until(lambda: self.rig.rows(query.format("")) == last, SETTLE_SECONDS)

    def stop(self) -> int:
        """In order; its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def _end_in_source(self) -> None:
        rig = self.rig
        with closing(rig.source.connect()) as conn, conn.cursor() as cursor:
            cursor.execute(f"SELECT {_SESSIONS[rig.source.server.kind]} = %s", (rig.accounts.name,))
            for (number,) in cursor.fetchall():
                with suppress(pymysql.Error):
                    cursor.execute(f"KILL {number}")

    def _end_in_target(self) -> None:
        with self.rig.target.connect() as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s",
                (self.rig.accounts.name,),
            )


def rage(rig: Rig, folder: Path, seed: int, kills: int) -> Victim:
    """So many kills while everybody writes; both sides hold the same at the end."""
    victim = Victim(rig, folder, seed)
    fill(rig)
    writers = Writers(rig, seed)
    writers.start()
    try:
        while victim.kills.total() < kills:
            victim.strike()
    finally:
        committed = writers.stop()
    victim.settle()
    rows = rig.same()
    assert victim.stop() == 0
    with rig.bridge() as conn:
        left = conn.execute(
            "SELECT count(*) FROM dbbridge.reverse_unrepresentable WHERE superseded IS NULL"
        ).fetchone()
    assert left == (0,)
    print(f"{victim.kills}, {committed} transactions, {rows} rows the same")
    return victim


@pytest.mark.timeout(600)
def test_killed_in_many_ways(rig: Rig, tmp_path: Path, seed: int) -> None:
    victim = rage(rig, tmp_path, seed, KILLS)
    assert victim.kills["process"]


@pytest.mark.soak
def test_soak(rig: Rig, tmp_path: Path, seed: int) -> None:
    end = time.monotonic() + float(os.environ["DBBRIDGE_SOAK_DURATION"]) / 4
    victim = Victim(rig, tmp_path, seed)
    fill(rig)
    number = 0
    while victim.kills.total() < SOAK_KILLS or time.monotonic() < end:
        number += 1
        writers = Writers(rig, seed + 100 * number)
        writers.start()
        before = victim.kills.total()
        while victim.kills.total() < before + 10:
            victim.strike()
        writers.stop()
        victim.settle()
        print(f"{victim.kills.total()} kills, {rig.same()} rows the same")
    assert victim.stop() == 0


def test_without_the_position_row_it_goes_wrong(rig: Rig, tmp_path: Path, seed: int) -> None:
    victim = Victim(rig, tmp_path, seed, "--without-position")
    fill(rig)
    rig.write("INSERT INTO log SELECT n, 'x' FROM generate_series(1, 20) n")
    deadline = time.monotonic() + PATIENCE
    while rig.rows("SELECT COUNT(*) FROM log") != [(20,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    victim.process.kill()
    victim.process.wait()
    victim.process = victim.begin()
    deadline = time.monotonic() + PATIENCE
    while rig.rows("SELECT COUNT(*) FROM log") == [(20,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert rig.rows("SELECT COUNT(*) FROM log") == [(40,)]
    victim.process.kill()
    victim.process.wait()
