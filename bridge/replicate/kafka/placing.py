"""Where tables begin in their topics, and whether the topics stay what they were."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from bridge.capture.binlog.connection import BinlogConnection
from bridge.capture.binlog.positions import lower_bound
from bridge.capture.debezium.naming import topic_of
from bridge.capture.topics import Topic, Topics
from bridge.change.position import Position
from bridge.errors import ServerUnreachable, TableStopped
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.replicate.builder import Builder
from bridge.replicate.readying import table_stopped
from bridge.replicate.servers import HEARTBEAT_SECONDS, Servers, server_id
from bridge.sink import ddl
from bridge.store.lease import Lease
from bridge.store.partitions import (
    PartitionState,
    Place,
    Q,
    add_partition,
    drop_partition,
    read_partitions,
)
from bridge.store.state import Connection, TableState

NO_TOPIC = -1
"""In place of partitions that a table has no topic for yet: nothing was captured of it."""
READ_SECONDS = 0.25
SETTLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Watched:
    """Tables that cannot go on, and whether a topic that is new was taken up."""

    stops: list[TableStopped]
    taken_up: bool


class Placing:
    """The topics of one pipeline's tables."""

    def __init__(self, topics: Topics, prefix: str, pipeline: str) -> None:
        self._topics = topics
        self._prefix = prefix
        self._pipeline = pipeline

    def topic(self, table: TableName) -> str:
        """The topic of the table's changes."""
        return topic_of(self._prefix, table)

    def check(self, plan: TablePlan) -> None:
        """Raises TableStopped for a table whose rows lose their order in its topic."""
        topic = self.topic(plan.source)
        found = self._topics.describe([topic]).get(topic)
        if found is not None:
            _check_order(plan, found)

    def ends(self, tables: Sequence[TableState]) -> dict[Place, tuple[Topic, int]]:
        """Where the tables' topics end now; nothing of topics that do not exist."""
        topics = self._topics.describe(self.topic(t.source) for t in tables)
        places = [place for topic in topics.values() for place in _places(topic)]
        ends = self._topics.ends(places)
        for topic, number in places:
            if (topic, number) not in ends:
                raise ServerUnreachable(
                    f"{topic}[{number}] is being made or deleted, and nobody knows where it ends",
                    "it goes on by itself once the brokers know",
                )
        return {place: (topics[place[0]], offset) for place, offset in ends.items()}

    def zeros(self, table: TableState) -> dict[Place, tuple[Topic, int]]:
        """Where everything that its topic ever held begins, be it there still or not."""
        topic = self._topics.describe([self.topic(table.source)])
        return {place: (found, 0) for found in topic.values() for place in _places(found)}

    def begin(
        self,
        conn: Connection,
        tables: Sequence[TableState],
        starts: Mapping[Place, tuple[Topic, int]],
        base: Position | None,
    ) -> None:
        """Writes down where the tables begin: at `starts`, without what `base` covers."""
        for table in tables:
            topic = self.topic(table.source)
            mine = {place[1]: at for place, at in starts.items() if place[0] == topic}
            if not mine:
                add_partition(conn, self._pipeline, _state(table, Topic(topic, "", 0), -1, 0, base))
            for number, (found, offset) in mine.items():
                state = _state(table, found, number, offset, base)
                add_partition(conn, self._pipeline, state)

    def watch(
        self,
        conn: Connection,
        lease: Lease,
        tables: Sequence[TableState],
        plan_of: Callable[[TableState], TablePlan] | None,
    ) -> Watched:
        """Takes topics up that are new; says which tables cannot go on.

        `plan_of` None: nothing is taken up now.
        """
        rows: dict[TableName, list[PartitionState]] = {}
        states = {t.source: t for t in tables}
        for row in read_partitions(conn, self._pipeline):
            if row.table in states and states[row.table].generation == row.generation:
                rows.setdefault(row.table, []).append(row)
        there = self._topics.describe(self.topic(name) for name in rows)
        stops, taken_up = [], False
        for name, mine in rows.items():
            topic = there.get(self.topic(name))
            late = mine[0].partition == NO_TOPIC
            if late and (topic is None or plan_of is None):
                continue
            try:
                if late and topic is not None and plan_of is not None:
                    _check_late(conn, plan_of(states[name]), states[name], topic)
                    self._take_up(conn, lease, mine[0], topic)
                    taken_up = True
                else:
                    _check_same(name, topic, mine)
            except TableStopped as stop:
                stop.table = name
                stops.append(stop)
        return Watched(stops, taken_up)

    def _take_up(self, conn: Connection, lease: Lease, row: PartitionState, topic: Topic) -> None:
        """Follows a topic that was not there: from 0, since what has expired of it is lost."""
        with conn.transaction():
            lease.guard(conn)
            drop_partition(conn, self._pipeline, row)
            for name, number in _places(topic):
                state = replace(row, topic=name, partition=number, topic_id=topic.id, next_offset=0)
                add_partition(conn, self._pipeline, state)


