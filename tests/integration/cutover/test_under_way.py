"""Open transactions are seen whatever others run meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pymysql
import pytest

from bridge.cutover.census import look_at_source
from bridge.cutover.fences.sessions import changing, in_transactions
from bridge.cutover.under_way import UnderWay, under_way
from tests.fix_servers import SourceDatabase

READS = "SELECT '😀', SLEEP(600) FROM t"
PATIENCE = 60.0


def number_of(conn: pymysql.Connection[Any]) -> int:
    """The session's."""
    return int(conn.thread_id())  # type: ignore[no-untyped-call]


def looked(
    looks: pymysql.Connection[Any], condition: Callable[[dict[int, UnderWay]], bool]
) -> dict[int, UnderWay]:
    """Transactions by their sessions, once they are so."""
    deadline = time.monotonic() + PATIENCE
    while not condition(found := {one.session: one for one in under_way(looks)}):
        assert time.monotonic() < deadline, found
        time.sleep(0.15)  # InnoDB looks again only where nobody has asked for 0.1 s
    return found


@pytest.fixture
def reads(source_db: SourceDatabase) -> Iterator[int]:
    """A session that runs a statement with a character of four bytes."""
    with closing(source_db.connect()) as one, closing(source_db.connect()) as other:
        with one.cursor() as cursor:
            cursor.execute("CREATE TABLE t (id int PRIMARY KEY)")
            cursor.execute("INSERT INTO t VALUES (1)")
            one.commit()
        number = number_of(one)

        def run() -> None:
            with suppress(pymysql.Error), one.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute(READS)

        thread = threading.Thread(target=run)
        thread.start()
        deadline = time.monotonic() + PATIENCE
        with other.cursor() as cursor:
            while True:
                cursor.execute("SHOW FULL PROCESSLIST")
                if any(row[7] and "SLEEP(600)" in row[7] for row in cursor.fetchall()):
                    break
                assert time.monotonic() < deadline
        try:
            yield number
        finally:
            with other.cursor() as cursor:
                cursor.execute(f"KILL {number}")
            thread.join()


def test_statements_with_characters_of_four_bytes(source_db: SourceDatabase, reads: int) -> None:
    with closing(source_db.connect()) as writes, closing(source_db.connect()) as looks:
        with writes.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("INSERT INTO t VALUES (2)")
        writer = number_of(writes)
        found = looked(looks, lambda found: {writer, reads} <= set(found))
        assert found[writer].writes and found[writer].locks
        assert found[writer].user == source_db.server.user and found[writer].host
        assert not found[reads].writes and "SLEEP(600)" in found[reads].statement
        assert 0 <= found[reads].seconds < PATIENCE
        assert number_of(looks) not in found
        assert writer in {each.id for each in changing(looks)}
        assert {writer, reads} & {each.id for each in in_transactions(looks)} == {writer}
        assert source_db.server.user in {who.account for who in look_at_source(looks).met}
        writes.rollback()
        looked(looks, lambda found: writer not in found)
