"""Publication, slot and identities; what is in the way is named, what is lost is said."""

from __future__ import annotations

import threading

import pytest

from bridge.errors import ServerRefused
from bridge.reverse import slots
from bridge.reverse.position import ReverseTaken
from bridge.reverse.publication import unpublished
from bridge.reverse.slots import SlotBlocked, SlotLost
from tests.integration.reverse.rig import GROUP, PIPELINE, Rig

TABLES = {"one": "id int PRIMARY KEY, n int", "log": "a int, b int"}


@pytest.fixture
def armed(rig: Rig) -> Rig:
    rig.make(TABLES)
    rig.arm()
    return rig


def identity(rig: Rig, table: str) -> str:
    with rig.target.connect() as conn:
        name = f'"{rig.source.name}"."{table}"'
        row = conn.execute("SELECT relreplident FROM pg_class WHERE oid = %s::regclass", (name,))
        found = row.fetchone()
    assert found is not None
    return str(found[0])


def test_arming_again_changes_nothing_and_disarming_gives_back(armed: Rig) -> None:
    with armed.bridge() as conn:
        name = slots.slot_name(armed.target.name, PIPELINE, GROUP)
        first = slots.read_slot(conn, name)
        again = slots.arm(conn, PIPELINE, GROUP, list(armed.plans.values()))
        assert first is not None
        assert (again.state, again.active, again.confirmed) == ("reserved", False, first.confirmed)
        assert (identity(armed, "log"), identity(armed, "one")) == ("f", "d")
        armed.write("INSERT INTO log VALUES (1, 1)", "UPDATE log SET b = 2")
        slots.advance(conn, name, slots.marker(conn))
        moved = slots.read_slot(conn, name)
        assert moved is not None and moved.confirmed > first.confirmed
        for _ in range(2):
            slots.disarm(conn, PIPELINE, GROUP)
        assert slots.read_slot(conn, name) is None
        assert (identity(armed, "log"), identity(armed, "one")) == ("d", "d")


def test_a_table_that_was_made_anew_is_published_again(armed: Rig) -> None:
    """As another one takes the place of one that was copied again."""
    plans = list(armed.plans.values())
    name = slots.slot_name(armed.target.name, PIPELINE, GROUP)
    with armed.bridge() as conn:
        assert unpublished(conn, name, plans) == []
        for table in ("one", "log"):
            old = f'"{armed.source.name}"."{table}"'
            conn.execute(f'CREATE TABLE {old[:-1]}__copy2" (LIKE {old} INCLUDING ALL)'.encode())
            conn.execute(f"DROP TABLE {old}".encode())
            conn.execute(f'ALTER TABLE {old[:-1]}__copy2" RENAME TO "{table}"'.encode())
        conn.execute(f"ALTER PUBLICATION \"{name}\" SET (publish = 'insert')".encode())
        (publication, mends), (keyless, full) = unpublished(conn, name, plans)
        assert f"lacks {armed.source.name}.log, {armed.source.name}.one" in publication
        assert "has no key" in keyless
        for statement in (*mends.split("; "), full):
            conn.execute(statement.encode())
        assert unpublished(conn, name, plans) == []
        conn.execute(f"ALTER PUBLICATION \"{name}\" SET (publish = 'insert')".encode())
        conn.execute(f'ALTER PUBLICATION "{name}" DROP TABLE "{armed.source.name}".one'.encode())
        conn.execute(f'ALTER TABLE "{armed.source.name}".log REPLICA IDENTITY DEFAULT'.encode())
        slots.arm(conn, PIPELINE, GROUP, plans)
        assert unpublished(conn, name, plans) == []


def test_names_are_the_servers_and_never_alike() -> None:
    made = {
        slots.slot_name(*place)
        for place in (("a", "b", "c"), ("ab", "", "c"), ("a", "B", "c"), ("a", "b" * 90, "ü"))
    }
    assert len(made) == 4
    assert all(len(name) <= 63 and name.replace("_", "").isalnum() for name in made)


def test_whoever_is_in_the_way_is_named_and_waited_for(rig: Rig) -> None:
    rig.make(TABLES)
    with rig.target.connect(autocommit=False) as writer, rig.bridge() as conn:
        writer.execute("CREATE TABLE elsewhere (a int)")
        pid = writer.info.backend_pid
        with pytest.raises(SlotBlocked, match=f"pid {pid} "):
            slots.arm(conn, PIPELINE, GROUP, list(rig.plans.values()), lock_seconds=0.2)
        assert slots.read_slot(conn, slots.slot_name(rig.target.name, PIPELINE, GROUP)) is None
        later = threading.Timer(0.3, writer.rollback)
        later.start()
        slot = slots.arm(conn, PIPELINE, GROUP, list(rig.plans.values()), lock_seconds=60)
        later.join()
    assert slot.state == "reserved"


