"""Tables without a key: all rows at an exact position, while others write."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from bridge.capture.binlog.connection import BinlogConnection
from bridge.capture.binlog.positions import upper_bound
from bridge.capture.snapshot import keyless_snapshot
from bridge.change.position import Position
from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan
from bridge.sink.copy import copy_blocks
from tests.integration.binlog_follower import Follower, connector, drain
from tests.integration.copied import create_target, plan_of, run, session


@pytest.fixture
def conn(source_db: Any) -> Iterator[Any]:
    with closing(session(source_db)) as opened:
        yield opened


def _lines(blocks: Iterator[bytes]) -> list[bytes]:
    lines = b"".join(blocks).split(b"\n")
    assert lines.pop() == b""
    return lines


class _Writers:
    """Sessions that insert, change and delete rows of the bag, some by transactions of several."""

    def __init__(self, source_db: Any, count: int) -> None:
        self._over = threading.Event()
        self._database = source_db
        self._threads = [
            threading.Thread(target=self._write, args=(number,)) for number in range(count)
        ]
        self.failures: list[Exception] = []

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        assert self.failures == []

    def _write(self, number: int) -> None:
        rng = random.Random(number)
        with closing(session(self._database)) as conn:
            while not self._over.is_set():
                run(conn, "BEGIN")
                for _ in range(rng.randint(1, 3)):
                    n = rng.randint(0, 30)
                    statement = rng.choice(
                        [
                            f"INSERT INTO t VALUES ({n}, 'a'), ({n}, NULL)",
                            f"UPDATE t SET v = 'b' WHERE n = {number} AND v = 'a' LIMIT 1",
                            f"DELETE FROM t WHERE n = {number} LIMIT 1",
                        ]
                    )
                    try:
                        run(conn, statement)
                    except Exception as error:
                        # A deadlock with another writer ends the transaction.
                        if error.args[0] != 1213:
                            self.failures.append(error)
                            raise
                        run(conn, "BEGIN")
                run(conn, "COMMIT")


def _follow(open_source: Callable[[], Any], plan: TablePlan, start: Position) -> Counter[Any]:
    """What the log adds to and takes from the bag after a position."""
    follower = Follower([plan])
    with closing(open_source()) as other:
        end = upper_bound(other)
    with BinlogConnection.open(open_source, start, 0x50000001, 10.0) as binlog:
        for event in drain(binlog, end):
            follower.feed(event)
    return follower.bags[plan.source]


def test_rows_and_log_meet_at_the_position(
    source_db: Any, conn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.capture.snapshot.LOCK_SECONDS", 60)  # writers may be held up
    run(conn, "CREATE TABLE t (n int, v varchar(9))", "INSERT INTO t VALUES (1, 'a'), (1, 'a')")
    plan = plan_of(source_db, "t", brief_lock=True)
    open_source = connector(source_db.url)
    found: list[tuple[Position, list[bytes]]] = []
    with _Writers(source_db, 3):
        for _ in range(6):
            position, blocks = keyless_snapshot(open_source, plan)
            found.append((position, _lines(blocks)))
    reader, _blocks = keyless_snapshot(open_source, plan)
    final = Counter(_lines(_blocks))
    assert sum(final.values()) == run(conn, "SELECT COUNT(*) FROM t")[0][0]
    for position, lines in found:
        bag: Counter[Any] = Counter(lines)
        bag.update(_follow(open_source, plan, position))
        assert {line: count for line, count in bag.items() if count} == final
    assert reader.covers(found[-1][0])


def test_a_copy_of_a_bag(source_db: Any, conn: Any, target_db: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (n int, v varchar(9))",
        "INSERT INTO t VALUES (1, 'a'), (1, 'a'), (NULL, NULL), (NULL, NULL), (2, 'tab\\t')",
    )
    plan = plan_of(source_db, "t", brief_lock=True, where="`n` IS NULL OR `n` = 1")
    _, blocks = keyless_snapshot(connector(source_db.url), plan)
    with closing(target_db.connect()) as target:
        create_target(target, plan)
        with target.transaction():
            assert copy_blocks(target, plan, plan.target, blocks, [])[0] == 4
        assert target.execute("SELECT count(*), count(n) FROM t").fetchone() == (4, 2)


def test_a_bad_row_stops_a_table_without_a_key(source_db: Any, conn: Any) -> None:
    run(
        conn,
        "CREATE TABLE t (n int, day date)",
        "INSERT INTO t VALUES (1, '2024-01-01'), (2, '0000-00-00')",
    )
    plan = plan_of(source_db, "t", brief_lock=True)
    _, blocks = keyless_snapshot(connector(source_db.url), plan)
    with pytest.raises(TableStopped) as stopped:
        list(blocks)
    assert stopped.value.code == "bad-row"
    assert stopped.value.table == plan.source


def test_mysql_needs_consent_to_the_lock(source_db: Any, conn: Any) -> None:
    run(conn, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    plan = plan_of(source_db, "t")
    if plan.table.flavor == "mariadb":
        _, blocks = keyless_snapshot(connector(source_db.url), plan)
        assert _lines(blocks) == [b"1"]
        return
    with pytest.raises(TableStopped) as stopped:
        keyless_snapshot(connector(source_db.url), plan)
    assert stopped.value.code == "needs-brief-lock"


def test_a_writer_that_does_not_end_is_not_waited_for(
    source_db: Any, conn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.capture.snapshot.LOCK_SECONDS", 1)
    run(conn, "CREATE TABLE t (n int)", "BEGIN", "INSERT INTO t VALUES (1)")
    plan = plan_of(source_db, "t", brief_lock=True)
    open_source = connector(source_db.url)
    if plan.table.flavor == "mariadb":
        # No lock is asked for, so nothing waits; the uncommitted row is not there.
        assert _lines(keyless_snapshot(open_source, plan)[1]) == []
        return
    with pytest.raises(TableStopped) as stopped:
        keyless_snapshot(open_source, plan)
    assert stopped.value.code == "lock-timeout"
    run(conn, "COMMIT")
    assert _lines(keyless_snapshot(open_source, plan)[1]) == [b"1"]


def test_the_lock_is_gone_while_rows_are_read(source_db: Any, conn: Any) -> None:
    run(conn, "CREATE TABLE t (n int, v longtext)", "INSERT INTO t VALUES (1, REPEAT('x', 60000))")
    for _ in range(10):
        run(conn, "INSERT INTO t SELECT n, v FROM t")
    plan = plan_of(source_db, "t", brief_lock=True)
    _, blocks = keyless_snapshot(connector(source_db.url), plan)
    next(blocks)
    run(conn, "SET SESSION lock_wait_timeout = 5", "INSERT INTO t VALUES (2, 'new')")
    assert sum(block.count(b"\n") for block in blocks) in range(1000, 1025)
    assert run(conn, "SELECT COUNT(*) FROM t")[0][0] == 1025


def test_an_engine_without_snapshots(source_db: Any, conn: Any) -> None:
    run(conn, "CREATE TABLE t (n int) ENGINE = MyISAM")
    with pytest.raises(TableStopped) as stopped:
        keyless_snapshot(connector(source_db.url), plan_of(source_db, "t", brief_lock=True))
    assert stopped.value.code == "needs-transactions"
