"""What the proxy does not let wait: probes behind one another, writes without end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import event

from bridge.dualwrite.http import onetrip
from bridge.dualwrite.http.health import KEEP_SECONDS, Probe
from bridge.dualwrite.http.models import Insert
from bridge.dualwrite.http.onetrip import MOST_WAITING, ToSource, Trips
from bridge.dualwrite.http.problems import Problem
from bridge.dualwrite.http.tables import Tables
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.integration.layered import PIPELINE, TABLE, Layered, layered

pytestmark = pytest.mark.parametrize("source", ["mariadb"], indirect=True)
SECONDS = 2.0
ONE = Insert(do="insert", table="t", values={"n": 1})


@pytest.fixture
def found(source_db: SourceDatabase, target_db: TargetDatabase) -> Iterator[Layered]:
    with layered(source_db, target_db, TABLE) as found:
        found.authority("t", "source", 1)
        yield found


def test_one_probe_at_a_time(found: Layered) -> None:
    tables = Tables(found.plans, found.source_db.name)
    probe = Probe(found.dual, tables, PIPELINE)
    asked, go_on = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        asked.set()
        assert go_on.wait(60)

    event.listen(found.dual.source, "do_execute", hold)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(probe.ready)
        assert asked.wait(60)
        assert probe.ready()["status"] == "not ready"  # nobody knows yet
        go_on.set()
        assert first.result()["status"] == "ok"
        assert probe.ready() == first.result()
        go_on.clear()
        asked.clear()
        deadline = time.monotonic() + 60
        second = pool.submit(probe.ready)
        while not asked.is_set() and time.monotonic() < deadline:
            if second.done():  # what was known was new enough
                second = pool.submit(probe.ready)
            asked.wait(KEEP_SECONDS / 10)
        assert asked.is_set()
        assert probe.ready() == first.result()
        go_on.set()
        assert second.result()["status"] == "ok"


def test_writes_wait_for_a_session_as_long_as_for_an_answer(
    found: Layered, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What waits for the lock would be written after it, had its session not ended by then.
    monkeypatch.setattr(onetrip, "END_SECONDS", 60.0)
    tables = Tables(found.plans, found.source_db.name)
    table = tables.get("t")

    def connect() -> object:
        return found.source_db.connect(autocommit=False, client_flag=1 << 16)

    async def written(trips: Trips) -> str:
        try:
            return "written" if await trips.write([ONE], [table]) else "another way"
        except Problem as problem:
            return problem.code

    async def all_of_them(pool: ThreadPoolExecutor) -> list[str]:
        trips = Trips(found.dual, ToSource(connect, SECONDS), pool, 1)  # type: ignore[arg-type]
        with closing(found.source_db.connect()) as lock, lock.cursor() as cursor:
            cursor.execute("LOCK TABLES t WRITE")
            began = time.monotonic()
            many = [asyncio.create_task(written(trips)) for _ in range(MOST_WAITING + 8)]
            done = [await each for each in many]
            assert time.monotonic() - began < 10 * SECONDS
        trips.close()
        return done

    with ThreadPoolExecutor(2) as pool:
        done = asyncio.run(all_of_them(pool))
    assert done.count("busy") >= MOST_WAITING - 1 and "written" not in done, done
    assert found.count("t") == 0
