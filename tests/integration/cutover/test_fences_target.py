"""The target's fence: whoever may not write does not, at any isolation level, and gets all back."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import psycopg
import pytest
from psycopg import IsolationLevel

from bridge.cutover.fences.base import FenceProblem, Limits, Session
from bridge.cutover.fences.insisting import Connection, insist
from bridge.cutover.fences.target import TargetFence, release
from bridge.cutover.fences.target_check import check_target
from bridge.databases.postgres import limit_locks
from bridge.names import TableName
from tests.fix_servers import TargetDatabase
from tests.integration.cutover.fencing import Kept
from tests.integration.cutover.lingering import hinder

LIMITS = Limits(seconds=60, lock_seconds=0.2)
PATIENT = Limits(seconds=60, lock_seconds=50)
"""Ends nobody who only takes his time."""
TABLES = (TableName("shop", "orders"), TableName("shop", "Lines"))
RIGHTS = """
    SELECT c.relname, a.attname, e.grantee::regrole, e.grantor::regrole, e.privilege_type,
        e.is_grantable
    FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid,
    LATERAL (SELECT * FROM aclexplode(c.relacl) WHERE a.attname = 'ctid'
        UNION ALL SELECT * FROM aclexplode(a.attacl)) AS e
    WHERE c.relnamespace = 'shop'::regnamespace ORDER BY 1, 2, 3, 4, 5, 6
