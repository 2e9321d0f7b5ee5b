"""Pipelines that capture through Kafka: what a binlog's can do, with Debezium in between."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import pytest
from pymysql.cursors import Cursor

from tests.endtoend.compare import compare
from tests.endtoend.kafka_project import PARTITIONS, KafkaProject
from tests.endtoend.project import Daemon
from tests.endtoend.spread import plant
from tests.endtoend.tables import KEYLESS, create
from tests.endtoend.traffic import Traffic

pytestmark = pytest.mark.parametrize("source", ["mysql"], indirect=True)

SINGLE = ("emptied", "composite", KEYLESS)
"""Tables with a topic of one partition: they may be emptied, or have no key."""
BULK = 3_000


def generations(project: KafkaProject, table: str) -> list[tuple[int, str]]:
    """The copies of a table, and what they are at."""
    return project.ask(
        "SELECT generation, stage FROM dbbridge.tables WHERE source_table = %s ORDER BY 1", table
    )


def copied_again(project: KafkaProject, daemon: Daemon, *tables: str) -> None:
    """Asks for other copies of the tables, and waits until they serve."""
    wanted = {name: [(generations(project, name)[-1][0] + 1, "streaming")] for name in tables}
    project.run("tables", "resync", *tables)
    project.wait_until(
        lambda: {name: generations(project, name) for name in tables} == wanted, daemon=daemon
    )


def leader(project: KafkaProject, daemons: Sequence[Daemon]) -> Daemon:
    """The process that leads."""
    found: list[Daemon] = []

    def leads() -> bool:
        pids = [pid for (pid,) in project.ask("SELECT pid FROM dbbridge.daemon")]
        found[:] = [one for one in daemons if one.process.pid in pids and one.running]
        return bool(found)

    project.wait_until(leads, daemon=next(d for d in daemons if d.running))
    return found[0]


def verdict(project: KafkaProject, *tables: str, code: int = 0) -> str:
    """What `verify` finds."""
    return str(project.run("verify", *tables, "--format", "json", code=code).json["verdict"])


def test_all_that_can_be_done_under_traffic(kafka_project: KafkaProject, seed: int) -> None:
    project = kafka_project
    create(project.source, bulk=BULK, seed=seed)
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE some (id int PRIMARY KEY, v int NOT NULL, w text)")
        cursor.execute("INSERT INTO some VALUES (1, 1, 'in'), (2, 60, 'out'), (3, 3, NULL)")
        project.start_connector(single=SINGLE)
        project.init()
        project.consent_to_lock(KEYLESS)
        with project.mapping("some").open("a") as file:
            file.write("where: v < 50\n")
        project.apply_schema()
        with Traffic(project.source, seed, writers=2, rate=100) as traffic:
            daemons = project.consume(2)
            project.wait_streaming(daemons[0])
            look_at_status(project)
            # Not of those that the traffic empties, which would be inconclusive now and then.
            assert verdict(project, "item", "folded", KEYLESS) == "match"
            pause_and_copy_again(project, daemons[0])
            leader(project, daemons).stop()
            left = leader(project, daemons)
            traffic.stop()
        repair(project, cursor)
        change_some(project, cursor, left)
        empty(project, cursor, left)
        project.catch_up()
        assert verdict(project) == "match"
        left.stop()
        _, differing = compare(project.source, project.target)
        assert [(each.table, sorted(each.missing), each.extra.total()) for each in differing] == [
            ("some", [(1, 70, "in")], 0)
        ]


def look_at_status(project: KafkaProject) -> None:
    """Each partition with its consumer, which one process of the two is."""

    def told() -> bool:
        """Topics come with a table's first change, and what is told is of a second ago."""
        said = project.status()
        places = [(one["topic"], one["partition"]) for one in said.get("kafka", [])]
        wide = sorted(number for topic, number in places if topic == project.topic("item"))
        single = [number for topic, number in places if topic == project.topic(KEYLESS)]
        lag = said["lag_seconds"]
        near = lag is not None and lag < 30
        return bool(near and wide == [*range(PARTITIONS)] and single == [0])

    project.wait_until(told)
    partitions = project.status()["kafka"]
    assert all(one["lag"] >= 0 and one["offset"] >= 0 for one in partitions)
    project.wait_until(lambda: len({one["consumer"] for one in project.status()["kafka"]}) == 2)


def pause_and_copy_again(project: KafkaProject, daemon: Daemon) -> None:
    project.run("tables", "pause", "folded", "composite")
    assert project.stages()["folded"] == project.stages()["composite"] == "paused"
    # In four partitions and in one, paused, without a key, tied to others.
    copied_again(project, daemon, "item", "composite", KEYLESS, "child_of")
    project.run("tables", "resume", "folded")
    project.wait_streaming(daemon)


def repair(project: KafkaProject, cursor: Cursor) -> None:
    """What somebody spoilt in the target is found and mended, while it is written."""
    cursor.execute("INSERT INTO bulk VALUES (-1, 0, 'mine'), (-2, 0, 'mine')")
    project.wait_until(lambda: has(project, "bulk", -1) and has(project, "bulk", -2))
    plant(project, "DELETE FROM {}.bulk WHERE id = -1", "UPDATE {}.bulk SET v = 7 WHERE id = -2")
    assert verdict(project, "bulk", code=1) == "mismatch"
    plan = project.run("repair", "plan", "--format", "json").json["plan"]
    project.run("repair", "apply", "--plan", plan)
    assert has(project, "bulk", -1)


def has(project: KafkaProject, table: str, key: int) -> bool:
    name = f'"{project.source.name}"."{table}"'
    return bool(project.ask(f"SELECT FROM {name} WHERE id = %s", key))


def change_some(project: KafkaProject, cursor: Cursor, daemon: Daemon) -> None:
    """Rows enter and leave what the mapping lets through."""
    cursor.execute("UPDATE some SET v = 70 WHERE id = 1")
    cursor.execute("UPDATE some SET v = 5 WHERE id = 2")
    cursor.execute("UPDATE some SET id = 4 WHERE id = 3")
    name = f'"{project.source.name}".some'
    project.wait_until(
        lambda: project.ask(f"SELECT id, v FROM {name} ORDER BY id") == [(2, 5), (4, 3)],
        daemon=daemon,
    )


def empty(project: KafkaProject, cursor: Cursor, daemon: Daemon) -> None:
    """Of a topic of several partitions nobody knows what came before a TRUNCATE."""
    cursor.execute("TRUNCATE TABLE emptied")
    cursor.execute("INSERT INTO emptied VALUES (1, 1)")
    cursor.execute("TRUNCATE TABLE uuid_key")
    stopped = "stopped: truncated"
    project.wait_until(lambda: project.stages()["uuid_key"] == stopped, daemon=daemon)
    copied_again(project, daemon, "uuid_key")
    name = f'"{project.source.name}".emptied'
    project.wait_until(lambda: project.ask(f"SELECT id FROM {name}") == [(1,)], daemon=daemon)
    # The last transaction is never known to be applied as a whole: if it were the one that emptied
    # a table, `verify` would find it in the log, behind its own beginning, and not say "match".
    cursor.execute("INSERT INTO emptied VALUES (2, 2)")
    both = [(1,), (2,)]
    project.wait_until(
        lambda: project.ask(f"SELECT id FROM {name} ORDER BY id") == both, daemon=daemon
    )
