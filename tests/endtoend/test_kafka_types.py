"""Rows that Debezium itself copies: values of every type, and what it cannot tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import pytest
from pymysql.cursors import Cursor

from bridge.names import quote_mysql
from tests.data.debezium.record import COLUMNS, GENERATED, LATER, insert, name_of
from tests.endtoend.arriving import rows
from tests.endtoend.compare import assert_same
from tests.endtoend.kafka_project import KafkaProject
from tests.endtoend.project import Daemon

pytestmark = pytest.mark.parametrize("source", ["mysql"], indirect=True)

LOST = {
    "a zero date or time where NULL may not be": ("moment", "'0000-00-00 00:00:00'"),
    "a float of more than six digits": ("single", "16777217"),
    "the year 0000": ("since", "0"),
}
"""What is known to be lost (K015, K016, K017), a row each: the column, and its value.

A zero date where NULL may be comes as NULL, which is what `zero_date: as-null` makes of it.
"""
STREAM_LOSES = frozenset({"a zero date or time where NULL may not be"})
"""The rest is lost by snapshots alone."""


@pytest.fixture
def cursor(kafka_project: KafkaProject) -> Iterator[Cursor]:
    """An administrator's session in the source, with the tables and their first rows."""
    with closing(kafka_project.source.connect()) as conn, conn.cursor() as cursor:
        kinds = [*(kind for kind, _ in COLUMNS), *GENERATED]
        columns = ", ".join(f"{quote_mysql(name_of(n))} {kind}" for n, kind in enumerate(kinds))
        cursor.execute("SET time_zone = '+00:00', sql_mode = ''")
        cursor.execute(f"CREATE TABLE every (id int PRIMARY KEY, {columns}) CHARSET utf8mb4")
        cursor.execute(
            "CREATE TABLE lost (id int PRIMARY KEY, moment datetime NOT NULL"
            " DEFAULT '2001-01-01', single float, since year)"
        )
        cursor.execute("CREATE TABLE plain (id int PRIMARY KEY, v int NOT NULL, w text)")
        cursor.execute("INSERT INTO plain VALUES (1, 1, 'ä'), (2, 2, NULL), (3, 3, 'c')")
        cursor.execute(
            "CREATE TABLE signals (id varchar(42) PRIMARY KEY, type varchar(32), data varchar(999))"
        )
        insert(cursor.execute, 0)
        lose(cursor, 0)
        yield cursor


def lose(cursor: Cursor, more: int) -> None:
    """A row for each value that does not come through."""
    for number, (column, value) in enumerate(LOST.values()):
        cursor.execute(f"INSERT INTO lost (id, {column}) VALUES ({number + more}, {value})")


def found_by_verify(project: KafkaProject) -> set[int]:
    """The keys of rows in `lost` that differ."""
    said = project.run("verify", "lost", "--format", "json", code=1).json
    (table,) = said["tables"]
    return {int(one["key"]["id"]) for one in table["differences"]}


def wait_rows(project: KafkaProject, table: str, keys: list[int], daemon: Daemon) -> None:
    project.wait_until(lambda: [row[0] for row in rows(project, table)] == keys, daemon=daemon)


def test_debezium_s_snapshots(kafka_project: KafkaProject, cursor: Cursor) -> None:
    project = kafka_project
    signals = {"signal.data.collection": f"{project.source.name}.signals"}
    project.start_connector(snapshot="initial", schemas=True, overrides=signals)
    project.init("snapshot: debezium")
    project.apply_schema()
    (daemon,) = project.consume()
    project.wait_streaming(daemon)
    insert(cursor.execute, LATER)
    lose(cursor, LATER)
    cursor.execute("UPDATE every SET c0 = 5 WHERE id = 1")
    cursor.execute("UPDATE every SET id = 3000 WHERE id = 2")
    cursor.execute("DELETE FROM every WHERE id = 1003")
    project.run("verify", "every", "plain")
    assert assert_same(project.source, project.target, tables=("every", "plain")) > len(COLUMNS[0])
    stream = {LATER + n for n, name in enumerate(LOST) if name in STREAM_LOSES}
    assert found_by_verify(project) == {*range(len(LOST)), *stream}

    again_in_parts(project, cursor, daemon)
    lacking_a_column(project, daemon)
    anew(project, cursor, daemon)
    daemon.stop()


def again_in_parts(project: KafkaProject, cursor: Cursor, daemon: Daemon) -> None:
    """Rows of an incremental snapshot are applied like others."""
    with project.target.connect() as conn:
        conn.execute(f'DELETE FROM "{project.source.name}".plain WHERE id = 2'.encode())
    asked = {"data-collections": [f"{project.source.name}.plain"], "type": "incremental"}
    cursor.execute(
        "INSERT INTO signals VALUES ('again', 'execute-snapshot', %s)", (json.dumps(asked),)
    )
    wait_rows(project, "plain", [1, 2, 3], daemon)
    assert set(project.stages().values()) == {"streaming"}


def lacking_a_column(project: KafkaProject, daemon: Daemon) -> None:
    """An event whose schema has other columns than the plan is not read."""
    topic = project.topic("every")
    message = json.loads(project.kafka.read(topic, 1)[0].value() or b"")
    for field in message["schema"]["fields"]:
        if field["field"] in ("before", "after"):
            field["fields"] = [one for one in field["fields"] if one["field"] != "c0"]
    del message["payload"]["after"]["c0"]
    project.kafka.send(topic, json.dumps(message, separators=(",", ":")).encode())
    stopped = "stopped: definition-changed"
    project.wait_until(lambda: project.stages()["every"] == stopped, daemon=daemon)
    assert "its events lack c0" in project.table("every")["error"]


def anew(project: KafkaProject, cursor: Cursor, daemon: Daemon) -> None:
    """A connector that begins anew sends no deletes of rows that went meanwhile."""
    connect, name = project.connect, project.connector
    connect.stop(name)
    connect.wait(name, "STOPPED")
    cursor.execute("DELETE FROM plain WHERE id = 2")
    cursor.execute("DELETE FROM signals")
    connect.forget_offsets(name)
    connect.resume(name)
    again = "stopped: snapshot-restarted"
    project.wait_until(lambda: project.stages()["plain"] == again, daemon=daemon)
    assert [row[0] for row in rows(project, "plain")] == [1, 2, 3]
    # This one has no rows in the snapshot any more, whose definitions alone tell of it.
    project.wait_until(lambda: project.stages()["signals"] == again, daemon=daemon)
    project.run("tables", "resync", "plain", "every", "lost", "signals")
    project.wait_streaming_again(daemon)
    cursor.execute("UPDATE plain SET v = v + 1 WHERE id = 3")
    wait_rows(project, "plain", [1, 3], daemon)
    project.run("verify", "every", "plain", "signals")
    assert assert_same(project.source, project.target, tables=("every", "plain", "signals"))
