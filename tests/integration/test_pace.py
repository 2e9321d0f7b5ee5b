"""What looks at the servers' load ends with the sweep, however long a look takes."""

from __future__ import annotations

import threading
from contextlib import closing

import psycopg
import pytest

from bridge.verify.pace import Throttle
from bridge.verify.probes import Watched
from tests.fix_servers import TargetDatabase
from tests.waiting import WAIT_SECONDS, until


def test_a_look_that_outlasts_the_sweep_leaves_no_session_and_no_word(
    target_db: TargetDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.verify.pace.LOOK_SECONDS", 0.01)  # how long its end is waited for
    looking, over = threading.Event(), threading.Event()
    told: list[str] = []
    opened: list[psycopg.Connection[object]] = []

    def connect() -> psycopg.Connection[object]:
        looking.set()
        assert over.wait(WAIT_SECONDS)
        opened.append(target_db.connect())
        return opened[-1]

    def probe() -> str:
        return str(watched.ask(lambda conn: conn.execute("SELECT 'busy'").fetchone()))

    with (
        closing(Watched("the target", connect)) as watched,
        Throttle([probe], told.append) as throttle,
    ):
        assert looking.wait(WAIT_SECONDS)
    over.set()
    until(lambda: not running(throttle))
    assert [conn.closed for conn in opened] == [True]
    assert told == []


def running(throttle: Throttle) -> bool:
    assert throttle._thread is not None
    return throttle._thread.is_alive()
