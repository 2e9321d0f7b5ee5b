"""A reverse that is undone: the stream back goes on, and brings each change once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pymysql
import pytest
from psycopg.types.json import Jsonb

from bridge.cutover.gates.reverse import SILENT_SECONDS, lag_told
from bridge.cutover.wayback import Course, StreamBack, tell
from tests.integration.reverse.rig import GROUP, PATIENCE, PIPELINE, WAITING, Rig
from tests.waiting import until

TABLES = {"log": "a int, b int"}
ENDING = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {} AND COMMAND = 'Query'"


@contextmanager
def steered(rig: Rig) -> Iterator[tuple[StreamBack, pymysql.Connection[Any]]]:
    """As an operator steers it; the target has authority in epoch 1, and the stream runs."""
    rig.make(TABLES)
    rig.start()
    with closing(rig.source.connect(autocommit=True)) as source, rig.bridge() as target:
        plans = tuple(rig.plans.values())
        back = StreamBack(PIPELINE, GROUP, rig.source.name, plans, source, target)
        back.arm(10, 10)
        back.begin(1)
        yield back, source


def go_on(rig: Rig, back: StreamBack) -> None:
    """The daemon obeys what the control schema says now."""
    assert rig.reverse is not None
    rig.reverse.stop()
    rig.epoch, rig.flip = back.course()
    rig.start()


def test_what_the_ended_stream_commits_late_is_not_applied_again(rig: Rig) -> None:
    with steered(rig) as (back, source), ThreadPoolExecutor(1) as other:
        rig.write("INSERT INTO log VALUES (1, 1)")
        rig.drain()
        with source.cursor() as cursor:
            cursor.execute("SELECT CONNECTION_ID()")
            (number,) = cursor.fetchone() or (0,)
        with closing(rig.source.connect(autocommit=True)) as conn, conn.cursor() as cursor:
            cursor.execute("LOCK TABLES log READ")
            rig.write("INSERT INTO log VALUES (2, 2)")
            until(lambda: rig.rows(WAITING.format(rig.accounts.name)) == [(1,)])
            resumed = other.submit(back.resume, 3)
            until(lambda: resumed.done() or rig.rows(ENDING.format(number)) == [(1,)])
            cursor.execute("UNLOCK TABLES")
        resumed.result(PATIENCE)
        until(lambda: rig.rows("SELECT COUNT(*) FROM log") == [(2,)])
        go_on(rig, back)
        rig.write("INSERT INTO log VALUES (3, 3)")
        rig.drain()
        assert rig.same() == 3
        back.resume(3)  # as whoever does the step again
        assert back.course()[0] == 3


def test_a_stream_that_never_began_is_resumed_from_the_flip(rig: Rig) -> None:
    """What was written before it came from the source, and must not be sent back."""
    with steered(rig) as (back, source):
        rig.write("INSERT INTO log VALUES (1, 1)")
        rig.drain()
        assert rig.reverse is not None
        rig.reverse.stop()
        with source.cursor() as cursor:
            cursor.execute("INSERT INTO log VALUES (2, 2)")
            cursor.execute("UPDATE _bridge_reverse SET lsn = lsn + 100000000000")
        rig.write("INSERT INTO log VALUES (2, 2)")
        back.begin(4)
        assert not back.passed(back.mark())  # whatever the row says, which is of another round
        rig.write("INSERT INTO log VALUES (3, 3)")
        back.resume(6)
        go_on(rig, back)
        rig.drain()
        assert rig.same() == 3


def test_a_source_without_a_position_keeps_an_earlier_stream_out(rig: Rig) -> None:
    with steered(rig) as (back, source):
        assert rig.reverse is not None
        rig.reverse.stop()
        with source.cursor() as cursor:
            cursor.execute("DELETE FROM _bridge_reverse")
        back.resume(3)
        rig.write("INSERT INTO log VALUES (1, 1)")
        rig.start()  # of the epoch that is over
        with pytest.raises(AssertionError, match="epoch 2 has begun"):
            rig.until(lambda _: False)
        go_on(rig, back)
        rig.drain()
        assert rig.same() == 1


def test_what_was_told_of_an_earlier_stream_is_forgotten(rig: Rig) -> None:
    with steered(rig) as (back, _):
        said = Jsonb({"lag_seconds": 0.1})
        tell(back.target, PIPELINE, Course(GROUP, 1, 0), said)
        status = back.told() or {}
        assert lag_told(status) == 0.1
        assert lag_told({**status, "age_seconds": SILENT_SECONDS}) is None
        back.begin(4)
        tell(back.target, PIPELINE, Course(GROUP, 1, 0), said)
        assert back.told() == {} and lag_told({}) is None
        tell(back.target, PIPELINE, Course(GROUP, 4, 0), said)
        assert lag_told(back.told() or {}) == 0.1
        back.resume(6)
        assert back.told() == {}
