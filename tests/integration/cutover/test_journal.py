"""The journal on PostgreSQL: two operators, sessions that are killed, and who may change what."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from bridge.cutover.journal import (
    TAKEN_SECONDS,
    Busy,
    Journal,
    Record,
    Superseded,
    whoami,
)
from bridge.cutover.transitions import STATES, IllegalTransition, State
from bridge.cutover.waivers import Waivers
from bridge.store.migrate import migrate
from compose.local.servers import Server
from tests.fix_servers import TargetDatabase
from tests.integration.cutover.lingering import hinder
from tests.waiting import WAIT_SECONDS, until

Open = Callable[[], Journal]
GROUP = "orders"
WRITE = "UPDATE dbbridge.cutovers SET state = %s WHERE pipeline = %s"


@pytest.fixture(scope="module")
def database(postgres: Server) -> Iterator[TargetDatabase]:
    """One for all; each test has a pipeline of its own."""
    made = TargetDatabase(postgres, f"t_{secrets.token_hex(5)}")
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {made.name}".encode())
        with closing(made.connect()) as conn:
            migrate(conn)
        yield made
        admin.execute(f"DROP DATABASE {made.name} WITH (FORCE)".encode())


@pytest.fixture
def operator(database: TargetDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens a session, and the journal over it."""
    monkeypatch.setattr("bridge.cutover.journal.PATIENCE_SECONDS", 0.3)
    pipeline = secrets.token_hex(5)
    with ExitStack() as stack:
        yield lambda: Journal(stack.enter_context(closing(database.connect())), pipeline)


def switch(journal: Journal, record: Record, until: State) -> Record:
    """Does steps until the state is reached."""
    while record.state != until:
        resting = record.state in ("source-primary", "armed", "target-primary")
        record = journal.advance(record, "switch" if resting else "done")
    return record


def end(journal: Journal, by: Journal) -> None:
    """As if the process was killed, or its server thought so; its session is gone afterwards."""
    pid = journal.conn.info.backend_pid
    by.conn.execute("SELECT pg_terminate_backend(%s, %s)", (pid, round(WAIT_SECONDS * 1000)))


