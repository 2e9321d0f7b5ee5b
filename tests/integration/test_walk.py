"""Both sides are summed by two threads, and the one that is ahead helps the other."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from pymysql.connections import Connection

from bridge.config.urls import resolve_url
from bridge.databases import mysql, postgres
from bridge.errors import BridgeError
from bridge.verify import table, walk
from bridge.verify.found import Found
from bridge.verify.pace import Pace
from bridge.verify.ranges import Summed
from bridge.verify.readers import Helpers
from bridge.verify.source import source_session
from bridge.verify.subject import Subject
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.verifying import CurrentStream, World
from tests.waiting import until

ROWS = 20_000
HELD_SECONDS = 60


class Held(Pace):
    """The thread that comes first waits at its first piece until the other one gets no further."""

    def __init__(self, first: str) -> None:
        self._first = first
        self._free = threading.Event()
        self._lock = threading.Lock()
        self.pieces: Counter[str] = Counter()

    def wait(self, halted: Callable[[], bool]) -> None:
        """See Pace."""
        name = threading.current_thread().name
        with self._lock:
            self.pieces[name] += 1
            mine = self.pieces[name]
        if name.startswith(self._first):
            if mine == 1:
                assert self._free.wait(HELD_SECONDS)
        elif mine == 2 * walk.AHEAD - 3:
            self._free.set()


@pytest.fixture
def subject(
    source_db: SourceDatabase, target_db: TargetDatabase, monkeypatch: pytest.MonkeyPatch
) -> tuple[World, Subject]:
    monkeypatch.setattr(table, "HELPED_ROWS", 0)
    monkeypatch.setattr(walk, "FIRST_ROWS", 100)
    world = World(source_db, target_db)
    world.mysql("CREATE TABLE t (id int PRIMARY KEY, v varchar(20))")
    for done in range(0, ROWS, 5_000):
        rows = ",".join(f"({n}, 'v{n % 97}')" for n in range(done, done + 5_000))
        world.mysql(f"INSERT INTO t VALUES {rows}")
    world.mysql("ANALYZE TABLE t")
    plan = world.copied("t")
    return world, Subject.of(plan, plan.target, "values")


def walked(
    sessions: table.Sessions, subject: Subject, pace: Pace, rows: int = ROWS
) -> list[Summed]:
    """All ranges, which have to follow one another."""
    with table.Walking(sessions, pace).sides(subject) as sides:
        found = list(walk.Walk(sides, pace).ranges(None, None))
    assert found[0].range.lower is None
    assert found[-1].range.upper is None
    for one, other in pairwise(found):
        assert one.range.upper == other.range.lower
    assert sum(count for each in found for count, _ in each.source.values()) == rows
    assert all(each.source == each.target for each in found)
    return found


@pytest.mark.parametrize("held", ["source", "target"])
def test_either_side_is_helped(subject: tuple[World, Subject], held: str) -> None:
    """While one thread stands at one piece, the other one reads both sides of all that it may."""
    pace = Held(f"walk-{held}")
    assert len(walked(*subject, pace)) > 2 * walk.AHEAD


def test_a_limited_source_has_one_reader(subject: tuple[World, Subject]) -> None:
    pace = Pace()
    pace.bounded = True
    with table.Walking(subject[0], pace).sides(subject[1]) as sides:
        assert sides.helpers.source is None
        assert sides.helpers.target is not None
    walked(*subject, pace)


class Breaking(Pace):
    """The source's sessions are killed while the target's first sum waits for a lock."""

    def __init__(self, world: World, subject: Subject) -> None:
        self._world = world
        self._locked = f"LOCK TABLE {subject.relation.postgres} IN ACCESS EXCLUSIVE MODE"
        self._admin, self._blocker = world.target(), world.target()
        self._first = threading.Lock()
        self._waits = 0

    def wait(self, halted: Callable[[], bool]) -> None:
        """See Pace. Both sides' ends are known by now, which are not to wait for the lock."""
        with self._first:
            self._waits += 1
            if self._waits == 1:
                self._blocker.execute("BEGIN")
                self._blocker.execute(self._locked.encode())
        if threading.current_thread().name == "walk-source" and self._waits > 1:
            until(self.blocked)
            self._kill()

    def blocked(self) -> bool:
        """Whether a statement waits for the lock."""
        return bool(
            self._admin.execute(
                "SELECT FROM pg_stat_activity WHERE datname = current_database()"
                " AND wait_event_type = 'Lock'"
            ).fetchall()
        )

    def _kill(self) -> None:
        with closing(self._world.source()) as admin, admin.cursor() as cursor:
            others = (
                "SELECT id FROM information_schema.processlist"
                f" WHERE db = '{self._world.source_db.name}' AND id <> connection_id()"
            )
            cursor.execute(others)
            for (each,) in cursor.fetchall():
                cursor.execute(f"KILL {each}")
            until(lambda: not cursor.execute(others))

    def close(self) -> None:
        """Lets the lock go."""
        self._admin.close()
        self._blocker.close()


def test_a_source_that_breaks_ends_the_walk_and_what_the_target_does(
    subject: tuple[World, Subject],
) -> None:
    with closing(Breaking(*subject)) as pace:
        with pytest.raises(pymysql.err.OperationalError):
            walked(*subject, pace)
        assert not pace.blocked()


