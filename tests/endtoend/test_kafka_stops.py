"""What keeps tables that come through Kafka from going on: each by itself, and mended."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]
from pymysql.cursors import Cursor

from compose.local import servers
from tests.endtoend.arriving import goes_on, rows
from tests.endtoend.compare import assert_same
from tests.endtoend.kafka_project import PARTITIONS, KafkaProject
from tests.endtoend.project import Daemon
from tests.fix_kafka import Kafka

pytestmark = pytest.mark.parametrize("source", ["mysql"], indirect=True)

NAMES = ("altered", "garbled", "alien", "gone", "again", "grown", "cut", "parcel", "other")
CHANGED = {"gone": "topic-gone", "again": "topic-recreated", "grown": "partitions-changed"}
ANSWER_SECONDS = 60.0


@pytest.fixture
def cursor(kafka_project: KafkaProject) -> Iterator[Cursor]:
    """An administrator's session in the source; every table has two rows."""
    with closing(kafka_project.source.connect()) as conn, conn.cursor() as cursor:
        for name in NAMES:
            cursor.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, v int NOT NULL, w text)")
            cursor.execute(f"INSERT INTO {name} VALUES (1, 10, 'one'), (2, 20, 'two')")
        yield cursor


def stops(project: KafkaProject, daemon: Daemon, table: str, *codes: str) -> Any:
    """Waits until the table stands still for one of these reasons; its part of the status."""
    wanted = {f"stopped: {code}" for code in codes}
    project.wait_until(lambda: project.stages()[table] in wanted, daemon=daemon)
    found = project.table(table)
    assert found["table"] in found["error"]
    assert f"dbbridge tables resync {found['table']}" in found["next"]
    return found


def test_tables_stop_one_by_one_and_are_copied_again(
    kafka_project: KafkaProject, cursor: Cursor
) -> None:
    project = kafka_project
    cursor.execute("ALTER TABLE altered ADD COLUMN early int")  # before the copy: nothing
    project.begin(single=("cut", "parcel"))
    daemon, _ = project.consume(2)
    project.wait_streaming(daemon)
    for name in NAMES:  # from now on each table has a topic
        cursor.execute(f"UPDATE {name} SET v = v + 1")
    for name in NAMES:  # which is taken up by itself: no other one's changes tell of it
        goes_on(project, cursor, daemon, name)
    quarantined(project, cursor, daemon)
    before = {name: rows(project, name) for name in ("altered", "garbled", "alien")}

    cursor.execute("CREATE TABLE elsewhere (id int PRIMARY KEY)")
    cursor.execute("DROP TABLE elsewhere")
    cursor.execute("ANALYZE TABLE altered")
    goes_on(project, cursor, daemon, "altered")
    before["altered"] = rows(project, "altered")
    cursor.execute("ALTER TABLE altered ADD COLUMN extra varchar(10) NOT NULL DEFAULT 'new'")
    project.kafka.send(project.topic("garbled"), b"no JSON at all")
    project.kafka.send(project.topic("alien"), b'{"order": 7, "by": "somebody else"}')
    # Who joins the group anew (a topic's broker changed) reads the catalogue before the topic.
    stopped = stops(project, daemon, "altered", "ddl", "definition-changed")
    assert stopped["code"] != "ddl" or "ADD COLUMN extra" in stopped["error"]
    for name in ("garbled", "alien"):
        assert (
            f"{project.topic(name)}[0]:" in stops(project, daemon, name, "unknown-event")["error"]
        )
        cursor.execute(f"UPDATE {name} SET v = v + 1")
    for name, there in before.items():
        assert rows(project, name) == there
    lose_offsets(project, cursor, daemon)
    change_topics(project, cursor, daemon)
    goes_on(project, cursor, daemon)
    assert {s for n, s in project.stages().items() if n in ("other", "parcel")} == {"streaming"}

    assert "added column extra" in project.run("init").out
    project.run("tables", "resync", *(set(NAMES) - {"other", "parcel"}))
    project.wait_streaming_again(daemon)
    for name in NAMES:
        goes_on(project, cursor, daemon, name)
    assert assert_same(project.source, project.target, tables=NAMES) == 2 * len(NAMES)
    assert project.run("verify", "--format", "json").json["verdict"] == "match"