def _state(
    table: TableState, topic: Topic, number: int, offset: int, base: Position | None
) -> PartitionState:
    past = base is None
    return PartitionState(
        topic.name, number, table.generation, table.source, topic.id, offset, 0, "", base, past, ""
    )


def _places(topic: Topic) -> list[Place]:
    return [(topic.name, number) for number in range(topic.partitions)]


def _check_order(plan: TablePlan, topic: Topic) -> None:
    """Raises TableStopped where rows without a key come out of several partitions."""
    if not plan.key and topic.partitions > 1:
        raise TableStopped(
            f"{plan.source}: it has no key, so that its rows come in no order out of the"
            f" {topic.partitions} partitions of {topic.name}",
            "name a unique NOT NULL key in its mapping file, or have the topic made with one"
            " partition",
            "keyless-in-partitions",
        )


def _check_late(conn: Connection, plan: TablePlan, table: TableState, topic: Topic) -> None:
    """Raises TableStopped where the topic has more partitions than the table was made ready for."""
    _check_order(plan, topic)
    if topic.partitions == 1 or not any(each.unique for each in ddl.indexes(plan)):
        return
    found = conn.execute(Q["unique_indexes"], {"relation": table.target.postgres}).fetchone()
    if found and found[0]:
        what = (
            f"was made with {topic.partitions} partitions when the table had its unique indexes,"
            " whose values may come in another order than they were written"
        )
        raise _stopped(plan.source, topic.name, "partitions-changed", what)


def _check_same(name: TableName, topic: Topic | None, rows: Sequence[PartitionState]) -> None:
    """Raises TableStopped where the topic is not what it was."""
    known = rows[0].topic
    if topic is None:
        raise _stopped(name, known, "topic-gone", "does not exist any more")
    if topic.id != rows[0].topic_id:
        raise _stopped(name, known, "topic-recreated", "was deleted and made again")
    if topic.partitions != len(rows):
        what = f"has {topic.partitions} partitions now instead of {len(rows)}, so that changes of"
        raise _stopped(
            name, known, "partitions-changed", f"{what} one row may stand in two of them"
        )


def _stopped(name: TableName, topic: str, code: str, what: str) -> TableStopped:
    again = f"copy the table again: dbbridge tables resync {name.word}"
    return table_stopped(name, code, f"its topic {topic} {what}", again)


def settled(servers: Servers, visible: Callable[[], Position], logged: Position) -> None:
    """Waits until reads that begin now see everything up to `logged` (an upper bound).

    A change may be in Kafka before other sessions of the source see it. What `visible` gives (a
    lower bound, in GTIDs) is compared with the GTIDs that the log has up to `logged`. Raises
    ServerUnreachable where that takes too long.
    """
    start = visible()
    if start.kind == "file":
        goal = logged
    else:
        with closing(servers.source()) as source:
            goal = _gtids_at(servers, lower_bound(source), logged)
    deadline = time.monotonic() + SETTLE_SECONDS
    while not start.past(goal):
        if time.monotonic() > deadline:
            raise ServerUnreachable(
                "commits of the source stay invisible, though they stand in its log",
                "does a replica that has to acknowledge them not answer?",
            )
        time.sleep(0.05)
        start = visible()


def _gtids_at(servers: Servers, start: Position, end: Position) -> Position:
    """The position of the log's `end` in GTIDs, read from `start`, which is before or near it."""
    builder = Builder([], start, Position.at(end.file, end.offset))
    # Not the number of a stream by the log: that may be another pipeline's of the same name.
    number = server_id(f"{servers.pipeline} by kafka", True)
    deadline = time.monotonic() + SETTLE_SECONDS
    with BinlogConnection.open(servers.source, start, number, HEARTBEAT_SECONDS) as log:
        while not builder.reached:
            if time.monotonic() > deadline:
                raise ServerUnreachable(
                    f"the source's log could not be read up to {end.file}:{end.offset} in"
                    f" {SETTLE_SECONDS:.0f} s",
                    "it is tried again; is the network to the source slow?",
                )
            builder.feed(log.read(READ_SECONDS))
    return builder.progress.position()