"""


@dataclass
class Place:
    """Tables that the bridge owns, and roles of an application; the bridge is no superuser."""

    db: TargetDatabase
    mark: str
    notes: Kept = field(default_factory=Kept)

    def role(self, name: str) -> str:
        return f"{name}_{self.mark}"

    def connect(self, name: str, autocommit: bool = True) -> Connection:
        role = self.role(name)
        return psycopg.connect(self.db.url, autocommit=autocommit, user=role, password="x")

    def root(self, *statements: str) -> list[tuple[object, ...]]:
        with self.db.connect() as conn:
            *first, last = statements
            for statement in first:
                conn.execute(self._named(statement))
            cursor = conn.execute(self._named(last))
            return cursor.fetchall() if cursor.description else []

    def as_bridge(self, *statements: str) -> None:
        with closing(self.connect("bridge")) as conn:
            for statement in statements:
                conn.execute(self._named(statement))

    def _named(self, statement: str) -> bytes:
        for name in NAMES:
            statement = statement.replace(f"@{name}", self.role(name))
        return statement.encode()

    def fence(self, roles: tuple[str, ...] | None = None) -> TargetFence:
        chosen = None if roles is None else tuple(map(self.role, roles))
        return TargetFence(TABLES, chosen, (self.role("bridge"),))

    def check(self, fence: TargetFence) -> list[FenceProblem]:
        with closing(self.connect("bridge")) as conn:
            return check_target(conn, fence)

    def engage(self, fence: TargetFence, limits: Limits = LIMITS) -> bool:
        with closing(self.connect("bridge")) as conn:
            return fence.engage(conn, self.notes, limits).holds

    def release(self) -> list[str]:
        with closing(self.connect("bridge")) as conn:
            return release(conn, self.notes)


NAMES = ("bridge", "app", "batch", "team", "other")


@pytest.fixture
def place(target_db: TargetDatabase) -> Iterator[Place]:
    found = Place(target_db, secrets.token_hex(4))
    found.root(*(f"CREATE ROLE @{name} LOGIN PASSWORD 'x'" for name in NAMES))
    found.root(
        "CREATE SCHEMA shop AUTHORIZATION @bridge",
        "GRANT USAGE ON SCHEMA shop TO PUBLIC",
        "GRANT pg_signal_backend TO @bridge",
        "GRANT @team TO @batch",
    )
    found.as_bridge(
        "CREATE TABLE shop.orders (id bigserial PRIMARY KEY, n int)",
        'CREATE TABLE shop."Lines" (id bigserial PRIMARY KEY, n int)',
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA shop TO PUBLIC",
        "INSERT INTO shop.orders (n) SELECT 0 FROM generate_series(1, 10)",
        "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON shop.orders TO @app",
        'GRANT SELECT, INSERT, UPDATE ON shop."Lines" TO @team WITH GRANT OPTION',
        "GRANT SELECT, UPDATE (n), INSERT (n) ON shop.orders TO @batch",
        'GRANT INSERT ON shop."Lines" TO PUBLIC',
        "GRANT SELECT, INSERT, UPDATE, DELETE ON shop.orders TO @other",
    )
    try:
        yield found
    finally:
        found.root(*(f"DROP OWNED BY @{name} CASCADE" for name in NAMES))
        found.root(*(f"DROP ROLE @{name}" for name in NAMES))


def _refused(conn: Connection, statement: str) -> bool:
    try:
        conn.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


WRITES = {
    "app": ("INSERT INTO shop.orders (n) VALUES (1)", "TRUNCATE shop.orders"),
    "batch": ("UPDATE shop.orders SET n = 5", 'INSERT INTO shop."Lines" (n) VALUES (1)'),
    "other": ("DELETE FROM shop.orders", 'INSERT INTO shop."Lines" (n) VALUES (1)'),
}


def test_all_rights_go_and_come_back_as_they_were(place: Place) -> None:
    with closing(place.connect("team")) as conn:
        conn.execute(f'GRANT UPDATE ON shop."Lines" TO {place.role("other")}'.encode())
    place.root("GRANT @team TO @bridge")
    fence = place.fence()
    assert [each for each in place.check(fence) if each.severity == "error"] == []
    before = place.root(RIGHTS)
    for _ in range(2):
        assert place.engage(fence)
    for role, statements in WRITES.items():
        with closing(place.connect(role)) as conn:
            assert all(_refused(conn, statement) for statement in statements)
    with closing(place.connect("other")) as conn:
        assert _refused(conn, 'UPDATE shop."Lines" SET n = 1')
        conn.execute("SELECT * FROM shop.orders")
    place.as_bridge("INSERT INTO shop.orders (n) VALUES (1)")
    place.as_bridge("GRANT INSERT ON shop.orders TO @team")
    with closing(place.connect("batch")) as conn:
        conn.execute("INSERT INTO shop.orders (n) VALUES (1)")
        assert place.engage(fence)
        assert _refused(conn, "INSERT INTO shop.orders (n) VALUES (1)")
    for _ in range(2):
        assert place.release() == []
    place.as_bridge("REVOKE INSERT ON shop.orders FROM @team")
    assert place.root(RIGHTS) == before


def test_only_some_roles_are_fenced_with_all_that_they_have_by_others(place: Place) -> None:
    assert place.engage(place.fence(("batch",)))
    with closing(place.connect("batch")) as conn:
        assert all(_refused(conn, statement) for statement in WRITES["batch"])
    with closing(place.connect("app")) as conn:
        assert not _refused(conn, WRITES["app"][0])
    assert place.release() == []


LEVELS = (IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ)


@contextmanager
def _writing(place: Place) -> Iterator[list[int]]:
    """Writers in autocommit, prepared, and in transactions; yields the numbers of their commits."""
    stop, done = threading.Event(), [0]

    def run(level: IsolationLevel) -> None:
        with closing(place.connect("app", autocommit=False)) as conn:
            conn.isolation_level = level
            while not stop.is_set():
                try:
                    conn.execute("SELECT count(*) FROM pg_class")
                    for _ in range(3):
                        conn.execute("INSERT INTO shop.orders (n) VALUES (%s)", (1,), prepare=True)
                    conn.commit()
                    done[0] += 1
                except psycopg.errors.InsufficientPrivilege:
                    conn.rollback()

    threads = [threading.Thread(target=run, args=(level,)) for level in LEVELS * 3]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _await(done: list[int]) -> None:
    goal, deadline = done[0] + 20, time.monotonic() + 60
    while done[0] < goal:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_writers_under_way_are_waited_for_and_nothing_gets_through(place: Place) -> None:
    with _writing(place) as done:
        for _ in range(3):
            _await(done)
            assert place.engage(place.fence(), PATIENT)
            before = place.root("SELECT count(*) FROM shop.orders")
            time.sleep(0.1)
            assert place.root("SELECT count(*) FROM shop.orders") == before
            assert place.release() == []
        _await(done)


@pytest.mark.parametrize("level", LEVELS)
def test_an_old_snapshot_lets_no_write_through(place: Place, level: IsolationLevel) -> None:
    with closing(place.connect("app", autocommit=False)) as conn:
        conn.isolation_level = level
        conn.execute("SELECT 1 FROM pg_class LIMIT 1")
        assert place.engage(place.fence())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("INSERT INTO shop.orders (n) VALUES (1)")


@pytest.mark.parametrize("end", [True, False])
def test_a_transaction_in_the_way_is_named_and_ended_or_waited_for(place: Place, end: bool) -> None:
    with closing(place.connect("app", autocommit=False)) as conn:
        conn.execute("INSERT INTO shop.orders (n) VALUES (77)")
        with closing(place.connect("bridge")) as admin:
            limits = Limits(seconds=60 if end else 0.5, lock_seconds=0.2, end=end)
            proof = place.fence().engage(admin, place.notes, limits)
        assert proof.holds == end
        # Who takes his time to end is ended again.
        found = proof.ended if end else proof.blockers
        assert {(each.id, each.user, each.table) for each in found} == {
            (conn.info.backend_pid, place.role("app"), "shop.orders")
        }
        if end:
            with pytest.raises(psycopg.OperationalError):
                conn.commit()
        else:
            assert place.notes.read() is None
            conn.commit()
    count = place.root("SELECT count(*) FROM shop.orders WHERE n = 77")
    assert count == [(0 if end else 1,)]


def test_nobody_is_ended_when_there_is_no_time_left_to_try_again(place: Place) -> None:
    with closing(place.connect("app", autocommit=False)) as conn:
        conn.execute("INSERT INTO shop.orders (n) VALUES (77)")
        with closing(place.connect("bridge")) as admin:
            limits = Limits(seconds=0.5, lock_seconds=0.5)
            proof = place.fence().engage(admin, place.notes, limits)
        assert not proof.holds
        assert [each.id for each in proof.blockers] == [conn.info.backend_pid]
        assert proof.ended == ()
        conn.commit()


def test_who_takes_his_time_to_end_is_named_once(place: Place) -> None:
    def act(seconds: float) -> None:
        with admin.transaction():
            limit_locks(admin, seconds)
            admin.execute("SELECT pg_advisory_xact_lock(1)")

    def blockers() -> list[Session]:
        seen.append(None)
        if len(seen) == 3:  # he was ended twice
            hindrance.rollback()
        return [Session(pid, place.role("app"), "")]

    seen: list[None] = []
    with (
        closing(place.connect("app")) as conn,
        closing(place.db.connect(autocommit=False)) as hindrance,
        closing(place.connect("bridge")) as admin,
    ):
        pid = conn.info.backend_pid
        conn.execute("SELECT pg_advisory_lock(1)")
        hinder(conn, hindrance)
        proof = insist(admin, act, blockers, Limits(seconds=60, lock_seconds=0.001))
    assert proof.holds and len(seen) >= 3
    assert [each.id for each in proof.ended] == [pid]


def test_who_may_not_be_ended_is_named(place: Place) -> None:
    place.root("REVOKE pg_signal_backend FROM @bridge")
    with closing(place.connect("app", autocommit=False)) as conn:
        conn.execute("INSERT INTO shop.orders (n) VALUES (77)")
        with closing(place.connect("bridge")) as admin:
            limits = Limits(seconds=0.5, lock_seconds=0.1)
            proof = place.fence().engage(admin, place.notes, limits)
        assert not proof.holds
        assert not proof.ended
        assert [each.id for each in proof.blockers] == [conn.info.backend_pid]
        conn.commit()


def test_who_alters_a_table_is_named_and_waited_for_no_longer_than_he_may_be(place: Place) -> None:
    with closing(place.connect("bridge", autocommit=False)) as conn:
        conn.execute("ALTER TABLE shop.orders ADD COLUMN more int")
        with closing(place.connect("bridge")) as admin:
            admin.execute("SET statement_timeout = '20s'")  # instead of a hang
            proof = place.fence().engage(admin, place.notes, Limits(seconds=0.5, lock_seconds=0.1))
        assert not proof.holds
        assert [each.id for each in proof.blockers] == [conn.info.backend_pid]
        conn.rollback()


def test_rights_that_somebody_grants_meanwhile_are_taken_as_well(place: Place) -> None:
    """His transaction holds no lock on the table, but on its row in the catalogue."""
    before = place.root(RIGHTS)
    with (
        closing(place.connect("bridge", autocommit=False)) as conn,
        closing(place.connect("bridge")) as admin,
    ):
        conn.execute('GRANT UPDATE ON shop."Lines" TO PUBLIC')
        admin.execute("SET statement_timeout = '20s'")
        limits = Limits(seconds=0.5, lock_seconds=0.1, end=False)
        assert not place.fence().engage(admin, place.notes, limits).holds
        assert place.notes.read() is None
        done = threading.Timer(0.3, conn.commit)
        done.start()
        assert place.fence().engage(admin, place.notes, LIMITS).holds
        done.join()
    with closing(place.connect("other")) as conn:
        assert _refused(conn, 'UPDATE shop."Lines" SET n = 1')
    assert place.release() == []
    assert set(place.root(RIGHTS)) > set(before)


def test_writers_who_hold_one_table_and_want_another_are_no_deadlock(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the writer is; each try is too short for PostgreSQL to look for deadlocks.
    monkeypatch.setattr("bridge.cutover.fences.target.GENTLE_SECONDS", 60)
    place.root('GRANT INSERT ON shop."Lines" TO @app')
    with closing(place.connect("app", autocommit=False)) as conn:
        conn.execute("INSERT INTO shop.orders (n) VALUES (77)")  # which is locked last
        done = threading.Event()

        def go_on() -> None:
            done.wait(0.02)
            conn.execute('INSERT INTO shop."Lines" (n) VALUES (77)')
            conn.commit()

        other = threading.Thread(target=go_on)
        other.start()
        with closing(place.connect("bridge")) as admin:
            proof = place.fence().engage(admin, place.notes, LIMITS)
        other.join()
    assert proof.holds
    assert not proof.ended
    assert place.root("SELECT count(*) FROM shop.orders WHERE n = 77") == [(1,)]


def test_writers_of_several_tables_who_leave_no_gap_are_kept_out_unharmed(place: Place) -> None:
    """One of them always holds a table that is locked last, and wants one that is locked first."""
    place.root('GRANT INSERT ON shop."Lines" TO @app')
    stop, written = threading.Event(), [0]

    def write() -> None:
        with closing(place.connect("app", autocommit=False)) as conn:
            while not stop.is_set():
                try:
                    conn.execute("INSERT INTO shop.orders (n) VALUES (77)")
                    stop.wait(0.05)
                    conn.execute('INSERT INTO shop."Lines" (n) VALUES (77)')
                    conn.commit()
                    written[0] += 1
                except psycopg.errors.InsufficientPrivilege:
                    conn.rollback()
                    return

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        _await(written)
        with closing(place.connect("bridge")) as admin:
            proof = place.fence().engage(admin, place.notes, PATIENT)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert proof.holds
    assert not proof.ended
    counts = place.root(
        "SELECT count(*) FROM shop.orders WHERE n = 77"
        ' UNION ALL SELECT count(*) FROM shop."Lines" WHERE n = 77'
    )
    assert counts == [(written[0],), (written[0],)]


def test_the_note_is_part_of_the_transaction(place: Place) -> None:
    before = place.root(RIGHTS)
    with closing(place.connect("bridge", autocommit=False)) as conn:
        conn.execute("SELECT 1")
        assert place.fence().engage(conn, place.notes, LIMITS).holds
        conn.rollback()
    assert place.root(RIGHTS) == before


def test_what_it_cannot_stop_is_named(place: Place) -> None:
    place.root(
        "GRANT @bridge TO @other",
        "CREATE FUNCTION shop.sneak() RETURNS void LANGUAGE sql SECURITY DEFINER AS"
        " $$INSERT INTO shop.orders (n) VALUES (1)$$",
        "CREATE VIEW shop.seen AS SELECT * FROM shop.orders",
        "GRANT INSERT ON shop.seen TO @app",
        "ALTER ROLE @batch SUPERUSER",
    )
    fence = place.fence(("batch", "nobody"))
    found = place.check(fence)
    said = {(each.code, each.severity) for each in found}
    assert {("not-stopped", "warning"), ("not-stopped", "error")} <= said
    assert ("no-such-role", "error") in said
    around = [each for each in found if each.code == "goes-around"]
    assert len(around) == 2
    place.root(*(line for each in around for line in each.statements))
    place.root("ALTER ROLE @batch NOSUPERUSER", "REVOKE @bridge FROM @other")
    assert [each.severity for each in place.check(place.fence())] == ["warning"] * sum(
        1 for _ in place.root("SELECT 1 FROM pg_roles WHERE rolsuper AND rolcanlogin")
    )


def test_rights_that_it_needs_are_told_by_lines_that_work(place: Place) -> None:
    fence = TargetFence(TABLES, None, (place.role("bridge"), place.role("team")))
    place.root("REVOKE pg_signal_backend FROM @bridge", "GRANT @app TO @team")
    with closing(place.connect("team")) as conn:
        problems = check_target(conn, fence)
        assert {each.code for each in problems} == {"not-the-owner"}
        place.root(*(line for each in problems for line in each.statements))
        lines = [line for each in check_target(conn, fence) for line in each.statements]
        place.root(*lines)
        assert [each for each in check_target(conn, fence) if each.severity == "error"] == []
        assert fence.engage(conn, place.notes, LIMITS).holds
        assert release(conn, place.notes) == []


def test_partitions_are_fenced_and_what_is_no_more_is_told(place: Place) -> None:
    place.as_bridge(
        "CREATE TABLE shop.big (id int, n int) PARTITION BY RANGE (id)",
        "CREATE TABLE shop.part PARTITION OF shop.big FOR VALUES FROM (0) TO (100)",
        "GRANT INSERT ON shop.big, shop.part TO @app",
    )
    fence = TargetFence((TableName("shop", "big"),), None, (place.role("bridge"),))
    assert place.engage(fence)
    with closing(place.connect("app")) as conn:
        assert _refused(conn, "INSERT INTO shop.part VALUES (1, 1)")
        assert _refused(conn, "INSERT INTO shop.big VALUES (1, 1)")
    place.as_bridge("DROP TABLE shop.part")
    (lost,) = place.release()
    assert lost.startswith("the table is no more: GRANT INSERT")
