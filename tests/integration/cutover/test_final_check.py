"""The final check's round, while writers wait for it."""

from __future__ import annotations

import dataclasses
from typing import Any

from bridge.cutover.finalcheck import Checker, Opened
from bridge.verify.pipeline import SourceLog
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.staged import SERVER_ID, Stage
from tests.verifying import World


class Counting:
    """Opens sessions, and counts them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.opened = 0

    def source(self) -> Any:
        self.opened += 1
        return self.world.source()

    def target(self) -> Any:
        self.opened += 1
        return self.world.target()


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
        checker.make_ready(back=False)
        stage.world.mysql("UPDATE t SET v = 3 WHERE id = 2")
        before = counting.opened
        _, proofs = checker.round()
        assert counting.opened == before, "the round had to open sessions"
        checker.round()
        assert counting.opened > before  # which shows that they are counted
    checker.close()
    assert proofs[plan.source].differences == 1, "the round was no round"
    stage.conn.close()
