"""A copy by workers, one of whose tables cannot go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from bridge.capture.binlog.positions import server_identity
from bridge.replicate import copying, errands
from bridge.replicate.copying import Copier
from bridge.replicate.job import Job
from bridge.replicate.reader import Reader
from bridge.store.lease import Fence
from tests.engines import Rig
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.waiting import until

ROWS = 100


class Nobody:
    """Workers come by themselves."""

    command = "worker"

    def call(self, epoch: int, source_id: str, free: int) -> None:
        """Does nothing."""


@pytest.fixture
def rig(source_db: SourceDatabase, target_db: TargetDatabase) -> Iterator[Rig]:
    rig = Rig(source_db, target_db)
    # Nobody renews the lease here, and none shall seem silent however long the test takes.
    rig.control.execute("UPDATE dbbridge.daemon SET renewed_at = now() + interval '1 hour'")
    yield rig
    rig.close()


def work(rig: Rig) -> tuple[int, int]:
    """Reads whatever is offered."""
    with closing(rig.servers.source()) as source:
        identity = server_identity(source)
    reader = Reader(rig.servers, Fence(rig.lease.pipeline, rig.lease.epoch), identity, "w")
    return reader.run(lambda: True)


def test_a_table_that_stops_while_chunks_wait(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planner waits with a chunk in its hand, which nobody shall be asked to read."""
    monkeypatch.setattr(errands, "AHEAD", 2)
    monkeypatch.setattr(copying, "chunk_rows", lambda target: 10)
    values = ", ".join(f"({n}, 0)" for n in range(ROWS))
    for table in ("stops", "goes"):
        rig.mysql(
            f"CREATE TABLE {table} (id int PRIMARY KEY, v int NOT NULL)",
            f"INSERT INTO {table} VALUES {values}",
        )
    rig.carry("stops", "goes")
    rig.stages.register()
    begun = rig.stages.begin_copies(rig.stages.tables(), pytest.fail)
    states = sorted(begun, key=lambda t: t.source)[::-1]
    jobs = [Job(t, s) for t, s in zip(rig.stages.targets(states), states, strict=True)]
    ended: list[Any] = []
    copier = Copier(
        rig.servers, rig.lease, rig.board, 1, lambda conn, job: ended.append(job), Nobody()
    )
    rig.mysql("ALTER TABLE stops ADD COLUMN w int")
    copier.start(jobs)
    try:
        until(lambda: len(rig.ask("SELECT FROM dbbridge.errands")) == errands.AHEAD)
        until(lambda: (work(rig), copier.ended.is_set())[1])
    finally:
        copier.stop()
    stopped = {job.target.source.table: job.stopped for job in jobs}
    assert stopped["goes"] is None
    assert stopped["stops"] is not None and stopped["stops"].code == "definition-changed"
    assert [job.target.source.table for job in ended] == ["goes"]
    assert rig.ask("SELECT count(*) FROM " + rig.name("goes").postgres) == [(ROWS,)]
    assert not rig.ask("SELECT FROM dbbridge.errands WHERE stop IS NULL")
