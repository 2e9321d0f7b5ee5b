"""Consumers, their broker and Connect die or stand still under load; each change counts once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from compose.local import connect as workers
from compose.local import servers
from compose.local.errors import Unavailable
from compose.local.rest import Connect
from tests.crash import kafka_group
from tests.crash.kafka_group import Group, Stack
from tests.crash.kills import PATIENCE
from tests.crash.launch import COPYING
from tests.endtoend.kafka_project import NewKafkaProject
from tests.fix_kafka import Kafka
from tests.fix_servers import UNAVAILABLE, SourceDatabase, TargetDatabase

pytestmark = [pytest.mark.crash, pytest.mark.parametrize("source", ["mysql"], indirect=True)]

KILLED_AT = "stream.saved"
"""Only the commit is left there."""
SOAK_FAULTS = 60
"""The least that a soak makes."""
SOAK_ROUND = 12
"""Faults between two comparisons."""


Begin = Callable[..., Group]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Of these tests' own."""
    folder = tmp_path_factory.mktemp("stack")
    try:
        broker = servers.start("kafka", folder / "broker")
        worker = servers.start("connect", folder / "connect", options=workers.options(broker.url()))
    except Unavailable as reason:
        pytest.skip(f"{UNAVAILABLE}: kafka ({reason})")
    both = Stack(broker, worker)
    yield both
    both.end()


@pytest.fixture
def begin(
    stack: Stack,
    source_db: SourceDatabase,
    target_db: TargetDatabase,
    new_kafka_project: NewKafkaProject,
) -> Begin:
    """Makes a group of two consumers that stream."""

    def make(seed: int, **options: str) -> Group:
        kafka, connect = Kafka(stack.broker), Connect(stack.worker.url())
        project = new_kafka_project(source_db, target_db, kafka, connect)
        return kafka_group.begin(project, stack, seed, **options)

    return make


@pytest.mark.timeout(600)
def test_killed_and_frozen(begin: Begin, seed: int) -> None:
    group = begin(seed)
    with group.traffic:
        group.kill_at(KILLED_AT, 3, PATIENCE)
        group.freeze_at(COPYING, 2, PATIENCE)
        group.kill_broker()
        group.kill()
        group.judge()
    assert {f"consumer killed at {KILLED_AT}", f"consumer frozen at {COPYING}"} <= set(group.made)


@pytest.mark.timeout(600)
def test_without_the_fence_it_goes_wrong(begin: Begin, seed: int) -> None:
    """The same, but offsets are committed to Kafka after PostgreSQL."""
    group = begin(seed, variant="unfenced")
    try:
        with group.traffic:
            group.kill_at("stream.committed", 3, PATIENCE)
            group.freeze_at("stream.apply", 2, PATIENCE)
            group.settle()
    except AssertionError as stopped:
        # A row without a key that was deleted twice has stopped its table already.
        if "row-not-found" not in str(stopped):
            raise
        return
    wrong = group.wrong()
    assert wrong
    print(*wrong[:20], sep="\n")


@pytest.mark.soak
def test_soak(begin: Begin, seed: int) -> None:
    """Rounds of faults, until the duration is over and there were `SOAK_FAULTS`."""
    end = time.monotonic() + float(os.environ["DBBRIDGE_SOAK_DURATION"])
    group = begin(seed)
    number = 0
    while time.monotonic() < end or group.made.total() < SOAK_FAULTS:
        group.traffic = kafka_group.load(group.project, seed * 1000 + number)
        number += 1
        with group.traffic:
            for _ in range(SOAK_ROUND):
                group.something()
                time.sleep(group.chance.uniform(0.0, 2.0))
            group.await_progress()
            group.judge()
