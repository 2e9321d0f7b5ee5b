"""What operators ask for is answered, whatever the servers say to it; nothing else stands still."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from bridge.errors import LeaseLost
from bridge.replicate import requests
from bridge.store.lease import acquire
from bridge.store.state import Q
from tests.engines import Rig
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.waiting import until


@pytest.fixture
def rig(source_db: SourceDatabase, target_db: TargetDatabase) -> Iterator[Rig]:
    """Two small tables, carried."""
    rig = Rig(source_db, target_db)
    for table in ("t", "other"):
        rig.mysql(
            f"CREATE TABLE {table} (id int PRIMARY KEY, v varchar(20))",
            f"INSERT INTO {table} VALUES (1, 'a'), (2, 'b')",
        )
    rig.carry("t", "other")
    yield rig
    rig.close()


def ask(rig: Rig, verb: str, table: str, argument: str = "") -> str:
    """What is answered."""
    with closing(rig.servers.target()) as conn:
        number = requests.leave(conn, rig.lease.pipeline, verb, rig.name(table), argument)

        def answered() -> bool:
            found = conn.execute(Q["request_result"], {"id": number}).fetchone()
            return bool(found and found[0])

        until(answered)
        (row,) = conn.execute(Q["request_result"], {"id": number}).fetchall()
        return str(row[1])


def goes_on(rig: Rig, table: str) -> None:
    """A later change arrives."""
    rig.mysql(f"UPDATE {table} SET v = CONCAT(v, '.')")
    rig.same(table)


@contextmanager
def stopped_copy(rig: Rig) -> Iterator[None]:
    """Its first copy cannot begin, since its target holds rows; the other one streams."""
    rig.control.execute(f"INSERT INTO {rig.name('t').postgres} VALUES (9, 'old')".encode())
    with rig.running():
        until(lambda: any(t.fault for t in rig.states("t")))
        yield


def test_a_view_over_a_table_that_is_to_be_made_anew(rig: Rig) -> None:
    with stopped_copy(rig):
        rig.control.execute(f"CREATE VIEW v AS SELECT id FROM {rig.name('t').postgres}".encode())
        answer = ask(rig, "resync", "t")
        assert answer.startswith(f"refused: {rig.name('t')} cannot be dropped: view v depends")
        rig.streams("other")
        goes_on(rig, "other")
        rig.control.execute("DROP VIEW v")
        assert ask(rig, "resync", "t") == f"resync: {rig.name('t')}"
        rig.streams("t", "other")
        goes_on(rig, "t")


def test_a_family_of_which_one_member_cannot_be_made_anew(rig: Rig) -> None:
    """It stays as it is: the others alone would be copied apart from it."""
    rig.mysql(
        "CREATE TABLE a (id int PRIMARY KEY, t int, FOREIGN KEY (t) REFERENCES t (id)"
        " ON DELETE CASCADE)"
    )
    rig.carry("a")
    with stopped_copy(rig):
        rig.control.execute(f"CREATE VIEW v AS SELECT id FROM {rig.name('t').postgres}".encode())
        before = [*rig.states("a"), *rig.states("t")]
        assert all(state.fault for state in before)
        assert "view v depends" in ask(rig, "resync", "a")
        assert [*rig.states("a"), *rig.states("t")] == before


def test_a_table_in_use_that_is_to_be_made_anew(rig: Rig) -> None:
    with stopped_copy(rig):
        with rig.target_db.connect(autocommit=False, application_name="dump") as dump:
            dump.execute(f"SELECT FROM {rig.name('t').postgres}".encode())
            answer = ask(rig, "resync", "t")
            assert answer.startswith(f"refused: {rig.name('t')} is in use by dump (idle in trans")
            rig.streams("other")
            goes_on(rig, "other")
        assert ask(rig, "resync", "t") == f"resync: {rig.name('t')}"
        rig.streams("t", "other")


def test_a_swap_waits_for_readers_while_tables_go_on(rig: Rig) -> None:
    with rig.running():
        rig.streams("t", "other")
        with rig.target_db.connect(autocommit=False) as dump:
            dump.execute(f"SELECT FROM {rig.name('t').postgres}".encode())
            assert ask(rig, "resync", "t") == f"resync: {rig.name('t')}"
            until(lambda: "is in use by" in rig.board.message)
            for _ in range(3):
                goes_on(rig, "t")
                goes_on(rig, "other")
            assert [t.generation for t in rig.stages.tables() if t.source == rig.name("t")] == [
                1,
                2,
            ]
        until(lambda: [t.generation for t in rig.states("t")] == [2])
        goes_on(rig, "t")
    assert [t.stage for t in rig.states("t")] == ["streaming"]


def test_a_row_that_is_locked_is_not_tried_again(rig: Rig) -> None:
    with rig.running():
        rig.streams("t", "other")
        rig.mysql("UPDATE t SET v = 'x\\0' WHERE id = 1")
        until(lambda: rig.ask("SELECT FROM dbbridge.quarantine"))
        ((number,),) = rig.ask("SELECT id FROM dbbridge.quarantine")
        with closing(rig.source_db.connect(autocommit=False)) as writer, writer.cursor() as cursor:
            cursor.execute("UPDATE t SET v = 'fine' WHERE id = 1")
            answer = ask(rig, "retry", "t", str(number))
            assert answer.startswith("refused: a session in the source holds the row of entry")
            goes_on(rig, "other")
            writer.commit()
        rig.same("t")


def test_a_lost_lease_is_no_answer(rig: Rig) -> None:
    rig.stages.register()
    with closing(rig.servers.target()) as conn:
        requests.leave(conn, rig.lease.pipeline, "pause", rig.name("t"))
        served = requests.Requests(rig.control, rig.servers, rig.lease, rig.stages)
        rig.lease.conn.close()
        with closing(acquire(conn, rig.lease.pipeline).conn):
            with pytest.raises(LeaseLost):
                served.serve()
            assert rig.ask("SELECT done_at FROM dbbridge.requests") == [(None,)]
