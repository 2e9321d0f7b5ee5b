"""The final check's round, while writers wait for it."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from typing import Any

from bridge.cutover.finalcheck import Checker, Opened
from bridge.verify.pipeline import SourceLog
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.staged import SERVER_ID, Stage
from tests.verifying import World


class Counting:
    """Opens sessions, and keeps them in mind."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sources: list[Any] = []
        self.targets: list[Any] = []

    @property
    def opened(self) -> int:
        return len(self.sources) + len(self.targets)

    def source(self) -> Any:
        self.sources.append(self.world.source())
        return self.sources[-1]

    def target(self) -> Any:
        self.targets.append(self.world.target())
        return self.targets[-1]

    def end(self) -> None:
        """As a server does that restarts: those that are open."""
        with closing(self.world.source()) as admin, admin.cursor() as cursor:
            for each in self.sources:
                if each.open:
                    cursor.execute(f"KILL {each.thread_id()}")
        with closing(self.world.target()) as there:
            for each in self.targets:
                if not each.closed:
                    pid = each.info.backend_pid
                    there.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])


def test_no_session_is_opened_while_writers_wait(
    source_db: SourceDatabase, target_db: TargetDatabase
) -> None:
    stage = Stage(World(source_db, target_db))
    stage.world.mysql(
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        "INSERT INTO t VALUES (1, 1), (2, 2)",
    )
    stage.copied("t")
    stage.swept()
    counting = Counting(stage.world)
    opened = Opened(counting)
    verifier = dataclasses.replace(
        stage.verifier, sessions=opened, open_log=SourceLog(opened.source, SERVER_ID)
    )
    plan = stage.tables[0].plan
    checker = Checker(verifier, stage.mappings, (plan.source,), opened)
    with stage.streaming():
        checker.make_ready()
        stage.world.mysql("UPDATE t SET v = 3 WHERE id = 2")
        before = counting.opened
        _, proofs = checker.round()
        assert counting.opened == before, "the round had to open sessions"
        checker.round()
        assert counting.opened > before  # which shows that they are counted

        # A server that ends them meanwhile costs time, not the check.
        checker.make_ready()
        counting.end()
        _, later = checker.round()
    opened.close()
    assert later[plan.source].position.covers(proofs[plan.source].position)
    assert proofs[plan.source].differences == 1, "the round was no round"
    stage.conn.close()
