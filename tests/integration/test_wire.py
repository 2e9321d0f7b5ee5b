"""Sessions that an event loop waits for, on both sources."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import pymysql
import pytest
import uvloop

from bridge.databases import mysql
from bridge.databases.endpoint import parse_url
from bridge.dualwrite.http.wire import Lost, Refused, Session
from bridge.errors import ServerRefused
from tests.fix_servers import SourceDatabase

SECONDS = 60.0
LIST = "information_schema.processlist"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop])
def attempt(source_db: SourceDatabase, request: pytest.FixtureRequest) -> Any:
    """Runs something with a session on either kind of loop; there is an empty table t."""
    with closing(source_db.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, v longtext)")

    def run(work: Callable[[Session], Awaitable[None]], *, tls: str = "", wait: float = 0) -> None:
        async def within() -> None:
            session = Session(connect(source_db, tls), wait or SECONDS)
            try:
                await work(session)
            finally:
                session.close()
                session.close()

        loop = request.param()
        try:
            loop.run_until_complete(within())
        finally:
            loop.close()

    return run


def connect(source_db: SourceDatabase, tls: str = "") -> pymysql.Connection[Any]:
    endpoint = parse_url(source_db.url + tls)
    conn = mysql.connect(endpoint, found_rows=True, many_statements=True)
    conn.autocommit(False)
    return conn


def rows(source_db: SourceDatabase) -> list[Any]:
    with closing(source_db.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT id, CHAR_LENGTH(v) FROM t ORDER BY id")
        return list(cursor.fetchall())


def test_texts_and_their_answers(attempt: Any, source_db: SourceDatabase) -> None:
    async def work(session: Session) -> None:
        insert = b"INSERT INTO t (v) VALUES ('a'),('b');UPDATE t SET v = 'a' WHERE id < 3;COMMIT"
        assert await session.execute(insert) == [(2, 1), (2, 0), (0, 0)]
        many = b";".join([b"INSERT INTO t (v) VALUES (%d)" % n for n in range(400)])
        answers = await session.execute(many + b";COMMIT")
        assert [number for _, number in answers] == [*range(3, 403), 0]
        large = b"INSERT INTO t VALUES (100000, '%b');COMMIT" % (b"\xc3\xa4" * 3_000_000)
        assert await session.execute(large) == [(1, 100000), (0, 0)]

    attempt(work)
    assert rows(source_db)[-2:] == [(402, 3), (100000, 3_000_000)]


def test_what_fails_ends_the_text(attempt: Any, source_db: SourceDatabase) -> None:
    async def work(session: Session) -> None:
        with pytest.raises(Refused) as caught:
            await session.execute(
                b"INSERT INTO t VALUES (1, 'x');INSERT INTO t VALUES (1, 'y');COMMIT"
            )
        assert caught.value.done == 1
        assert isinstance(caught.value.__cause__, pymysql.err.IntegrityError)
        assert session.alive
        await session.execute(b"ROLLBACK")
        with pytest.raises(Lost):  # rows are none of its business
            await session.execute(b"SELECT 1")
        assert not session.alive

    attempt(work)
    assert rows(source_db) == []


def test_a_server_that_hangs_up(attempt: Any, source_db: SourceDatabase) -> None:
    async def work(session: Session) -> None:
        number = session.cursor.connection.thread_id()
        with closing(source_db.connect()) as other, other.cursor() as cursor:
            cursor.execute(f"KILL {number}")
        async with asyncio.timeout(SECONDS):
            while session.alive:
                await asyncio.sleep(0.005)

    attempt(work)


def test_a_session_that_is_killed_at_work(attempt: Any, source_db: SourceDatabase) -> None:
    async def work(session: Session) -> None:
        number = session.cursor.connection.thread_id()

        def kill() -> None:
            with closing(source_db.connect()) as other, other.cursor() as cursor:
                while True:
                    cursor.execute(f"SELECT state FROM {LIST} WHERE id = {number}")
                    if cursor.fetchall() == (("User sleep",),):
                        break
                cursor.execute(f"KILL {number}")

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises((Lost, Refused)):
            await session.execute(b"INSERT INTO t VALUES (1, 'x');DO SLEEP(120);COMMIT")
        killer.join()

    attempt(work)
    assert rows(source_db) == []


def test_a_server_that_says_nothing(attempt: Any, source_db: SourceDatabase) -> None:
    async def work(session: Session) -> None:
        began = time.monotonic()
        with pytest.raises(Lost):
            await session.execute(
                b"INSERT INTO t VALUES (1, 'x');DO SLEEP(0.3);DO SLEEP(30);COMMIT"
            )
        assert time.monotonic() - began < 20
        assert not session.alive

    attempt(work, wait=0.5)


def test_a_server_that_takes_nothing() -> None:
    """Whoever hangs up then does not wait for it either."""
    here, there = socket.socketpair()
    conn = pymysql.Connection(defer_connect=True)
    vars(conn).update(_sock=here, _rfile=None, server_thread_id=(1,))

    async def work() -> None:
        began = time.monotonic()
        with pytest.raises(Lost):
            await Session(conn, 0.2).execute(b"x" * 10_000_000)
        assert time.monotonic() - began < 20

    with closing(there):
        asyncio.run(work())


def test_over_tls(attempt: Any, source_db: SourceDatabase) -> None:
    try:
        connect(source_db, "?tls=required").close()
    except ServerRefused as error:
        pytest.skip(f"the server does without TLS: {error}")

    async def work(session: Session) -> None:
        for number in range(1, 50):
            text = b"INSERT INTO t (v) VALUES ('%b');COMMIT" % (b"x" * 20_000 * number)
            assert await session.execute(text) == [(1, number), (0, 0)]
        with pytest.raises(Refused):
            await session.execute(b"INSERT INTO t VALUES (1, 'x');COMMIT")

    attempt(work, tls="?tls=required")
    assert len(rows(source_db)) == 49