def test_without_the_right_it_is_refused(rig: Rig) -> None:
    rig.make(TABLES)
    with rig.target.connect() as conn:
        conn.execute(f'ALTER ROLE "{rig.accounts.name}" NOREPLICATION'.encode())
    with pytest.raises(ServerRefused, match="cannot be made"):
        rig.arm()


def test_a_slot_that_is_gone_stops_it(armed: Rig) -> None:
    armed.start()
    armed.write("INSERT INTO one VALUES (1, 1)")
    armed.drain()
    assert armed.reverse is not None
    armed.reverse.stop()
    armed.await_idle()
    with armed.bridge() as conn:
        slots.disarm(conn, PIPELINE, GROUP)
    armed.start()
    with pytest.raises(AssertionError, match="does not exist any more"):
        armed.until(lambda _: False)
    assert isinstance(armed.reverse.facts().error, SlotLost)


def test_a_source_that_lost_commits_is_told(armed: Rig) -> None:
    armed.start(keep_seconds=0)
    armed.write("INSERT INTO one VALUES (1, 1)")
    applied = armed.drain().applied
    assert armed.reverse is not None
    armed.reverse.stop()
    armed.await_idle()
    with armed.bridge() as conn:
        slots.advance(conn, slots.slot_name(armed.target.name, PIPELINE, GROUP), applied)
    armed.rows("UPDATE _bridge_reverse SET lsn = lsn - 1000")
    armed.flip = 0
    armed.start()
    with pytest.raises(AssertionError, match="was told"):
        armed.until(lambda _: False)


def test_a_target_that_lost_commits_is_told(armed: Rig) -> None:
    """It writes anew where the source has been already."""
    armed.start()
    armed.write("INSERT INTO one VALUES (1, 1)")
    armed.drain()
    assert armed.reverse is not None
    armed.reverse.stop()
    armed.rows("UPDATE _bridge_reverse SET lsn = lsn + 1000000000000")
    armed.start()
    with pytest.raises(AssertionError, match="the target only at"):
        armed.until(lambda _: False)
    assert isinstance(armed.reverse.facts().error, SlotLost)


def test_what_a_failover_of_the_source_lost_is_sent_again(armed: Rig) -> None:
    armed.start()
    armed.write("INSERT INTO one VALUES (1, 1)")
    before = armed.drain().applied
    armed.write("INSERT INTO one VALUES (2, 2)", "INSERT INTO log VALUES (1, 1), (1, 1)")
    armed.drain()
    assert armed.reverse is not None
    armed.reverse.stop()
    for statement in ("DELETE FROM one WHERE id = 2", "DELETE FROM log"):
        armed.rows(statement)
    armed.rows(f"UPDATE _bridge_reverse SET lsn = {before}")
    armed.start()
    armed.drain()
    armed.same()


def test_a_later_epoch_ends_an_earlier_one(armed: Rig) -> None:
    armed.start()
    armed.write("INSERT INTO one VALUES (1, 1)")
    armed.drain()
    armed.rows("UPDATE _bridge_reverse SET epoch = 2")
    armed.write("INSERT INTO one VALUES (2, 2)")
    with pytest.raises(AssertionError, match="another process"):
        armed.drain()
    assert armed.reverse is not None
    assert isinstance(armed.reverse.facts().error, ReverseTaken)
    assert armed.rows("SELECT id FROM one") == [(1,)]


def test_a_column_that_goes_stops_it_and_one_that_comes_does_not(armed: Rig) -> None:
    armed.start()
    name = armed.source.name
    armed.write("INSERT INTO one VALUES (1, 1)", f'ALTER TABLE "{name}".one ADD more int DEFAULT 1')
    armed.write("INSERT INTO one VALUES (2, 2, 2)")
    armed.drain()
    armed.write(f'ALTER TABLE "{name}".one DROP n', "INSERT INTO one VALUES (3, 3)")
    with pytest.raises(AssertionError, match="column n is gone"):
        armed.drain()
    assert armed.rows("SELECT id, n FROM one") == [(1, 1), (2, 2)]


def test_a_table_that_got_another_name_stops_it(armed: Rig) -> None:
    armed.start()
    name = armed.source.name
    armed.write(f'ALTER TABLE "{name}".one RENAME TO other', "INSERT INTO other VALUES (1, 1)")
    with pytest.raises(AssertionError, match="is published"):
        armed.drain()


def test_a_row_that_the_source_does_not_have_stops_it(armed: Rig) -> None:
    armed.start()
    armed.write("INSERT INTO log VALUES (1, 1)")
    armed.drain()
    armed.rows("DELETE FROM log")
    armed.write("DELETE FROM log")
    with pytest.raises(AssertionError, match="is not in the source"):
        armed.drain()


def test_a_server_that_restarts_its_session_is_no_end(armed: Rig) -> None:
    reverse = armed.start()
    armed.drain()
    with armed.target.connect() as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_replication WHERE usename = %s",
            (armed.accounts.name,),
        )
    armed.write("INSERT INTO one VALUES (1, 1)")
    armed.drain()
    armed.same()
    assert reverse.facts().error is None
