"""Workers and their broker die during sweeps; the verdict is the one that comes without kills."""

from __future__ import annotations

import itertools
import json
import random
import re
import time
from typing import Any

import pytest

from bridge.verify.ledger import STALE_SECONDS
from compose.local.servers import Server
from tests.crash.crew import KINDS, Claim, Crew
from tests.crash.kills import PATIENCE, start
from tests.endtoend.project import Daemon, Project
from tests.endtoend.spread import assert_alike, copied, plant

pytestmark = pytest.mark.crash

ROWS = 60_000
PARTS = 12
SOAK_ROWS = 1_500_000
SOAK_PARTS = 5
"""Few, so that most of them are cut off in the middle."""
SOAK_KILLS = 24
"""The least that a soak makes on each source."""
BY_WORKERS = ("verify", "--via", "celery", "--certify", "--format", "json")


class Bench(Crew):
    """A pipeline that streams, its workers, and a broker."""

    def __init__(self, project: Project, broker: Server, chance: random.Random) -> None:
        super().__init__(project, broker, chance, self._claims)

    def _claims(self) -> dict[Claim, int]:
        """The children that sweep now, by table, part and claim."""
        rows = self.project.ask(
            "SELECT source_table, number, claim, worker FROM dbbridge.verification_parts"
            " WHERE worker <> '' AND dbbridge.session_lives(session_pid, session_began)"
            " AND verification = (SELECT max(id) FROM dbbridge.verifications)"
        )
        return {(t, n, claim): int(worker.rpartition(":")[2]) for t, n, claim, worker in rows}

    def silence(self) -> Claim:
        """Freezes a child that has been silent for so long that its part is free."""
        claim = self.freeze()
        self.project.ask(
            "UPDATE dbbridge.verification_parts SET beat_at = beat_at - make_interval(secs => %s)"
            " WHERE (source_table, number, claim) = (%s, %s, %s) RETURNING 1",
            STALE_SECONDS,
            *claim,
        )
        return claim

    def find_out(self, claim: Claim) -> None:
        """The frozen one wakes, and finds that its part is another one's."""
        before, told = self.part(claim), self._given_up(claim)
        assert before[0] and before[1] > claim[2]
        self.wake()
        self.project.wait_until(lambda: self._given_up(claim) > told, PATIENCE)
        assert self.part(claim) == before

    def _given_up(self, claim: Claim) -> int:
        """How often workers said so of the part; how depends on where they stood still."""
        lines = [line for worker in self.workers for line in worker.log.splitlines()]
        words = re.compile(rf'\.{claim[0]}", "part": {claim[1]}, .*"part (lost|let go|failed)"')
        return sum(bool(words.search(line)) for line in lines)

    def part(self, claim: Claim) -> Any:
        """What stands of the claim's part: whether it is done, its claim, rows and sum."""
        rows = self.project.ask(
            "SELECT done, claim, rows, total FROM dbbridge.verification_parts"
            " WHERE (source_table, number) = (%s, %s)"
            " AND verification = (SELECT max(id) FROM dbbridge.verifications)",
            *claim[:2],
        )
        return rows[0]

    def begin(self) -> Daemon:
        """Workers are asked to verify, and have begun."""
        run = self.project.background(*BY_WORKERS)
        self.project.wait_until(lambda: bool(self.holders()) or not run.running, PATIENCE)
        return run

    def during(self, run: Daemon, kind: str) -> None:
        """A kill, if the run lasts until it can be made."""
        self.kill(kind, lambda: run.running)

    def document(self, run: Daemon) -> Any:
        """What the verification says in the end."""
        code = run.wait(PATIENCE * 3)
        text = run.log
        assert code in (0, 1), text
        return json.loads(text[text.index("{") :])


def begin(project: Project, broker: Server, seed: int, rows: int, parts: int) -> Bench:
    """Everything runs."""
    copied(project, broker, rows, part_rows=rows // parts)
    project.wait_streaming(start(project))
    bench = Bench(project, broker, random.Random(seed))
    bench.start_worker()
    return bench


@pytest.mark.timeout(600)
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
        for kind in KINDS:
            bench.during(run, kind)
        project.wait_until(lambda: bool(bench.holders()), PATIENCE)
        silent = bench.silence()
    bench.during(run, "a child")
    found = bench.document(run)
    bench.find_out(silent)
    assert bench.kills >= len(KINDS)
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
            bench.during(run, bench.chance.choice(KINDS))
            time.sleep(bench.chance.uniform(0, 3))
        assert_alike(bench.document(run), expected)
        print(f"{number + 1} rounds, {bench.kills} kills")
        if bench.kills >= SOAK_KILLS and number:
            break