@dataclass(frozen=True)
class Limited:
    """Accounts that may have so many sessions each."""

    world: World
    name: str

    def source(self) -> Connection[Any]:
        """See Sessions."""
        return mysql.connect(self._of(self.world.source_db))

    def target(self) -> psycopg.Connection[Any]:
        """See Sessions."""
        return postgres.connect(self._of(self.world.target_db), autocommit=True)

    def _of(self, database: SourceDatabase | TargetDatabase) -> Any:
        server = replace(database.server, user=self.name, password=self.name)
        return resolve_url(server.url(database.name), {}, "test", Path())


@pytest.fixture
def limited(subject: tuple[World, Subject]) -> Iterator[Limited]:
    """One session for each."""
    world, about = subject
    name = world.source_db.name
    schema = about.relation.postgres.split(".")[0]
    world.mysql(
        f"CREATE USER {name} IDENTIFIED BY '{name}' WITH MAX_USER_CONNECTIONS 1",
        f"GRANT SELECT ON {name}.* TO {name}",
    )
    world.postgres(
        f"CREATE ROLE {name} LOGIN PASSWORD '{name}' CONNECTION LIMIT 1",
        f"GRANT USAGE ON SCHEMA {schema} TO {name}",
        f"GRANT SELECT ON {about.relation.postgres} TO {name}",
    )
    yield Limited(world, name)
    world.mysql(f"DROP USER {name}")
    world.postgres(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_helpers_that_the_servers_refuse_are_done_without(
    subject: tuple[World, Subject], limited: Limited
) -> None:
    pace = Pace()
    with table.Walking(limited, pace).sides(subject[1]) as sides:
        assert sides.helpers == Helpers()
        for refused in (limited.source, limited.target):
            with pytest.raises(BridgeError):
                refused()
        assert sum(len(each.source) for each in walk.Walk(sides, pace).ranges(None, None))


@pytest.mark.parametrize("key", ["id, v", "v", ""])
def test_a_key_that_is_not_one_integer_takes_one_session_of_the_source(
    subject: tuple[World, Subject], key: str
) -> None:
    world, _ = subject
    primary = f", PRIMARY KEY ({key})" if key else ""
    world.mysql(
        f"CREATE TABLE other (id int NOT NULL, v varchar(20) COLLATE utf8mb4_bin{primary})",
        "INSERT INTO other VALUES (1, 'a'), (2, 'b')",
    )
    plan = world.copied("other")
    with table.Walking(world).sides(Subject.of(plan, plan.target, "values")) as sides:
        assert sides.helpers.source is None
        assert (sides.helpers.target is None) == (not key)


class Counting(Pace):
    """One piece after another may take `statement_seconds`."""

    def __init__(self, seconds: float) -> None:
        self.statement_seconds = seconds
        self.pieces = 0

    def wait(self, halted: Callable[[], bool]) -> None:
        """See Pace."""
        self.pieces += 1


def slow(world: World, rows: int) -> tuple[Subject, float]:
    """A table whose rows cost the source some milliseconds each, and the seconds of all."""
    heavy = "sha2(repeat(concat('x', id), 150000), 256)"
    values = ",".join(f"({n})" for n in range(rows))
    world.mysql(
        f"CREATE TABLE t (id int PRIMARY KEY, v char(64) AS ({heavy}) VIRTUAL)",
        f"INSERT INTO t (id) VALUES {values}",
    )
    plan = world.copied("t")
    plan = replace(plan, table=replace(plan.table, rows=1))
    subject = Subject.of(plan, plan.target, "values")
    with closing(source_session(world.source())) as conn, conn.cursor() as cursor:
        took = []
        for _ in range(2):  # one may be held up
            began = time.monotonic()
            cursor.execute(subject.source([f"SUM({subject.hash.source})"]))
            took.append(time.monotonic() - began)
        return subject, min(took)


def test_a_glance_that_takes_too_long_is_taken_row_by_row(
    source_db: SourceDatabase, target_db: TargetDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, rows = World(source_db, target_db), 400
    subject, whole = slow(world, rows)
    monkeypatch.setattr(table, "LONGEST_SECONDS", whole / 4)  # the hour
    result = Found(subject.plan)
    with closing(world.source()) as source:
        table.sweep(subject, world, CurrentStream(source), result)
    assert (result.tally.rows, result.differing, result.reason) == (rows, 0, "")


def test_a_piece_with_far_more_rows_than_estimated_is_read_in_parts(
    source_db: SourceDatabase, target_db: TargetDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row costs the source some milliseconds, and the estimate says that there is one."""
    monkeypatch.setattr(walk, "FEWEST_ROWS", 1)
    world, rows = World(source_db, target_db), 400
    subject, whole = slow(world, rows)
    pace = Counting(seconds=whole / 4)
    (piece,) = walked(world, subject, pace, rows)
    assert piece.range.lower is piece.range.upper is None
    assert pace.pieces > 3


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [
        (None, "a statement took more than an hour, or somebody ended it"),
        (0.5, "a statement took longer than verify.statement_seconds allows"),
    ],
    ids=["unlimited", "limited"],
)
def test_a_statement_that_ran_out_of_time_says_whose_limit_it_was(
    subject: tuple[World, Subject],
    monkeypatch: pytest.MonkeyPatch,
    seconds: float | None,
    reason: str,
) -> None:
    world, about = subject
    monkeypatch.setattr(table, "LONGEST_SECONDS", 0.5)  # the hour
    pace = Pace()
    pace.statement_seconds = seconds
    result = Found(about.plan)
    with closing(world.source()) as source, closing(world.source()) as locking:
        stream = CurrentStream(source)
        locking.cursor().execute("LOCK TABLES t WRITE")
        table.sweep(about, world, stream, result, walking=table.Walking(world, pace))
    assert result.partial == reason