def take(journal: Journal, **options: Any) -> Record:
    """Takes the group from somebody whose session is ended, which the server may be slow at."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return journal.take(GROUP, **options)
        except Busy:
            assert time.monotonic() < deadline


def test_a_group_that_was_never_touched_is_the_sources(target_db: TargetDatabase) -> None:
    """Also before the control schema is made."""
    with closing(target_db.connect()) as conn:
        journal = Journal(conn, "p")
        assert journal.read(GROUP) == Record(GROUP)
        assert journal.states() == {}
        assert journal.read_all() == {}
        assert journal.history(GROUP) == ()


def test_a_whole_switch_and_its_history(operator: Open) -> None:
    journal = operator()
    record = journal.take(GROUP)
    assert (record.attempt, record.operator) == (1, whoami())
    assert record.holder == journal.conn.info.backend_pid
    record = journal.advance(record, "switch", plan="abc")
    record = switch(journal, record, "armed")
    record = journal.advance(record, "switch", {"rows": 3}, timeout=30)
    assert record.deadline is not None and record.changed_at is not None
    assert timedelta(seconds=29) < record.deadline - record.changed_at < timedelta(seconds=31)
    assert record.plan == "abc" and record.began_at is not None
    record = switch(journal, record, "target-primary")
    assert record.deadline is None
    assert record == journal.read(GROUP) == operator().read_all()[GROUP]
    assert operator().states() == {GROUP: "target-primary"}
    steps = journal.history(GROUP)
    assert [step.event for step in steps] == ["taken", "switch", "done", "switch"] + ["done"] * 5
    assert all(step.after == after.before for step, after in pairwise(steps))
    assert steps[3].detail == {"rows": 3}
    assert all(step.attempt == 1 and 0 <= step.seconds < 60 for step in steps)
    journal.release(record)
    assert journal.read(GROUP).holder is None


def test_every_state_can_be_written_down(operator: Open) -> None:
    """Those of the table are those that the database knows."""
    journal = operator()
    journal.take(GROUP)
    for state in STATES:
        journal.conn.execute(WRITE, (state, journal.pipeline))
        assert journal.read(GROUP).state == state
    with pytest.raises(psycopg.errors.CheckViolation, match="a_state_is_known"):
        journal.conn.execute(WRITE, ("elsewhere", journal.pipeline))


def test_an_illegal_event_changes_nothing(operator: Open) -> None:
    journal = operator()
    record = switch(journal, journal.take(GROUP), "flipping")
    with pytest.raises(IllegalTransition):
        journal.advance(record, "cancel")
    assert journal.read(GROUP) == record
    assert journal.history(GROUP)[-1].after == "flipping"


def test_one_operator_at_a_time(operator: Open) -> None:
    first, second = operator(), operator()
    record = first.take(GROUP, "anna@desk pid 7")
    with pytest.raises(Busy, match=r"anna@desk pid 7 since 2\d{3}-") as busy:
        second.take(GROUP)
    assert busy.value.transient
    other = second.take("customers")
    assert other.attempt == 1
    first.release(record)
    assert second.take(GROUP).attempt == 2


def test_a_killed_operators_group_is_free(operator: Open) -> None:
    """Whoever takes it resumes where the journal stands; what the first one held is void."""
    first, second = operator(), operator()
    record = switch(first, first.take(GROUP), "draining")
    end(first, second)
    taken = second.take(GROUP)
    assert (taken.state, taken.attempt) == ("draining", 2)
    with pytest.raises(psycopg.OperationalError):
        first.advance(record, "done")
    zombie = operator()  # as if it had found another connection
    for change in changes(zombie, record):
        with pytest.raises(Superseded, match=r"attempt 2, this was 1"):
            change()
    assert second.read(GROUP) == taken


def changes(journal: Journal, record: Record) -> list[Callable[[], object]]:
    """All that may change a row that was taken."""

    def guard() -> None:
        with journal.conn.transaction():
            journal.guard(record)

    return [
        guard,
        lambda: journal.advance(record, "done"),
        lambda: journal.advance(record, "cancel"),
        lambda: journal.note(record, {"a": 1}),
        lambda: journal.forget(record, "a"),
        lambda: journal.fail(record, "late"),
    ]


def test_a_state_is_left_once(operator: Open) -> None:
    """The same attempt with an older record: its answer was lost, or it goes on twice."""
    journal = operator()
    record = switch(journal, journal.take(GROUP), "draining")
    after = journal.advance(record, "done")
    for change in changes(journal, record):
        with pytest.raises(Superseded):
            change()
    assert journal.read(GROUP) == after


def test_a_frozen_operator_is_put_out(operator: Open) -> None:
    """By whoever says so; past the deadline by anybody, but not whoever resumed since."""
    frozen, second, third = operator(), operator(), operator()
    record = switch(frozen, frozen.take(GROUP), "armed")
    frozen.advance(record, "switch", timeout=-60)
    taken = take(second, timeout=30)
    assert (taken.state, taken.attempt) == ("fencing", 2)
    with pytest.raises(psycopg.OperationalError):
        frozen.conn.execute("SELECT 1")
    with pytest.raises(Busy):
        third.take(GROUP)
    assert take(third, evict=True).attempt == 3
    with pytest.raises(psycopg.OperationalError):
        second.conn.execute("SELECT 1")


def test_who_takes_his_time_to_end_is_waited_for(
    operator: Open, database: TargetDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.cutover.journal.EVICTION_SECONDS", WAIT_SECONDS)
    first, second, watcher = operator(), operator(), operator()
    first.take(GROUP)
    with (
        closing(database.connect(autocommit=False)) as hindrance,
        ThreadPoolExecutor() as pool,
    ):
        hinder(first.conn, hindrance)
        taken = pool.submit(second.take, GROUP, evict=True)
        until(lambda: taken.done() or waits_for_an_end(watcher, second.conn.info.backend_pid))
        assert not taken.done()
        hindrance.rollback()
        assert taken.result(WAIT_SECONDS).attempt == 2


def waits_for_an_end(journal: Journal, pid: int) -> bool:
    found = journal.conn.execute(
        "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event = 'BackendTermination'", (pid,)
    )
    return found.rowcount == 1


def test_who_takes_over_may_stand_still_as_well(operator: Open) -> None:
    """He has a deadline of his own, also where he names none; at rest there is none."""
    killed, second, third = operator(), operator(), operator()
    record = killed.advance(switch(killed, killed.take(GROUP), "armed"), "switch", timeout=-60)
    assert killed.overdue(record)
    end(killed, second)
    taken = second.take(GROUP)
    assert taken.deadline is not None and not second.overdue(taken)
    second.conn.execute(
        "UPDATE dbbridge.cutovers SET deadline = deadline - %s * interval '1 second'"
        " WHERE pipeline = %s",
        (TAKEN_SECONDS + 60, second.pipeline),
    )
    assert take(third).attempt == 3
    third.advance(third.advance(third.read(GROUP), "cancel"), "done")
    assert third.read(GROUP).deadline is None


def test_who_may_not_end_a_session_is_told_whose_it_is(
    operator: Open, database: TargetDatabase
) -> None:
    first = operator()
    record = first.take(GROUP, "anna@desk pid 7")
    role = f"r_{database.name}"
    first.conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'".encode())
    try:
        for kind in ("ALL TABLES", "ALL SEQUENCES"):
            first.conn.execute(f"GRANT ALL ON {kind} IN SCHEMA dbbridge TO {role}".encode())
        first.conn.execute(f"GRANT USAGE ON SCHEMA dbbridge TO {role}".encode())
        with closing(database.connect(user=role, password="x")) as conn:  # noqa: SIM117
            with pytest.raises(Busy, match="anna@desk"):
                Journal(conn, first.pipeline).take(GROUP, evict=True)
        first.release(record)
    finally:
        first.conn.execute(f"DROP OWNED BY {role}".encode())
        first.conn.execute(f"DROP ROLE {role}".encode())


def test_a_transition_belongs_to_the_transaction_that_is_open(operator: Open) -> None:
    """The flip: authority and journal, both or neither."""
    journal = operator()
    record = switch(journal, journal.take(GROUP), "sequencing")
    journal.conn.execute("CREATE TABLE authority (side text)")
    journal.conn.execute("BEGIN")
    journal.conn.execute("INSERT INTO authority VALUES ('target')")
    assert journal.advance(record, "done").state == "flipping"
    journal.conn.execute("ROLLBACK")
    assert journal.read(GROUP) == record
    with journal.conn.transaction():
        journal.guard(record)
        journal.conn.execute("INSERT INTO authority VALUES ('target')")
        record = journal.note(record, {"flip": "0/1"})
        record = journal.advance(record, "done")
        assert operator().read(GROUP).state == "sequencing"
    seen = operator().read(GROUP)
    assert seen == record and (seen.state, seen.evidence) == ("flipping", {"flip": "0/1"})


def test_a_guarded_transaction_of_a_zombie_is_rolled_back_or_comes_first(operator: Open) -> None:
    """A takeover waits for the session's end, and so for its transactions."""
    first, second = operator(), operator()
    record = switch(first, first.take(GROUP), "draining")
    first.conn.execute("CREATE TABLE fenced (by text)")

    def fence() -> None:
        with first.conn.transaction():
            first.guard(record)
            first.conn.execute("INSERT INTO fenced VALUES ('a zombie')")
            assert take(second, evict=True).attempt == 2

    with pytest.raises(psycopg.OperationalError):
        fence()
    assert second.conn.execute("SELECT * FROM fenced").fetchall() == []


