"""How changes are gathered for the source: where its transactions end."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from bridge.reverse import slots
from bridge.reverse.batch import Batch
from bridge.reverse.builder import Builder
from bridge.reverse.stream import Data, Stream
from bridge.reverse.writer import dialect_of
from tests.integration.reverse.rig import GROUP, PATIENCE, PIPELINE, WAITING, Rig
from tests.waiting import until

TABLES = {"one": "id int PRIMARY KEY, n int"}


def gathered(rig: Rig, first: int, end: int) -> list[Batch]:
    """The batches that are full before the stream has passed a position."""
    name = slots.slot_name(rig.target.name, PIPELINE, GROUP)
    plans = {plan.target: plan for plan in rig.plans.values()}
    builder = Builder(plans, dialect_of(str(rig.rows("SELECT VERSION()")[0][0])), first)
    found = []
    deadline = time.monotonic() + PATIENCE
    with closing(Stream(rig.endpoints[1], name, name, 0)) as stream:
        while builder.reached <= end:
            assert time.monotonic() < deadline
            message = stream.read()
            if type(message) is Data:
                builder.add(message.raw, message.at, message.sent)
                if builder.full:
                    found.append(builder.taken())
            elif message is None:
                stream.take()
    return found


def test_batches_end_where_transactions_do(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.reverse.builder.MOST_CHANGES", 100)
    rig.make(TABLES)
    rig.arm()
    with rig.bridge() as conn:
        first = slots.marker(conn)
        for start in range(0, 600, 30):
            rig.write(f"INSERT INTO one SELECT n, 1 FROM generate_series({start}, {start + 29}) n")
        rig.write("INSERT INTO one SELECT n, 1 FROM generate_series(1001, 1230) n")
        batches = gathered(rig, first, slots.marker(conn))
    sizes = [(len(batch.changes), batch.whole) for batch in batches]
    assert sizes == [*[(60, True)] * 10, (100, False), (100, False), (30, True)]


def test_a_backlog_is_many_transactions_in_the_source(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row that is there may be seen while a later one waits for a lock."""
    monkeypatch.setattr("bridge.reverse.builder.MOST_CHANGES", 100)
    rig.make(TABLES)
    rig.start()
    rig.write("INSERT INTO one VALUES (-1, 1), (-2, 1)")
    rig.drain()
    with (
        closing(rig.source.connect(autocommit=False)) as first,
        closing(rig.source.connect(autocommit=False)) as last,
    ):
        for conn, key in ((first, -1), (last, -2)):
            with conn.cursor() as cursor:
                cursor.execute(f"SELECT * FROM one WHERE id = {key} FOR UPDATE")
        rig.write("UPDATE one SET n = 2 WHERE id = -1")
        for start in range(0, 900, 30):
            rig.write(f"INSERT INTO one SELECT n, 1 FROM generate_series({start}, {start + 29}) n")
        rig.write("UPDATE one SET n = 2 WHERE id = -2")
        first.rollback()
        deadline = time.monotonic() + PATIENCE
        while rig.rows("SELECT COUNT(*) FROM one")[0][0] < 800:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert rig.rows("SELECT n FROM one WHERE id = -2") == [(1,)]
        last.rollback()
    rig.drain()
    rig.same()


def test_what_waits_behind_an_applied_batch_is_behind(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.reverse.builder.MOST_CHANGES", 2)  # each is a batch of its own
    rig.make({**TABLES, "two": TABLES["one"]})
    rig.start()
    rig.drain()
    waiting = WAITING.format(rig.accounts.name)
    with closing(rig.source.connect()) as first, closing(rig.source.connect()) as second:
        for conn, table in ((first, "one"), (second, "two")):
            with conn.cursor() as cursor:
                cursor.execute(f"LOCK TABLES {table} READ")
        rig.write("INSERT INTO one VALUES (1, 1)")
        until(lambda: rig.rows(waiting) == [(1,)])
        rig.write("INSERT INTO two VALUES (1, 1)")
        end = rig.end()
        rig.until(lambda facts: facts.received >= end)
        first.query("UNLOCK TABLES")
        until(lambda: rig.rows("SELECT id FROM one") == [(1,)] and rig.rows(waiting) == [(1,)])
        assert rig.reverse is not None
        assert rig.reverse.facts().lag_seconds
    rig.drain()
    assert rig.same() == 2
