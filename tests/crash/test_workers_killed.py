"""Workers and their broker die during sweeps; the verdict is the one that comes without kills."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bridge.verify.ledger import STALE_SECONDS
from compose.local import servers
from compose.local.servers import Server
from tests.crash.kills import MADE, PATIENCE
from tests.endtoend.project import Daemon, Project
from tests.endtoend.spread import assert_alike, copied, plant

pytestmark = pytest.mark.crash

ROWS = 60_000
PARTS = 12
SOAK_ROWS = 1_500_000
SOAK_PARTS = 5
"""Few, so that most of them are cut off in the middle."""
TOGETHER = "the broker and children"
"""All that sweep, in the same moment: the deaths of a worker's last children are told to nobody."""
SHORT = ("a child", TOGETHER, "a child at its claim", "a worker", TOGETHER, "the broker")
SOAK_KILLS = 24
"""The least that a soak makes on each source."""
BY_WORKERS = ("verify", "--via", "celery", "--certify", "--format", "json")

Claim = tuple[str, int, int]


@dataclass
class Bench:
    """A pipeline that streams, two workers, and a broker, of which each may die."""

    project: Project
    broker: Server
    chance: random.Random
    workers: list[Daemon] = field(default_factory=list)
    kills: int = 0
    frozen: int = 0

    def start_worker(self) -> None:
        """One more, with two children."""
        self.workers.append(self.project.worker("--concurrency", "2"))

    def holders(self) -> dict[Claim, int]:
        """The children that sweep now, by table, part and claim."""
        rows = self.project.ask(
            "SELECT source_table, number, claim, worker FROM dbbridge.verification_parts"
            " WHERE worker <> '' AND dbbridge.session_lives(session_pid, session_began)"
            " AND verification = (SELECT max(id) FROM dbbridge.verifications)"
        )
        found = {(t, n, claim): int(worker.rpartition(":")[2]) for t, n, claim, worker in rows}
        return {claim: pid for claim, pid in found.items() if pid != self.frozen}

    def kill(self, kind: str, run: Daemon) -> None:
        """SIGKILL; what dies comes back, a broker empty."""
        if kind == "a child at its claim":
            before = self.holders()
            self._kill_child(kind, run, lambda: self.holders().items() - before.items())
        elif kind == "a child":
            self._kill_child(kind, run, lambda: set(self.holders().items()))
        elif kind == "a worker":
            self.workers.pop(self.chance.randrange(len(self.workers))).kill()
            self._count(kind)
            self.start_worker()
        else:
            children = set(self.holders().values()) if kind == TOGETHER else set()
            self._kill_broker(kind, children)

    def _kill_broker(self, kind: str, children: set[int]) -> None:
        first = self.chance.random() < 0.5
        if first:
            self.broker.stop(kill=True)
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self._count(kind)
        if not first:
            self.broker.stop(kill=True)
        self._count(kind)
        time.sleep(self.chance.uniform(0, 1))
        self.broker = self.broker.restart()

    def freeze(self) -> Claim:
        """SIGSTOP to a child that sweeps, which has been silent for so long that its part is free.

        What it had claimed.
        """
        claim, self.frozen = self.chance.choice(sorted(self.holders().items()))
        os.kill(self.frozen, signal.SIGSTOP)
        self.project.ask(
            "UPDATE dbbridge.verification_parts SET beat_at = beat_at - make_interval(secs => %s)"
            " WHERE (source_table, number, claim) = (%s, %s, %s) RETURNING 1",
            STALE_SECONDS,
            *claim,
        )
        return claim

    def wake(self, claim: Claim) -> None:
        """Lets it go on, and find out that its part is another one's."""
        before = self.part(claim)
        assert before[0] and before[1] > claim[2]
        os.kill(self.frozen, signal.SIGCONT)
        self.project.wait_until(
            lambda: any("part lost" in worker.log for worker in self.workers), PATIENCE
        )
        assert self.part(claim) == before

    def part(self, claim: Claim) -> Any:
        """What stands of the claim's part: whether it is done, its claim, rows and sum."""
        rows = self.project.ask(
            "SELECT done, claim, rows, total FROM dbbridge.verification_parts"
            " WHERE (source_table, number) = (%s, %s)"
            " AND verification = (SELECT max(id) FROM dbbridge.verifications)",
            *claim[:2],
        )
        return rows[0]

    def _kill_child(
        self, kind: str, run: Daemon, find: Callable[[], set[tuple[Claim, int]]]
    ) -> None:
        deadline = time.monotonic() + PATIENCE
        while not (found := find()):
            assert time.monotonic() < deadline, self.workers[0].log
            if not run.running:
                return
        pid = self.chance.choice(sorted(found))[1]
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self._count(kind)

    def _count(self, kind: str) -> None:
        self.kills += 1
        MADE[self.project.source.server.kind][kind] += 1

    def begin(self) -> Daemon:
        """Workers are asked to verify, and have begun."""
        run = self.project.background(*BY_WORKERS)
        self.project.wait_until(lambda: bool(self.holders()) or not run.running, PATIENCE)
        return run

    def document(self, run: Daemon) -> Any:
        """What the verification says in the end."""
        code = run.wait(PATIENCE * 3)
        text = run.log
        assert code in (0, 1), text
        return json.loads(text[text.index("{") :])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Server]:
    """One that may be killed."""
    server = servers.start("redis", tmp_path / "broker")
    yield server
    with suppress(ProcessLookupError):
        server.stop(kill=True)


def begin(project: Project, broker: Server, seed: int, rows: int, parts: int) -> Bench:
    """Everything runs."""
    copied(project, broker, rows, part_rows=rows // parts)
    project.wait_streaming(project.sync())
    bench = Bench(project, broker, random.Random(seed))
    bench.start_worker()
    return bench


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_killed_workers_and_brokers_change_nothing(
    project: Project, broker: Server, seed: int
) -> None:
    bench = begin(project, broker, seed, ROWS, PARTS)
    expected = project.run("verify", "--certify", "--format", "json").json
    with project.target.connect(autocommit=False) as conn:
        # Whoever has claimed a part of the table stands still.
        conn.execute(f'LOCK TABLE "{project.source.name}".big'.encode())
        run = bench.begin()
        for kind in SHORT:
            bench.kill(kind, run)
        project.wait_until(lambda: bool(bench.holders()), PATIENCE)
        frozen = bench.freeze()
    bench.kill("a child", run)
    found = bench.document(run)
    bench.wake(frozen)
    assert bench.kills >= len(SHORT)
    assert found["verdict"] == "match"
    assert_alike(found, expected)


@pytest.mark.soak
def test_soak(project: Project, broker: Server, seed: int) -> None:
    bench = begin(project, broker, seed, SOAK_ROWS, SOAK_PARTS)
    bench.start_worker()
    expected: Any = None
    for number in itertools.count():
        if number == 1:
            plant(
                project,
                "UPDATE {}.big SET v = -1 WHERE id % 50000 = 7",
                "DELETE FROM {}.big WHERE id % 70000 = 5",
                "DELETE FROM {}.loose WHERE v = 5",
            )
        if number < 2:
            expected = project.run("verify", "--certify", "--format", "json", code=number).json
        run = bench.begin()
        while run.running:
            bench.kill(bench.chance.choice(SHORT), run)
            time.sleep(bench.chance.uniform(0, 3))
        assert_alike(bench.document(run), expected)
        print(f"{number + 1} rounds, {bench.kills} kills")
        if bench.kills >= SOAK_KILLS and number:
            break
