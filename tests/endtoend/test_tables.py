"""Tables that are paused, resumed and copied again while the source is written to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import pytest

from tests.endtoend.compare import assert_same
from tests.endtoend.project import Project

WIDE_ROWS = 20_000


@pytest.fixture
def tables(project: Project) -> Project:
    """Two small tables and a wide one, none of them written to yet."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        for name in ("calm", "busy"):
            cursor.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, v int NOT NULL, KEY (v))")
            cursor.execute(f"INSERT INTO {name} VALUES (1, 0), (2, 0), (3, 0)")
        cursor.execute("CREATE TABLE wide (id int PRIMARY KEY, v int NOT NULL, w text, KEY (v))")
        values = ",".join(f"({number}, 0, REPEAT('w', 500))" for number in range(WIDE_ROWS))
        cursor.execute(f"INSERT INTO wide VALUES {values}")
    project.begin()
    return project


@contextmanager
def written(project: Project) -> Iterator[None]:
    """All three tables change all the time meanwhile, keys included."""
    ending = threading.Event()
    failures: list[Exception] = []

    def write() -> None:
        number = 0
        try:
            with closing(project.source.connect()) as conn, conn.cursor() as cursor:
                while not ending.wait(0.002):
                    number += 1
                    here = number % WIDE_ROWS
                    cursor.execute("UPDATE busy SET v = v + 1")
                    cursor.execute("UPDATE calm SET v = %s WHERE id = %s", (number, number % 3 + 1))
                    cursor.execute("UPDATE wide SET v = v + 1 WHERE id = %s", (here,))
                    cursor.execute("DELETE FROM wide WHERE id = %s", (WIDE_ROWS - here,))
                    cursor.execute("UPDATE wide SET id = %s WHERE id = %s", (-number, here // 2))
                    cursor.execute("INSERT INTO wide VALUES (%s, 0, 'w')", (WIDE_ROWS + number,))
        except Exception as error:  # noqa: BLE001 (raised below)
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
        assert not failures, failures


def rows(project: Project, table: str) -> list[Any]:
    return project.ask(f"SELECT * FROM {project.source.name}.{table} ORDER BY id")


def moves(project: Project, table: str) -> None:
    """A later change of the table arrives."""
    before = rows(project, table)
    project.wait_until(lambda: rows(project, table) != before)


def generations(project: Project, table: str) -> list[tuple[int, str]]:
    return project.ask(
        "SELECT generation, stage FROM dbbridge.tables WHERE source_table = %s ORDER BY generation",
        table,
    )


def test_beside_a_live_stream_and_in_the_middle_of_a_copy(tables: Project) -> None:
    project = tables
    with written(project), ThreadPoolExecutor(1) as pool, project.target.connect() as holder:
        # The copy of the wide table cannot go on while it is asked to pause.
        with holder.transaction():
            holder.execute(f"LOCK TABLE {project.source.name}.wide IN SHARE MODE".encode())
            daemon = project.sync("--readers", "1")
            project.wait_until(lambda: project.stages().get("wide") == "copying", daemon=daemon)
            pausing = pool.submit(project.run, "tables", "pause", "wide")
            project.wait_until(lambda: bool(project.ask("SELECT FROM dbbridge.requests")))
        pausing.result()
        assert project.stages()["wide"] == "paused"
        there = rows(project, "wide")
        project.wait_until(lambda: project.stages()["busy"] == "streaming", daemon=daemon)
        moves(project, "busy")
        assert rows(project, "wide") == there
        project.run("tables", "resume", "wide")
        project.wait_streaming(daemon)

        project.run("tables", "pause", "calm")
        still = rows(project, "calm")
        moves(project, "busy")
        assert rows(project, "calm") == still
        project.run("tables", "resume", "calm")
        moves(project, "calm")

        project.run("tables", "resync", "wide", "calm")
        for name in ("wide", "calm"):
            project.wait_until(partial(copied_again, project, name), daemon=daemon)
        for name in ("wide", "calm", "busy"):
            moves(project, name)
    daemon.stop()
    project.catch_up()
    assert assert_same(project.source, project.target) > WIDE_ROWS / 2
    project.run("verify")


def copied_again(project: Project, table: str) -> bool:
    """Whether the second copy has taken the first one's place."""
    return generations(project, table) == [(2, "streaming")]
