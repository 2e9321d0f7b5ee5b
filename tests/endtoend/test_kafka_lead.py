"""What the process that leads does to single tables, while consumers go on with all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from pymysql.cursors import Cursor

from tests.crash.launch import HOLD, READ
from tests.endtoend.arriving import goes_on, rows
from tests.endtoend.compare import assert_same
from tests.endtoend.kafka_project import PARTITIONS, KafkaProject
from tests.endtoend.project import VERB_SECONDS, Daemon

pytestmark = pytest.mark.parametrize("source", ["mysql"], indirect=True)

NAMES = ("parcel", "other")
WAITING = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    " AND wait_event_type = 'Lock' AND query ~ %s"
)


@pytest.fixture
def cursor(kafka_project: KafkaProject) -> Iterator[Cursor]:
    """An administrator's session in the source; every table has two rows."""
    with closing(kafka_project.source.connect()) as conn, conn.cursor() as cursor:
        for name in NAMES:
            index = ", KEY (v)" if name == "parcel" else ""
            cursor.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, v int, w text{index})")
            cursor.execute(f"INSERT INTO {name} VALUES (1, 10, 'one'), (2, 20, 'two')")
        yield cursor


def entries(project: KafkaProject) -> list[Any]:
    """The numbers of what is in quarantine."""
    return [number for (number,) in project.ask("SELECT id FROM dbbridge.quarantine")]


def waits(project: KafkaProject, statement: str) -> set[int]:
    """The target's sessions in which such a statement waits for a lock."""
    return {pid for (pid,) in project.ask(WAITING, statement)}


def test_a_row_that_is_tried_again(kafka_project: KafkaProject, cursor: Cursor) -> None:
    project = kafka_project
    project.begin()
    project.command = (sys.executable, "-m", "tests.crash.launch", "holding")
    (daemon,) = project.consume()
    project.command = ()
    project.wait_streaming(daemon)
    refused_again(project, cursor, daemon)
    changed_meanwhile(project, cursor, daemon)
    changing(project, cursor, daemon)


def refused_again(project: KafkaProject, cursor: Cursor, daemon: Daemon) -> None:
    """An entry that the consumers have not made themselves goes with a later image."""
    goes_on(project, cursor, daemon, "parcel")
    name = f'"{project.source.name}".parcel'
    project.ask(f"DELETE FROM {name} WHERE id = 2 RETURNING 1")
    project.ask(
        "INSERT INTO dbbridge.quarantine (pipeline, source_schema, source_table, generation, key,"
        " code, column_name, value, raw, met_at) SELECT pipeline, source_schema, source_table,"
        " generation, '2', 'refused-23514', '', '', '', 'repair' FROM dbbridge.tables"
        " WHERE source_table = 'parcel' RETURNING 1"
    )
    with project.target.connect() as conn:
        conn.execute(f"ALTER TABLE {name} ADD CONSTRAINT low CHECK (v < 20)".encode())
    (entry,) = entries(project)
    said = project.run("quarantine", "retry", str(entry), code=1).out
    (again,) = entries(project)
    assert f"entry {entry} stays: " in said
    assert 'check constraint "low"' in said
    assert f"it is entry {again} now" in said
    cursor.execute("UPDATE parcel SET v = 11 WHERE id = 2")
    project.wait_until(lambda: len(rows(project, "parcel")) == 2, daemon=daemon)
    assert not entries(project)


def changed_meanwhile(project: KafkaProject, cursor: Cursor, daemon: Daemon) -> None:
    """What was read does not pass over what the consumers have applied since."""
    cursor.execute("UPDATE parcel SET w = 'x\0y' WHERE id = 2")
    project.wait_until(lambda: bool(entries(project)), daemon=daemon)
    (entry,) = entries(project)
    hold = project.folder / HOLD
    hold.touch()
    retrying = project.start("quarantine", "retry", str(entry))
    project.wait_until((project.folder / READ).exists, daemon=daemon)
    cursor.execute("UPDATE parcel SET w = 'fine' WHERE id = 2")
    project.wait_until(
        lambda: len(rows(project, "parcel")) == 2 or bool(waits(project, "dbbridge.partitions")),
        daemon=daemon,
    )
    hold.unlink()
    assert retrying.wait(60) == 1, "it was bad when it was read"
    project.wait_until(lambda: (2, 11, "fine") in rows(project, "parcel"), daemon=daemon)
    assert not entries(project)


def changing(project: KafkaProject, cursor: Cursor, daemon: Daemon) -> None:
    """A row that a transaction of the source holds is not waited for with the consumers fenced."""
    cursor.execute("UPDATE parcel SET w = 'x\0y' WHERE id = 2")
    project.wait_until(lambda: bool(entries(project)), daemon=daemon)
    (entry,) = entries(project)
    cursor.execute("BEGIN")
    cursor.execute("UPDATE parcel SET w = 'mended' WHERE id = 2")
    said = project.run("quarantine", "retry", str(entry), code=1).out
    assert f"a session in the source holds the row of entry {entry}" in said
    cursor.execute("COMMIT")
    project.wait_until(lambda: (2, 11, "mended") in rows(project, "parcel"), daemon=daemon)
    assert not entries(project)


def test_other_tables_go_on_while_one_is_indexed(
    kafka_project: KafkaProject, cursor: Cursor
) -> None:
    project = kafka_project
    for name in NAMES:  # else an index is begun again once the first change has made a topic
        project.kafka.create(project.topic(name), PARTITIONS)
    project.begin()
    with project.target.connect() as held, held.transaction():
        name = f'"{project.source.name}".parcel'
        held.execute(f"LOCK TABLE {name} IN ROW EXCLUSIVE MODE".encode())
        (daemon,) = project.consume()
        began = VERB_SECONDS  # the connector and the copy, too
        project.wait_until(lambda: bool(waits(project, "CREATE INDEX")), began, daemon=daemon)
        before = rows(project, "parcel")
        cursor.execute("UPDATE parcel SET v = v + 1")
        goes_on(project, cursor, daemon)
        gone = waits(project, "CREATE INDEX")
        assert gone
        daemon.kill()
        (daemon,) = project.consume()
        project.wait_until(lambda: bool(waits(project, "CREATE INDEX") - gone), daemon=daemon)
        cursor.execute("UPDATE parcel SET v = v + 1")
        goes_on(project, cursor, daemon)
        assert rows(project, "parcel") == before
    project.wait_streaming(daemon)
    goes_on(project, cursor, daemon, "parcel")
    assert assert_same(project.source, project.target, tables=NAMES) == 2 * len(NAMES)
