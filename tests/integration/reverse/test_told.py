"""What is told of the stream back: nothing that it does not know yet."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from bridge.cutover.keeper import Keeper
from bridge.cutover.wayback import Course, StreamBack
from bridge.databases import postgres
from bridge.reverse import slots
from bridge.reverse.run import Facts
from bridge.reverse.stream import Alive, Data, Stream
from tests.integration.reverse.rig import GROUP, PIPELINE, WAITING, Rig
from tests.waiting import until

TABLES = {"one": "id int PRIMARY KEY, n int"}
HEARING = """
CREATE TABLE dbbridge.said (n serial, status jsonb);
CREATE FUNCTION dbbridge.hear() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO dbbridge.said (status) VALUES (NEW.status); RETURN NULL; END';
CREATE TRIGGER heard AFTER UPDATE ON dbbridge.way_back
    FOR EACH ROW EXECUTE FUNCTION dbbridge.hear()
"""
SAYS: dict[str, dict[str, object]] = {
    "well": {"lag_seconds": 0, "stopped": False, "error": None, "rollback_available": True},
    "begun": {"lag_seconds": None, "stopped": False, "error": None, "rollback_available": True},
    "stopped": {"lag_seconds": None, "stopped": True, "rollback_available": False},
}
"""What is told of a stream that is near, of one that is begun anew after it, and so on."""


def facts_of(rig: Rig) -> Facts:
    assert rig.reverse is not None
    return rig.reverse.facts()


def stopped(rig: Rig) -> None:
    """It has applied all, the source knows it, and it does not run: nothing is sent again."""
    rig.make(TABLES)
    rig.start()
    rig.drain()
    end = rig.end()
    until(lambda: rig.rows("SELECT lsn FROM _bridge_reverse")[0][0] >= end)
    assert rig.reverse is not None
    rig.reverse.stop()
    rig.await_idle()


def test_a_session_that_has_got_nowhere_knows_nothing(rig: Rig) -> None:
    stopped(rig)
    rig.write("INSERT INTO one VALUES (1, 1)")
    with closing(rig.source.connect()) as conn:
        conn.query("LOCK TABLES one READ")
        rig.start()
        assert not facts_of(rig).known
        until(lambda: rig.rows(WAITING.format(rig.accounts.name)) == [(1,)])
        facts = facts_of(rig)
        assert not facts.known and facts.lag_seconds is None
    assert rig.drain().known
    rig.until(lambda facts: facts.lag_seconds == 0)


def test_a_session_with_nothing_to_apply_is_near(rig: Rig) -> None:
    stopped(rig)
    rig.start()
    assert rig.until(lambda facts: facts.lag_seconds == 0).known


def test_what_was_not_sent_yet_is_behind(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a server that decodes for long between two transactions of a backlog."""
    stopped(rig)
    rig.write("INSERT INTO one VALUES (1, 1)")
    rig.write("INSERT INTO one VALUES (2, 2)")
    read, goes_on, came = Stream.read, threading.Event(), [b""]

    def slowly(stream: Stream) -> Data | Alive | None:
        """Nothing comes behind the first row's commit; a marker may be sent again before it."""
        if came[-2:] == [b"I", b"C"] and not goes_on.is_set():
            return None
        message = read(stream)
        if isinstance(message, Data):
            came.append(message.raw[message.at : message.at + 1])
        return message

    monkeypatch.setattr(Stream, "read", slowly)
    rig.start()
    until(lambda: rig.rows("SELECT id FROM one") == [(1,)])
    facts = rig.until(lambda facts: facts.known and not facts.lag_seconds)
    assert facts.lag_seconds is None
    goes_on.set()
    rig.until(lambda facts: facts.lag_seconds == 0)
    assert rig.same() == 2


def test_the_log_has_it_before_it_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(rig)
    with rig.bridge() as conn:
        slots.disarm(conn, PIPELINE, GROUP)
    said: list[tuple[str, bool]] = []

    def say(event: str, **_: object) -> None:
        said.append((event, facts_of(rig).stopped))

    monkeypatch.setattr("bridge.reverse.run.log", SimpleNamespace(error=say, warning=say))
    rig.start()
    until(lambda: facts_of(rig).stopped)
    assert said == [("reverse-stopped", False)]


@contextmanager
def kept(rig: Rig) -> Iterator[list[Course]]:
    """A daemon's streams back, and each that was begun: it tells, and retries, at each look."""
    begun: list[Course] = []

    class Quick(Keeper):
        def _plans(self, conn: psycopg.Connection[Any], group: str) -> Any:
            return list(rig.plans.values())

        def _begin(self, conn: psycopg.Connection[Any], course: Course) -> None:
            super()._begin(conn, course)
            begun.append(course)

    source, target = rig.endpoints

    def open_target() -> psycopg.Connection[Any]:
        return postgres.connect(target, autocommit=True)

    keeper = Quick(PIPELINE, source, target, open_target, dict)
    keeper.start()
    try:
        yield begun
    finally:
        keeper.stop()


def test_a_stream_that_stopped_is_told_so_until_one_gets_further(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("TELL_SECONDS", "RETRY_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(f"bridge.cutover.keeper.{limit}", 0.01)
    rig.make({"log": "a int, b int"})
    with closing(rig.source.connect(autocommit=True)) as source, rig.bridge() as target:
        back = StreamBack(
            PIPELINE, GROUP, rig.source.name, list(rig.plans.values()), source, target
        )
        back.arm(10, 10)
        back.begin(1)
        target.execute("INSERT INTO dbbridge.cutovers (pipeline, grp, state)"
                       " VALUES (%s, %s, 'target-primary')", (PIPELINE, GROUP))  # fmt: skip
        target.execute(HEARING)

        def told(what: str) -> bool:
            """Whether it says so now."""
            return (back.told() or {}).items() >= SAYS[what].items()

        with kept(rig):
            rig.write("INSERT INTO log VALUES (1, 1)")
            until(lambda: rig.rows("SELECT a FROM log") == [(1,)] and told("well"))
            rig.rows("DELETE FROM log")
            rig.write("DELETE FROM log")
            until(lambda: told("stopped"))
            target.execute("TRUNCATE dbbridge.said")
        for _ in range(2):  # a daemon that is begun anew knows no more
            with kept(rig) as begun:
                until(lambda begun=begun: len(begun) > 3)  # type: ignore[misc]
        heard = [status for (status,) in target.execute("SELECT status FROM dbbridge.said")]
        assert heard and all(status.items() >= SAYS["stopped"].items() for status in heard), heard
        rig.rows("INSERT INTO log VALUES (1, 1)")
        with kept(rig):
            until(lambda: told("well"))
        source.query("LOCK TABLES log READ")
        rig.write("INSERT INTO log VALUES (2, 2)")
        with kept(rig):
            until(lambda: told("begun"))
            source.query("UNLOCK TABLES")
            until(lambda: told("well") and rig.rows("SELECT a FROM log") == [(2,)])
    assert rig.same() == 1
