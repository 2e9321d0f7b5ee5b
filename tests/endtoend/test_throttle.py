"""Verification waits for an operator and for busy servers, says so, and goes on."""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing, suppress
from typing import Any

import pymysql
import pytest

from tests.endtoend.project import Daemon, Project
from tests.fix_servers import SourceDatabase

BUSY = 8
"""Statements that run at once; servers under test run some of their own."""


@pytest.fixture
def daemon(project: Project) -> Daemon:
    """Two tables that a daemon follows."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE one (id int PRIMARY KEY, v varchar(20))")
        cursor.execute("CREATE TABLE two (id varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY)")
        cursor.executemany("INSERT INTO one VALUES (%s, 'v')", [(n,) for n in range(1, 1001)])
        cursor.executemany("INSERT INTO two VALUES (%s)", [(f"K{n}",) for n in range(1000)])
    project.begin()
    daemon = project.sync()
    project.wait_streaming(daemon)
    return daemon


def waits(project: Project) -> str:
    """Why verification waits, as `status` tells it."""
    throttled = project.status()["throttled"]
    assert throttled is None or throttled["by"] == "verify"
    return str(throttled["reason"]) if throttled else ""


class Busy:
    """Sessions of the source that have a statement under way until the end of the block."""

    def __init__(self, source: SourceDatabase) -> None:
        self._stack = ExitStack()
        self._sessions = [self._stack.enter_context(closing(source.connect())) for _ in range(BUSY)]
        self._admin = self._stack.enter_context(closing(source.connect()))

    def __enter__(self) -> None:
        self._threads = [threading.Thread(target=self._sleep, args=(s,)) for s in self._sessions]
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        with self._stack, self._admin.cursor() as cursor:
            for session in self._sessions:
                cursor.execute(f"KILL {session.thread_id()}")  # type: ignore[no-untyped-call]
            for thread in self._threads:
                thread.join()

    def _sleep(self, session: pymysql.Connection[Any]) -> None:
        with suppress(pymysql.Error), session.cursor() as cursor:
            cursor.execute("SELECT SLEEP(120)")


def test_it_waits(project: Project, daemon: Daemon) -> None:
    assert project.run("set", "verify.pausd=true", code=2).err.count("verify.paused") > 0
    assert "true or false" in project.run("set", "verify.paused=yes", code=2).err
    said = project.run("set", "verify.paused=true", "--for", "1h", "--format", "json").json
    assert said["verify.paused"]["value"] is True
    assert said["verify.paused"]["until"] > 0
    process = project.start("verify")
    project.wait_until(lambda: "paused by dbbridge set" in waits(project), daemon=daemon)
    with Busy(project.source):
        # In this order: they are set one after the other, and a verification may be quick.
        project.run("set", f"verify.threads_running={BUSY - 4}", "verify.paused=default")
        project.wait_until(lambda: f"threads_running: {BUSY - 4}" in waits(project), daemon=daemon)
        assert process.poll() is None
    assert process.wait(60) == 0
    assert waits(project) == ""
    events = project.ask("SELECT kind FROM dbbridge.events WHERE kind IN ('set', 'throttled')")
    assert len(events) >= 5
    tables = project.status()["tables"]
    assert all(table["verified_to"] and table["verified_seconds_ago"] >= 0 for table in tables)
    assert " s ago" in project.run("status").out


def test_what_lasts_too_long_is_cut_smaller(project: Project) -> None:
    """All rows at once take the source seconds; the fewest that it is asked for, a moment."""
    heavy = "sha2(repeat(concat('x', id), 100000), 256)"
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(f"CREATE TABLE dear (id int PRIMARY KEY, v char(64) AS ({heavy}) VIRTUAL)")
        cursor.executemany("INSERT INTO dear (id) VALUES (%s)", [(n,) for n in range(1, 4901)])
    project.begin()
    daemon = project.sync()
    project.wait_streaming(daemon)
    settings = project.folder / "bridge.yaml"
    written = settings.read_text()
    settings.write_text(written + "\nverify: {statement_seconds: 1.0}\n")
    found = project.run("verify", "--format", "json").json
    assert [table["verdict"] for table in found["tables"]] == ["match"]
    assert found["tables"][0]["source_rows"] == 4900
