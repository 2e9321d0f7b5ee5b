"""Rows are repaired without end while they are written, others are spoilt, and the daemon dies."""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from time import monotonic, sleep

import pymysql
import pytest

from bridge.config import load
from bridge.verify import rewrite
from bridge.verify.pipeline import Endpoints, carried_tables, open_verifier
from bridge.verify.repair import cascades_deeply
from bridge.verify.rewrite import NotNow, Rewriter
from bridge.verify.source import source_session
from bridge.verify.tables import Followed
from tests.crash.kills import MADE, PATIENCE, start
from tests.endtoend.compare import assert_same
from tests.endtoend.project import Project
from tests.endtoend.traffic import EXPECTED

pytestmark = pytest.mark.crash

SECONDS = 5.0
"""Of hammering, all kills included."""
SOAK_SECONDS = 120.0
KILL_SECONDS = 2.5
RETRY_SECONDS = 3.0
PAUSE = 0.02
KEYS = 60
SPOILT = 2_000
DONE = ("fresh", "item", "spoilt", "repaired")
"""What must have been done in the end."""
HAMMERED = ("fresh", "item", "slot", "branch", "leaf")
"""Rewritten without need, so that one row put wrong is a defect."""
TABLES = (
    "CREATE TABLE fresh (id int PRIMARY KEY, v varchar(40))",
    "CREATE TABLE item (id int PRIMARY KEY, v varchar(40))",
    "CREATE TABLE slot (id int PRIMARY KEY, place int, v int, UNIQUE (place))",
    "CREATE TABLE branch (id int PRIMARY KEY, v int)",
    """CREATE TABLE leaf (id int PRIMARY KEY, branch int, v int,
       FOREIGN KEY (branch) REFERENCES branch (id) ON DELETE CASCADE ON UPDATE CASCADE)""",
    "CREATE TABLE spoilt (id int PRIMARY KEY, v int)",
)
WRITES = (
    "REPLACE INTO item VALUES ({key}, 'v{other}')",
    "DELETE FROM item WHERE id = {key}",
    "UPDATE item SET id = {other} WHERE id = {key}",
    "UPDATE slot SET place = {other} WHERE id = {key}",
    "DELETE FROM slot WHERE id = {key}",
    "INSERT IGNORE INTO slot VALUES ({key}, {other}, 4)",
    "DELETE FROM branch WHERE id = {key}",
    "INSERT IGNORE INTO branch VALUES ({key}, {other})",
    "UPDATE branch SET id = {key} + 1000 WHERE id = {key}",
    "UPDATE branch SET id = {key} WHERE id = {key} + 1000",
    "REPLACE INTO leaf SELECT {other}, id, 5 FROM branch ORDER BY RAND() LIMIT 1",
)
FRESH = (
    "INSERT INTO fresh VALUES ({at}, 'new')",
    "UPDATE fresh SET v = 'u{at}' WHERE id = {at} - 7",
    "DELETE FROM fresh WHERE id = {at} - 20 AND id % 3 = 0",
)
"""The newest rows change as fast as it goes, so that whoever reads them meets commits half-way."""
FAULTS = (
    "UPDATE spoilt SET v = -1 WHERE id = {key}",
    "DELETE FROM spoilt WHERE id BETWEEN {key} AND {key} + 3",
    "INSERT INTO spoilt VALUES ({key} + 5000, 1) ON CONFLICT DO NOTHING",
)
"""Damage to the target, past the stream."""


