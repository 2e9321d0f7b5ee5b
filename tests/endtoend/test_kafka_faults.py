"""What a table's state is when its definition, its copy or the connector changes beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from pymysql.cursors import Cursor

from tests.endtoend.arriving import goes_on
from tests.endtoend.kafka_project import KafkaProject
from tests.endtoend.project import Daemon

pytestmark = pytest.mark.parametrize("source", ["mysql"], indirect=True)

ANSWER_SECONDS = 60.0
PARTED = ("parted0", "parted1", "parted2", "parted3", "parted4", "parted5")


@pytest.fixture
def cursor(kafka_project: KafkaProject) -> Iterator[Cursor]:
    """An administrator's session in the source."""
    with closing(kafka_project.source.connect()) as conn, conn.cursor() as cursor:
        for name in ("garbled", "other"):
            cursor.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, v int NOT NULL)")
            cursor.execute(f"INSERT INTO {name} VALUES (1, 10), (2, 20)")
        yield cursor


def faults(project: KafkaProject, table: str) -> list[tuple[str, str | None]]:
    """The stage of each of the table's copies, and why it stands still."""
    return project.ask(
        "SELECT stage, error_code FROM dbbridge.tables WHERE source_table = %s ORDER BY generation",
        table,
    )


def test_a_table_stops_while_it_is_copied_again(
    kafka_project: KafkaProject, cursor: Cursor
) -> None:
    """Its new copy has the same partitions, and goes on."""
    project = kafka_project
    project.begin()
    (daemon,) = project.consume()
    project.wait_streaming(daemon)
    goes_on(project, cursor, daemon, "garbled")
    goes_on(project, cursor, daemon)  # from now on both have topics
    with closing(project.source.connect()) as conn, conn.cursor() as holding:
        holding.execute("LOCK TABLES garbled WRITE")
        project.run("tables", "resync", "garbled")
        copying = [("streaming", None), ("copying", None)]
        project.wait_until(lambda: faults(project, "garbled") == copying, daemon=daemon)
        goes_on(project, cursor, daemon)
        project.kafka.send(project.topic("garbled"), b"no JSON at all")
        stopped = ("catching-up", "unknown-event")
        project.wait_until(lambda: faults(project, "garbled")[0] == stopped, daemon=daemon)
        goes_on(project, cursor, daemon)
        assert faults(project, "garbled")[1] == ("copying", None)


def test_a_connector_begins_anew_while_a_table_stands_still(
    kafka_project: KafkaProject, cursor: Cursor
) -> None:
    """What the table could go on from by itself is not all any more."""
    project = kafka_project
    project.begin()
    (daemon,) = project.consume()
    project.wait_streaming(daemon)
    goes_on(project, cursor, daemon, "garbled")
    project.kafka.send(project.topic("garbled"), b"no JSON at all")
    project.wait_until(
        lambda: faults(project, "garbled") == [("catching-up", "unknown-event")], daemon=daemon
    )
    connect, name = project.connect, project.connector
    connect.stop(name)
    connect.wait(name, "STOPPED")
    connect.forget_offsets(name)
    connect.resume(name)
    anew = [("catching-up", "snapshot-restarted")]
    project.wait_until(
        lambda: faults(project, "garbled") == faults(project, "other") == anew, daemon=daemon
    )


def wait_position(project: KafkaProject, daemon: Daemon, goal: tuple[str, int]) -> None:
    project.wait_until(lambda: project.position() >= goal, daemon=daemon)


def test_no_position_passes_a_changed_definition(
    kafka_project: KafkaProject, cursor: Cursor
) -> None:
    """Its statement took rows away, which no event tells."""
    for name in PARTED:
        cursor.execute(
            f"CREATE TABLE {name} (id int PRIMARY KEY, v int NOT NULL) PARTITION BY RANGE (id)"
            " (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)"
        )
        cursor.execute(f"INSERT INTO {name} VALUES (1, 10), (20, 20)")
    project = kafka_project
    project.begin()
    (daemon,) = project.consume()
    project.wait_streaming(daemon)
    for name in PARTED:
        goes_on(project, cursor, daemon)
        cursor.execute(f"ALTER TABLE {name} DROP PARTITION p0")
        wait_position(project, daemon, project.log_end())
        assert faults(project, name) == [("catching-up", "ddl")]
        refused = project.run("tables", "resume", name, code=1).out
        assert "refused: " in refused and f"dbbridge tables resync {project.source.name}" in refused
        assert faults(project, name) == [("catching-up", "ddl")]


def test_the_topic_of_definitions_is_deleted(kafka_project: KafkaProject, cursor: Cursor) -> None:
    """Nobody knows what it would have told; copied again, the tables go on."""
    project = kafka_project
    project.begin()
    (daemon,) = project.consume()
    project.wait_streaming(daemon)
    goes_on(project, cursor, daemon)
    admin = project.kafka.admin()
    (deleted,) = admin.delete_topics([project.prefix]).values()
    deleted.result(ANSWER_SECONDS)
    lost = [("catching-up", "definitions-lost")]
    project.wait_until(
        lambda: faults(project, "garbled") == faults(project, "other") == lost, daemon=daemon
    )
    project.run("tables", "resync", "garbled", "other")
    project.wait_streaming_again(daemon)
    goes_on(project, cursor, daemon)
