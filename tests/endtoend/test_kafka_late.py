"""Tables that are copied before the connector has made a topic of theirs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka import TopicPartition
from pymysql.cursors import Cursor

from tests.endtoend.arriving import rows
from tests.endtoend.kafka_project import KafkaProject
from tests.endtoend.project import Daemon

pytestmark = pytest.mark.parametrize("source", ["mysql"], indirect=True)

ANSWER_SECONDS = 60.0


@pytest.fixture
def cursor(kafka_project: KafkaProject) -> Iterator[Cursor]:
    """An administrator's session in the source."""
    with closing(kafka_project.source.connect()) as conn, conn.cursor() as cursor:
        for name in ("emptied", "expired", "other"):
            cursor.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, v int NOT NULL)")
            cursor.execute(f"INSERT INTO {name} VALUES (1, 10), (2, 20)")
        for name in ("slot", "seat"):
            cursor.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, v int NOT NULL UNIQUE)")
            cursor.execute(f"INSERT INTO {name} VALUES (1, 10), (2, 20)")
        cursor.execute("CREATE TABLE bare (v int NOT NULL)")
        cursor.execute("INSERT INTO bare VALUES (10), (20)")
        yield cursor


def wait_stopped(project: KafkaProject, daemon: Daemon, table: str, code: str) -> None:
    project.wait_until(lambda: project.stages()[table] == f"stopped: {code}", daemon=daemon)


def uniques(project: KafkaProject, table: str) -> int:
    """How many unique indexes the target's table has beside its key."""
    name = f'"{project.source.name}"."{table}"'
    ((count,),) = project.ask(
        "SELECT count(*) FROM pg_index"
        " WHERE indrelid = to_regclass(%s) AND indisunique AND NOT indisprimary",
        name,
    )
    return int(count)


def test_a_topic_comes_late(kafka_project: KafkaProject, cursor: Cursor) -> None:
    project = kafka_project
    project.start_connector()
    project.init()
    project.consent_to_lock("bare")
    project.apply_schema()
    (daemon,) = project.consume()
    project.wait_streaming(daemon)
    assert uniques(project, "slot") == uniques(project, "seat") == 0
    expired(project, cursor, daemon)

    cursor.execute("UPDATE emptied SET v = v + 1")
    project.wait_until(lambda: rows(project, "emptied") == [(1, 11), (2, 21)], daemon=daemon)
    cursor.execute("TRUNCATE TABLE emptied")
    wait_stopped(project, daemon, "emptied", "truncated")
    assert len(rows(project, "emptied")) == 2

    cursor.execute("INSERT INTO bare VALUES (30)")
    wait_stopped(project, daemon, "bare", "keyless-in-partitions")
    assert len(rows(project, "bare")) == 2

    cursor.execute("UPDATE seat SET v = v + 10 ORDER BY id DESC")
    project.wait_until(lambda: rows(project, "seat") == [(1, 20), (2, 30)], daemon=daemon)
    with project.target.connect() as conn:  # as somebody does who is early
        conn.execute(f'CREATE UNIQUE INDEX ON "{project.source.name}".slot (v)'.encode())
    cursor.execute("UPDATE slot SET v = 30 WHERE id = 1")
    wait_stopped(project, daemon, "slot", "partitions-changed")
    project.run("tables", "resync", "slot", "emptied", "expired")
    project.wait_until(
        lambda: (
            {n for n, s in project.stages().items() if s == "streaming"}
            == {"slot", "seat", "emptied", "expired", "other"}
        ),
        daemon=daemon,
    )
    assert uniques(project, "slot") == 0
    assert rows(project, "slot") == [(1, 30), (2, 20)]
    assert rows(project, "emptied") == []


def expired(project: KafkaProject, cursor: Cursor, daemon: Daemon) -> None:
    """The first changes of a paused table are deleted before it goes on."""
    project.run("tables", "pause", "expired")
    for _ in range(10):
        cursor.execute("UPDATE expired SET v = v + 1")
    topic = project.topic("expired")
    list(itertools.islice(project.kafka.follow(topic), 20))
    places = [TopicPartition(topic, number, -1) for number in range(4)]
    admin = project.kafka.admin()
    for deleted in admin.delete_records(places).values():
        deleted.result(ANSWER_SECONDS)
    project.run("tables", "resume", "expired")
    wait_stopped(project, daemon, "expired", "offset-gone")
    assert rows(project, "expired") == [(1, 10), (2, 20)]
