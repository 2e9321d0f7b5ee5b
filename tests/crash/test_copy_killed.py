"""Workers, their broker and the daemon die while workers copy; both sides are equal in the end."""

from __future__ import annotations

import random
import time
from itertools import count

import pytest

from bridge.store.lease import STALE_SECONDS
from compose.local.servers import Server
from tests.crash.crew import KINDS, Claim, Crew
from tests.crash.kills import PATIENCE, RATE, Victim, begin, start
from tests.endtoend.project import Project
from tests.endtoend.spread import by_workers
from tests.endtoend.traffic import Traffic

pytestmark = pytest.mark.crash

BULK = 250_000
SOAK_BULK = 900_000
SOAK_KILLS = 24
"""The least that a soak makes on each source."""
DAEMON = "the daemon"


class Copy(Crew):
    """A pipeline that workers copy, with a daemon that may die as well."""

    def __init__(self, project: Project, broker: Server, chance: random.Random) -> None:
        super().__init__(project, broker, chance, self._claims)
        self.daemon = start(project)

    def _claims(self) -> dict[Claim, int]:
        """The children that read chunks now, by table, chunk and try."""
        rows = self.project.ask(
            "SELECT source_table, number, tries, worker FROM dbbridge.errands"
            " WHERE worker <> '' AND dbbridge.session_lives(session_pid, session_began)"
        )
        return {(t, n, tries): int(worker.rpartition(":")[2]) for t, n, tries, worker in rows}

    def copying(self) -> bool:
        """Whether some table is not copied yet."""
        return bool({"new", "copying"} & set(self.project.stages().values()))

    def once(self, kind: str) -> None:
        """A kill, if the copy lasts until it can be made."""
        if kind == DAEMON:
            self.daemon.kill()
            self.count(kind)
            self.daemon = start(self.project)
        else:
            self.kill(kind, self.copying)

    def silence(self) -> None:
        """Freezes a child over its chunk; the daemon ends its session after a while."""
        table, number, _ = self.freeze()
        self.project.ask(
            "UPDATE dbbridge.errands SET beat_at = beat_at - make_interval(secs => %s)"
            " WHERE (source_table, number) = (%s, %s) RETURNING 1",
            STALE_SECONDS,
            table,
            number,
        )
        self.project.wait_until(
            lambda: self.frozen not in self._claims().values(), PATIENCE, daemon=self.daemon
        )


def copy(victim: Victim, broker: Server) -> Copy:
    """The copy has begun, and no worker is there."""
    by_workers(victim.project, broker)
    return Copy(victim.project, broker, victim.chance)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_killed_while_workers_copy(project: Project, broker: Server, seed: int) -> None:
    victim = begin(project, seed, bulk=BULK)
    with victim.traffic:
        crew = copy(victim, broker)
        offered = "SELECT FROM dbbridge.errands WHERE source_table = 'bulk'"
        project.wait_until(lambda: len(project.ask(offered)) > 1, PATIENCE, daemon=crew.daemon)
        with project.target.connect(autocommit=False) as conn:
            # Whoever has claimed a chunk of the table stands still.
            conn.execute(f'LOCK TABLE "{project.source.name}".bulk'.encode())
            crew.start_worker()
            crew.start_worker()
            for kind in (*KINDS, DAEMON):
                crew.once(kind)
            project.wait_until(lambda: len(crew.holders()) > 1, PATIENCE, daemon=crew.daemon)
            crew.silence()
        crew.once("a child")
        crew.once(DAEMON)
        finish(crew)
        crew.wake()
        project.wait_until(
            lambda: any("task failed" in worker.log for worker in crew.workers), PATIENCE
        )
    crew.daemon.kill()
    victim.judge()


@pytest.mark.soak
def test_soak(project: Project, broker: Server, seed: int) -> None:
    victim = begin(project, seed, bulk=SOAK_BULK)
    crew: Copy | None = None
    for number in count():
        victim.traffic = Traffic(project.source, seed * 1000 + number, rate=RATE, large=True)
        with victim.traffic:
            if crew is None:
                crew = copy(victim, broker)
                crew.start_worker()
                crew.start_worker()
            else:
                crew.daemon = start(project)
                project.run("tables", "resync", *project.stages())
            project.wait_until(crew.copying, PATIENCE, daemon=crew.daemon)
            while crew.copying():
                crew.once(crew.chance.choice((*KINDS, DAEMON)))
                time.sleep(crew.chance.uniform(0, 0.5))
            finish(crew)
        crew.daemon.kill()
        victim.judge()
        print(f"{number + 1} copies, {crew.kills} kills")
        if crew.kills >= SOAK_KILLS:
            break


def finish(crew: Copy) -> None:
    """Everything is copied, and streams."""
    crew.project.wait_streaming(crew.daemon, PATIENCE * 2)