def quarantined(project: KafkaProject, cursor: Cursor, daemon: Daemon) -> None:
    """A value that the target cannot hold is told with its place in Kafka, and heals."""
    cursor.execute("UPDATE parcel SET w = 'x\0y' WHERE id = 2")
    project.wait_until(lambda: [row[0] for row in rows(project, "parcel")] == [1], daemon=daemon)
    (entry,) = project.run("quarantine", "list", "--format", "json").json["entries"]
    assert (entry["code"], entry["column"], entry["key"]) == ("nul-character", "w", "2")
    shown = project.run("quarantine", "show", str(entry["id"])).out
    assert f"{project.topic('parcel')}[0]:" in shown
    cursor.execute("UPDATE parcel SET w = 'fine' WHERE id = 2")
    project.wait_until(lambda: len(rows(project, "parcel")) == 2, daemon=daemon)
    assert not project.run("quarantine", "list", "--format", "json").json["entries"]


def lose_offsets(project: KafkaProject, cursor: Cursor, daemon: Daemon) -> None:
    """What the topic held is deleted while the table is paused."""
    project.run("tables", "pause", "cut")
    cursor.execute("UPDATE cut SET v = v + 1")
    place = TopicPartition(project.topic("cut"), 0, -1)  # up to the end
    held = "SELECT next_offset FROM dbbridge.partitions WHERE source_table = 'cut'"
    ((applied,),) = project.ask(held)
    # Not so many messages: the ends of the connector's transactions have offsets as well.
    next(m for m in project.kafka.follow(place.topic) if (m.offset() or 0) >= applied)
    admin = project.kafka.admin()
    (deleted,) = admin.delete_records([place]).values()
    deleted.result(ANSWER_SECONDS)
    project.run("tables", "resume", "cut")
    assert "retention.ms" in stops(project, daemon, "cut", "offset-gone")["next"]


def change_topics(project: KafkaProject, cursor: Cursor, daemon: Daemon) -> None:
    """Topics are deleted, made again, and get more partitions."""
    admin = project.kafka.admin()
    gone, again, grown = (project.topic(name) for name in ("gone", "again", "grown"))
    project.run("tables", "pause", "again")  # or it is found while it is not there
    for made in admin.delete_topics([gone, again]).values():
        made.result(ANSWER_SECONDS)
    project.kafka.create(again, PARTITIONS)
    project.run("tables", "resume", "again")
    more = admin.create_partitions([NewPartitions(grown, PARTITIONS + 1)])
    more[grown].result(ANSWER_SECONDS)
    for name in ("gone", "again", "grown"):
        stops(project, daemon, name, CHANGED[name])
    project.connect.restart(project.connector)  # it makes topics only once in its life
    project.connect.wait(project.connector)


def test_a_table_is_paused_while_a_consumer_takes_it(
    kafka_project: KafkaProject, cursor: Cursor
) -> None:
    """Its changes wait in the topic, and the consumer knows no table for them any more."""
    project = kafka_project
    project.begin()
    (daemon,) = project.consume()
    project.wait_streaming(daemon)
    goes_on(project, cursor, daemon)
    daemon.stop()
    cursor.execute("UPDATE other SET v = v + 1")
    before = rows(project, "other")
    project.command = (sys.executable, "-m", "tests.crash.launch", "pausing")
    (daemon,) = project.consume()
    project.command = ()
    project.wait_until(lambda: project.stages()["other"] == "paused", daemon=daemon)
    goes_on(project, cursor, daemon, "parcel")
    assert rows(project, "other") == before
    project.run("tables", "resume", "other")
    goes_on(project, cursor, daemon)


