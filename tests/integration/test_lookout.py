"""A side that says nothing holds up nobody who does not need it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pymysql
import pytest

from bridge.databases import mysql
from bridge.databases.endpoint import parse_url
from bridge.dualwrite.http import remembered
from bridge.dualwrite.http.answers import Once
from bridge.dualwrite.http.models import Insert
from bridge.dualwrite.http.problems import Problem
from bridge.dualwrite.lookout import LONGEST_SECONDS, Lookout
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.integration.layered import layered

pytestmark = pytest.mark.parametrize("source", ["mysql"], indirect=True)
T, U = (f"CREATE TABLE {name} (id int AUTO_INCREMENT PRIMARY KEY, n int)" for name in "tu")


class Switched:
    """Opens sessions of the source, or, once it is `away`, of a host that accepts and is silent."""

    def __init__(self, source_db: SourceDatabase, silent: int) -> None:
        self._source_db = source_db
        self._silent = silent
        self.away = False
        self.seconds = 2
        """How long that host is waited for."""
        self.asked = threading.Event()
        """Somebody asks that host."""

    def __call__(self, **options: Any) -> pymysql.Connection[Any]:
        if not self.away:
            return self._source_db.connect(**options)
        self.asked.set()
        url = f"mysql://root@127.0.0.1:{self._silent}/x?connect_timeout={self.seconds}"
        return mysql.connect(parse_url(url), read_timeout=5)


@pytest.fixture
def away(source_db: SourceDatabase) -> Iterator[Switched]:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        yield Switched(source_db, silent.getsockname()[1])


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def test_who_needs_the_target_alone_never_waits_for_the_source(
    source_db: SourceDatabase, target_db: TargetDatabase, away: Switched
) -> None:
    with layered(source_db, target_db, open_source=away) as found:
        found.authority("t", "target", 3)
        lookout = Lookout(found.sides)
        assert lookout.rows()["t"].side == "target"
        lookout.close()  # its sessions are gone, and the source with it
        away.away = True
        for _ in range(3):
            lookout.looked -= 60
            lookout.rows()
        assert not away.asked.is_set()
        with target_db.connect() as there:
            there.execute("UPDATE dbbridge.authority SET epoch = 5")
        lookout.looked -= 60
        assert lookout.rows()["t"].epoch == 5
        lookout.close()


def test_while_one_asks_the_others_go_by_what_is_known(
    source_db: SourceDatabase, target_db: TargetDatabase, away: Switched
) -> None:
    with layered(source_db, target_db, T, U, open_source=away) as found:
        found.authority("t", "target", 3)
        found.authority("u", "source", 1)
        lookout = Lookout(found.sides)
        known = lookout.rows()
        assert {name: row.side for name, row in known.items()} == {"t": "target", "u": "source"}
        lookout.close()
        away.away, away.seconds = True, 10
        lookout.looked -= 60
        asking = threading.Thread(target=lookout.rows)
        asking.start()
        assert away.asked.wait(60)
        assert lookout.rows() == lookout.known() == known
        assert asking.is_alive()
        asking.join()
        away.seconds = 2
        # It is left alone for a while, and one who was told that all is otherwise asks it again.
        away.asked.clear()
        lookout.looked -= 60
        lookout.rows()
        assert not away.asked.is_set()
        lookout.forget()
        lookout.rows()
        assert away.asked.is_set()
        lookout.close()


def test_a_target_that_says_nothing_is_cut_off(
    source_db: SourceDatabase, target_db: TargetDatabase
) -> None:
    with layered(source_db, target_db) as found:
        found.authority("t", "target", 3)
        lookout = Lookout(found.sides)
        known = lookout.rows()
        with target_db.connect(autocommit=False) as lock:
            lock.execute("LOCK TABLE dbbridge.authority IN ACCESS EXCLUSIVE MODE")
            lookout.looked -= 60
            assert seconds(lookout.rows) < 3 * LONGEST_SECONDS
            assert lookout.rows() == known
        lookout.close()


def test_an_old_key_needs_the_source_no_more(
    source_db: SourceDatabase,
    target_db: TargetDatabase,
    away: Switched,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remembered, "REST_SECONDS", 60.0)

    def connect() -> Any:
        return away() if away.away else away(autocommit=False)

    with layered(source_db, target_db, connect=connect, open_source=away) as found:
        found.authority("t", "target", 3)
        with target_db.connect() as there:
            there.execute("CREATE TABLE t (id int GENERATED BY DEFAULT AS IDENTITY, n int)")
        one = [Insert(do="insert", table="t", values={"n": 1})]
        found.dual.authorities()
        away.away = True
        found.dual.source.dispose()
        with pytest.raises(Problem) as asked:
            found.writes.run(one, Once.of("caller", "young", "asked"))
        assert asked.value.code == "source-away"
        # The source is not asked again at once: that would hold up one thread for each request.
        away.asked.clear()
        with pytest.raises(Problem, match="cannot be asked"):
            found.writes.run(one, Once.of("caller", "young", "asked"))
        assert not away.asked.is_set()
        with target_db.connect() as there:
            there.execute(
                "UPDATE dbbridge.authority SET changed_at = now() - interval '25 h', epoch = 4"
            )
        found.dual.lookout.forget()
        first = found.writes.run(one, Once.of("caller", "old", "asked"))
        again = found.writes.run(one, Once.of("caller", "old", "asked"))
        assert (first.repeated, again.repeated) == (False, True)
        assert numbers(target_db) == [(1,)]


def numbers(target_db: TargetDatabase) -> list[tuple[Any, ...]]:
    conn: psycopg.Connection[Any]
    with target_db.connect() as conn:
        return conn.execute("SELECT n FROM t").fetchall()