def test_other_changes_of_authority_and_a_cutover_exclude_each_other(operator: Open) -> None:
    journal, other = operator(), operator()

    def change(group: str) -> None:
        with other.conn.transaction():
            other.require_rest(group)

    change("never touched")
    record = switch(journal, journal.take(GROUP), "armed")
    with other.conn.transaction():
        other.require_rest(GROUP)
        journal.conn.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            journal.advance(record, "switch")
    record = journal.advance(record, "switch")
    with pytest.raises(Busy, match="group orders is fencing"):
        change(GROUP)
    change("customers")


def test_evidence_is_added_to_until_it_is_undone(operator: Open) -> None:
    first, second = operator(), operator()
    record = switch(first, first.take(GROUP), "fencing")
    record = first.note(record, {"fences": {"revoke": ["GRANT a"]}, "read_only": 0})
    end(first, second)
    record = second.take(GROUP)
    record = second.note(record, {"fences": {"revoke": [], "lock": 1}, "read_only": 1})
    expected = {"fences": {"revoke": ["GRANT a"], "lock": 1}, "read_only": 0}
    assert second.read(GROUP).evidence == record.evidence == expected
    record = second.forget(record, "fences", "unknown")
    assert second.read(GROUP).evidence == record.evidence == {"read_only": 0}