class Hammer:
    """Threads that write, rewrite, spoil and repair, each with sessions of its own."""

    def __init__(self, project: Project, chance: random.Random) -> None:
        environment = {**os.environ, **project.accounts.environment}
        settings = load(project.folder / "bridge.yaml", environment)
        pipeline = settings.pipeline
        self._name = settings.name
        self._ends = Endpoints(
            settings.endpoint(pipeline.source), settings.endpoint(pipeline.target)
        )
        found = carried_tables(self._name, self._ends, {})
        self._tables = {t.name.table: t for t in found.values() if isinstance(t, Followed)}
        self._source_id = open_verifier(self._name, self._ends).source_id
        self._project = project
        self._seeds = itertools.count(chance.randrange(2**30))
        self._newest = 0
        self._ending = threading.Event()
        self._failures: list[Exception] = []
        self.done: Counter[str] = Counter()
        """Batches by table, faults, repaired rows."""

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """All threads run meanwhile; raises what one of them ran into."""
        works: list[Callable[[], None]] = [partial(self._rewrite, name) for name in HAMMERED]
        works += [self._write, self._write, self._write_fresh, self._spoil, self._repair]
        threads = [threading.Thread(target=self._guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ending.set()
            for thread in threads:
                thread.join()
        if self._failures:
            raise self._failures[0]

    def has_done_all(self) -> bool:
        """Whether each of `DONE` was done, or something went wrong."""
        return bool(self._failures) or all(self.done[name] for name in DONE)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 (raised by `at_work`)
            self._failures.append(error)

    def _write(self) -> None:
        chance = random.Random(next(self._seeds))
        with closing(self._project.source.connect()) as conn, conn.cursor() as cursor:
            while not self._ending.wait(0.2 if chance.random() < 0.02 else 0.002):
                key, other = chance.randint(1, KEYS), chance.randint(1, 2 * KEYS)
                try:
                    cursor.execute(chance.choice(WRITES).format(key=key, other=other))
                except pymysql.Error as error:
                    if error.args[0] not in EXPECTED:
                        raise

    def _write_fresh(self) -> None:
        with closing(self._project.source.connect()) as conn, conn.cursor() as cursor:
            while not self._ending.is_set():
                self._newest += 1
                for statement in FRESH:
                    cursor.execute(statement.format(at=self._newest))

    def _rewrite(self, name: str) -> None:
        table = self._tables[name]
        known = [t.plan.table for t in self._tables.values()]
        with closing(self._ends.target()) as conn, closing(self._ends.source()) as rows:
            rewriter = Rewriter(
                conn,
                source_session(rows),
                self._name,
                table,
                self._source_id,
                exact=cascades_deeply(table.name, known),
            )
            while not self._ending.is_set():
                newest = self._newest
                keys = range(1, 2 * KEYS)
                if name == "fresh":
                    keys = range(max(1, newest - KEYS), newest + KEYS)
                with suppress(NotNow):
                    rewriter.write([(str(key),) for key in keys])
                    self.done[name] += 1

    def _spoil(self) -> None:
        chance = random.Random(next(self._seeds))
        with self._project.target.connect() as conn:
            conn.execute(f'SET search_path TO "{self._project.source.name}"'.encode())
            while not self._ending.wait(PAUSE):
                fault = chance.choice(FAULTS).format(key=chance.randint(1, SPOILT))
                self.done["spoilt"] += conn.execute(fault.encode()).rowcount

    def _repair(self) -> None:
        while not self._ending.is_set():
            self.done["repaired"] += repair(self._project)


def repair(project: Project) -> int:
    """What is found to differ is taken from the source again; how many rows."""
    project.run("verify", "spoilt", code=None)
    as_json = ("--format", "json")
    plan = project.run("repair", "plan", "spoilt", *as_json, code=None).json["plan"]
    done = project.run("repair", "apply", "spoilt", "--plan", plan, *as_json, code=None)
    tables = done.json.get("repaired", ()) if done.out else ()
    return sum(t["inserted"] + t["replaced"] + t["deleted"] for t in tables)


def hammer(project: Project, seed: int, seconds: float) -> Counter[str]:
    """Until both sides are the same in the end; what was done."""
    chance = random.Random(seed)
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for statement in TABLES:
            cursor.execute(statement)
        rows = [(n, n) for n in range(1, SPOILT + 1)]
        cursor.executemany("INSERT INTO spoilt VALUES (%s, %s)", rows)
    project.begin()
    daemon = start(project)
    project.wait_streaming(daemon, PATIENCE)
    made = Hammer(project, chance)
    end = monotonic() + seconds
    with made.at_work():
        while (left := end - monotonic()) > 0:
            sleep(min(left, chance.uniform(0.3, 1) * KILL_SECONDS))
            daemon.kill()
            MADE[project.source.server.kind]["any moment, repairing"] += 1
            daemon = start(project)
        project.wait_until(made.has_done_all, 2 * PATIENCE, daemon=daemon)
    daemon.stop(PATIENCE)
    project.catch_up()
    assert_same(project.source, project.target, tables=HAMMERED)
    daemon = start(project)
    repair(project)
    daemon.stop(PATIENCE)
    assert_same(project.source, project.target)
    print(dict(made.done))
    return made.done


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_repaired_while_the_daemon_dies(
    project: Project, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrite, "PATIENCE_SECONDS", RETRY_SECONDS)
    done = hammer(project, seed, SECONDS)
    assert all(done[name] for name in DONE), done


@pytest.mark.soak
def test_soak(project: Project, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrite, "PATIENCE_SECONDS", RETRY_SECONDS)
    hammer(project, seed, SOAK_SECONDS)
