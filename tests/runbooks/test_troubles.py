"""Things go wrong while a group streams, and while the target has authority, on MySQL."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.endtoend.dual import drop_application
from tests.endtoend.moves import (
    OTHERS,
    STREAMING,
    move,
    near,
    prepare,
    start,
    wait_said,
    wait_told,
    waive_writers,
)
from tests.endtoend.project import Daemon, Project
from tests.runbooks.book import Book

HELD_UP = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    " AND starts_with(application_name, 'dbbridge') AND cardinality(pg_blocking_pids(pid)) > 0"
)
"""Sessions of the bridge that wait for somebody's lock."""


@pytest.mark.parametrize("source", ["mysql"], indirect=True)
def test_troubles(project: Project) -> None:
    prepare(project, OTHERS)
    daemon = start(project)
    _quarantine(project, daemon)
    _lag(project, daemon)
    _schema(project, daemon)
    _disk(project, daemon)
    _slot(project, daemon)
    drop_application(project)


def run(project: Project, statement: str) -> None:
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute(statement)


def _quarantine(project: Project, daemon: Daemon) -> None:
    def waiting(rows: int) -> None:
        count = "SELECT count(*) FROM dbbridge.quarantine"
        project.wait_until(lambda: project.ask(count) == [(rows,)], daemon=daemon)

    book = Book(project, "quarantine-not-empty", {"SET note = 'mended'": lambda: waiting(1)})
    run(project, "UPDATE purchase SET note = CONCAT('gift', CHAR(0)) WHERE id <= 2 ORDER BY id")
    waiting(2)
    for _ in range(3):
        book.block()
    book.end()
    run(project, "DELETE FROM purchase WHERE id = 2")  # both sides are the same again


def _lag(project: Project, daemon: Daemon) -> None:
    book = Book(project, "lag-grows")

    def lag() -> float:
        return float(project.status()["lag_seconds"] or 0)

    with project.target.connect(application_name="reports", autocommit=False) as holder:
        holder.execute(f'LOCK TABLE "{project.source.name}".customer'.encode())
        run(project, "UPDATE customer SET name = 'later' WHERE id = 1")
        project.wait_until(lambda: project.ask(HELD_UP) != [], daemon=daemon)
        wait_said(project, daemon, "(status ->> 'lag_seconds')::float8 > 2")
        for _ in range(3):
            book.block()
        holder.close()
    project.wait_until(lambda: lag() < 2, daemon=daemon)
    book.block()
    book.end()


def _schema(project: Project, daemon: Daemon) -> None:
    book = Book(project, "schema-change-during-migration")
    run(project, "ALTER TABLE purchase ADD COLUMN colour varchar(20) NOT NULL DEFAULT 'red'")
    project.wait_until(lambda: project.stages()["purchase"].startswith("stopped"), daemon=daemon)
    project.wait_said_streaming(daemon)
    book.block()
    book.block()
    project.wait_streaming_again(daemon)
    wait_said(project, daemon, STREAMING)
    book.block()
    book.end()


def _disk(project: Project, daemon: Daemon) -> None:
    book = Book(project, "disk-full")
    for _ in range(4):
        book.block()
    book.end()
    project.wait_streaming(daemon)


def _slot(project: Project, daemon: Daemon) -> None:
    book = Book(project, "lost-slot")
    project.run("verify", "--certify")
    waive_writers(project)
    move(project, "switch")
    near(project)
    daemon.stop()
    read = "SELECT 1 FROM pg_replication_slots WHERE database = current_database() AND active"
    project.wait_until(lambda: project.ask(read) == [])
    project.ask(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
        " WHERE database = current_database()"
    )
    again = project.sync()
    lost = "SELECT 1 FROM dbbridge.way_back WHERE status ->> 'error' IS NOT NULL"
    project.wait_until(lambda: bool(project.ask(lost)), daemon=again)
    wait_told(project, again)
    book.block()
    book.block()
    book.end()
    again.stop()