def test_what_an_attempt_failed_of_is_kept_until_it_goes_on(operator: Open) -> None:
    journal = operator()
    record = switch(journal, journal.take(GROUP), "draining")
    record = journal.fail(record, "the stream stands still")
    assert journal.read(GROUP) == record and record.error == "the stream stands still"
    assert journal.history(GROUP)[-1].detail == {"error": "the stream stands still"}
    assert journal.advance(record, "cancel").error is None


def test_intents_are_durable_whatever_the_role_has_set(operator: Open) -> None:
    journal = operator()
    journal.conn.execute("SET synchronous_commit = off")
    record = journal.take(GROUP)
    with journal.conn.transaction():
        journal.advance(record, "switch")
        assert setting(journal) == "on"
    assert setting(journal) == "off"
    journal.conn.execute("SET synchronous_commit = remote_apply")
    with journal.conn.transaction():
        journal.note(journal.read(GROUP), {})
        assert setting(journal) == "remote_apply"


def setting(journal: Journal) -> Any:
    row = journal.conn.execute("SHOW synchronous_commit").fetchone()
    return row and row[0]


def test_a_switch_is_announced_and_called_off(operator: Open) -> None:
    journal, other = operator(), operator()
    at = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
    seen = journal.schedule(GROUP, at, "abc", "anna")
    assert seen.schedule is not None and seen.schedule == other.read(GROUP).schedule
    assert (seen.schedule.at, seen.schedule.by, seen.schedule.plan) == (at, "anna", "abc")
    assert other.unschedule(GROUP) and not other.unschedule(GROUP)
    assert journal.read(GROUP).schedule is None
    record = journal.take(GROUP)
    journal.schedule(GROUP, at)
    record = switch(journal, record, "armed")
    assert journal.read(GROUP).schedule is not None
    record = journal.advance(record, "switch")
    assert journal.read(GROUP).schedule is None
    with pytest.raises(IllegalTransition):
        other.schedule(GROUP, at)


def test_waivers_hold_for_what_was_waived(operator: Open) -> None:
    journal = operator()
    waivers = Waivers(journal.conn, journal.pipeline)
    record = journal.take(GROUP)
    waivers.waive(GROUP, "quarantine", "known rows", "e1", "anna")
    waivers.waive(GROUP, "statistics", "small tables", "e2", "anna")
    assert set(waivers.still(GROUP, {"quarantine": "e1", "lag": "x"})) == {
        "quarantine",
        "statistics",
    }
    assert set(waivers.still(GROUP, {"quarantine": "another"})) == {"statistics"}
    assert set(waivers.still(GROUP, {"quarantine": "e1"})) == {"statistics"}
    with pytest.raises(psycopg.errors.CheckViolation, match="a_waiver_has_a_reason"):
        waivers.waive(GROUP, "quarantine", " ", "e1", "anna")
    record = switch(journal, record, "flipping")
    assert [waiver.reason for waiver in waivers.read(GROUP)] == ["small tables"]
    journal.advance(record, "done")
    assert waivers.read(GROUP) == ()
    told = [{"gate": "statistics", "reason": "small tables", "by": "anna"}]
    assert journal.history(GROUP)[-1].detail == {"waived": told}