def test_copies_that_cannot_be_ended_stop_their_tables(
    kafka_project: KafkaProject, cursor: Cursor
) -> None:
    """An index cannot be built, and an old table cannot go; the daemon follows the others."""
    project, schema = kafka_project, kafka_project.source.name
    cursor.execute("CREATE TABLE keyed (id int PRIMARY KEY, v int NOT NULL, KEY (v))")
    cursor.execute("INSERT INTO keyed VALUES (1, 10)")
    project.begin()
    role = project.accounts.name
    with project.target.connect() as administrator:
        administrator.execute(f"ALTER TABLE {schema}.keyed OWNER TO CURRENT_USER".encode())
        administrator.execute(f"GRANT ALL ON {schema}.keyed TO {role}".encode())
        (daemon,) = project.consume()
        wanted = dict.fromkeys(NAMES, "streaming") | {"keyed": "stopped: index-failed"}
        project.wait_until(lambda: project.stages() == wanted, daemon=daemon)
        goes_on(project, cursor, daemon)

        administrator.execute(f"CREATE VIEW {schema}.hangs AS TABLE {schema}.parcel".encode())
        project.run("tables", "resync", "parcel")
        wanted["parcel"] = "stopped: swap-refused"
        project.wait_until(lambda: project.stages() == wanted, daemon=daemon)
        goes_on(project, cursor, daemon)

        administrator.execute(f"DROP VIEW {schema}.hangs".encode())
        administrator.execute(f"ALTER TABLE {schema}.keyed OWNER TO {role}".encode())
    project.run("tables", "resume", "keyed", "parcel")
    project.wait_streaming_again(daemon)
    for name in ("keyed", "parcel", "other"):
        goes_on(project, cursor, daemon, name)


@pytest.fixture
def apart(kafka_project: KafkaProject, tmp_path: Path) -> Iterator[KafkaProject]:
    """A project whose changes go over a broker of its own."""
    server = servers.start("kafka", tmp_path / "broker")
    kafka_project.kafka = Kafka(server)
    yield kafka_project
    kafka_project.close()
    server.stop()


def test_servers_that_go_away(apart: KafkaProject, cursor: Cursor) -> None:
    project, own = apart, apart.kafka.bootstrap
    override = "override.bootstrap.servers"
    clients = ("producer", "consumer", "admin")
    project.begin(overrides={f"{client}.{override}": own for client in clients})
    (daemon,) = project.consume()
    project.wait_streaming(daemon)
    goes_on(project, cursor, daemon)
    goes_on(project, cursor, daemon, "parcel")

    known = len(daemon.log)  # it may have waited for the connector before
    project.kafka.server.stop(kill=True)
    project.wait_until(lambda: "waiting" in daemon.log[known:] and own in daemon.log, daemon=daemon)
    cursor.execute("UPDATE parcel SET v = 99")
    project.kafka.server.restart()
    goes_on(project, cursor, daemon)

    config = project.connect.config(project.connector)
    unlucky = {**config, "topic.creation.default.replication.factor": "3"}
    project.connect.stop(project.connector)
    project.connect.wait(project.connector, "STOPPED")
    project.connect.put(project.connector, unlucky)
    cursor.execute("UPDATE gone SET v = 99")
    project.connect.resume(project.connector)
    project.connect.wait(project.connector, "FAILED")
    project.wait_until(lambda: "Unable to create topic" in daemon.log, daemon=daemon)
    failed = f"connector {project.connector} is RUNNING, task 0 FAILED"
    project.wait_until(lambda: failed in project.run("status").out, daemon=daemon)
    project.connect.put(project.connector, config)
    project.connect.restart(project.connector)
    goes_on(project, cursor, daemon)
    project.catch_up()
    assert assert_same(project.source, project.target) == 2 * len(NAMES)
