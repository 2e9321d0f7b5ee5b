"""Who may claim a part: one worker at a time, and another one once that one is gone or silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import psycopg
import pytest

from bridge.names import TableName
from bridge.store.migrate import migrate
from bridge.verify.ledger import STALE_SECONDS, Ledger
from bridge.verify.records import Part, Run
from tests.fix_servers import TargetDatabase

PART = Part(TableName("shop", "orders"), 0, "v1", None, None)


class Place:
    """A run with one part, and workers' ledgers, each over a session of its own."""

    def __init__(self, target: TargetDatabase, stack: ExitStack) -> None:
        self._target, self._stack = target, stack
        self.admin = self.session()
        migrate(self.admin)
        self.admin.execute("INSERT INTO dbbridge.pipeline (name) VALUES ('p')")
        self.ledger = Ledger(self.admin, "p")
        self.run: Run = self.ledger.begin("values", "celery", certify=False)
        self.ledger.add_parts(self.run, [PART])

    def session(self) -> psycopg.Connection[tuple[object, ...]]:
        return self._stack.enter_context(closing(self._target.connect()))

    def worker(self) -> Ledger:
        return Ledger(self.session(), "p")

    def holder(self) -> str:
        (part,) = self.ledger.standing(self.run)
        return part.holder


@pytest.fixture
def place(target_db: TargetDatabase) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(target_db, stack)


def test_a_part_is_free_as_soon_as_the_workers_session_is_gone(place: Place) -> None:
    first, second = place.worker(), place.worker()
    assert first.claim(place.run, PART, "a:1") == 1
    assert second.claim(place.run, PART, "b:2") is None
    assert place.holder() == "a:1"
    first.conn.execute("SELECT 1")
    place.admin.execute("SELECT pg_terminate_backend(%s, 60000)", (first.conn.info.backend_pid,))
    assert place.holder() == ""
    assert second.claim(place.run, PART, "b:2") == 2
    assert place.holder() == "b:2"


def test_a_silent_worker_loses_its_part_and_finds_out(place: Place) -> None:
    frozen, second = place.worker(), place.worker()
    claim = frozen.claim(place.run, PART, "a:1")
    assert claim == 1
    place.admin.execute(
        "UPDATE dbbridge.verification_parts SET beat_at = beat_at - make_interval(secs => %s)",
        (STALE_SECONDS,),
    )
    assert frozen.beat(place.run, PART, claim), "one that wakes in time keeps it"
    assert second.claim(place.run, PART, "b:2") is None
    place.admin.execute(
        "UPDATE dbbridge.verification_parts SET beat_at = beat_at - make_interval(secs => %s)",
        (STALE_SECONDS,),
    )
    assert second.claim(place.run, PART, "b:2") == 2
    assert not frozen.beat(place.run, PART, claim)
    frozen.release(place.run, PART, claim)
    assert place.holder() == "b:2"


def test_attempts_are_counted_until_one_comes_further(place: Place) -> None:
    def tries() -> tuple[int, str]:
        (part,) = place.ledger.standing(place.run)
        return part.tries, part.error

    worker = place.worker()
    for _ in range(2):
        assert worker.claim(place.run, PART, "a:1")  # and dies
    assert tries() == (2, "")
    claim = worker.claim(place.run, PART, "a:1")
    assert claim is not None
    worker.release(place.run, PART, claim)
    assert tries() == (2, "")
    worker.fail(place.run.id, PART.table, PART.number, "no")
    assert tries() == (3, "no")
    place.ledger.forgive(place.run)
    assert tries() == (0, "")


def test_one_does_what_only_one_may(place: Place) -> None:
    first, second = place.worker(), place.worker()
    with (
        first.alone("start") as mine,
        second.alone("start") as too,
        second.alone("follow") as other,
    ):
        assert (mine, too, other) == (True, False, True)
    with second.alone("start") as mine:
        assert mine
