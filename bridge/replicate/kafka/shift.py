"""One consumer of the group: reads what its partitions have, and hands it to its writer.

What it may write is decided by the control schema alone. The group says which partitions are its
own; for each it raises the partition's epoch there, reads the offset, and reads on from that. When
anything ends badly, what was taken in and not applied is forgotten, and the offsets are read again:
nothing here is worth being kept.

The callbacks of the group are no fence: one that was frozen and wakes up writes before it hears
that it is out. That is why each transaction requires the epoch (`bridge.store.partitions`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from bridge.capture.topics import open_consumer
from bridge.change.batch import Batch
from bridge.databases.kafka import kafka_error
from bridge.errors import BridgeError, TableStopped
from bridge.replicate.kafka.assigned import Assigned
from bridge.replicate.kafka.crew import Work, read_work
from bridge.replicate.kafka.fetching import Fetching
from bridge.replicate.kafka.intake import Intake, Message
from bridge.replicate.kafka.lanes import Lane
from bridge.replicate.kafka.post import Facts, Post
from bridge.replicate.kafka.routes import Routes
from bridge.replicate.kafka.stops import offset_gone, stop_table
from bridge.replicate.kafka.writer import Writer
from bridge.replicate.points import passing
from bridge.store.migrate import migrate
from bridge.store.partitions import PartitionLost, PartitionState, Place, Q, take_partition

LOOK_SECONDS = 0.5
"""How often the control schema is asked what is to be followed."""
IDLE_SECONDS = 0.1
MOST_MESSAGES = 1_000
"""How many messages are taken from the client at once: larger takes stall for a second."""
FILL_SECONDS = 0.1
"""How long what was taken in may wait for more while the writer has nothing to do."""
ROOM_SECONDS = 1.0
"""How long a batch waits for the writer before the client is told to read nothing, which throws
away what it has fetched, and before the group is listened to once more."""
DRAIN_SECONDS = 5.0
"""How long what is being applied may take when a partition goes to another consumer."""
COMMIT_SECONDS = 5.0
"""How often offsets are written to Kafka, where others' tools look for lag; nothing reads them."""
MOST_SLOTS = 1000
END_OF_PARTITION, OFFSET_GONE = KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001


class Shift:
    """One membership, over one session with the target; ends with whatever goes wrong in it."""

    def __init__(
        self, post: Post, facts: Facts, stopping: threading.Event, *, static: bool
    ) -> None:
        self._post = post
        self._static = static
        self._pipeline = post.pipeline
        self._facts = facts
        self._stopping = stopping
        self._writer: Writer | None = None
        self._intake = Intake()
        self._routes = Routes(post)
        self._assigned = Assigned(post.holder, static=static)
        self._topics: frozenset[str] = frozenset()
        self._looked = 0.0
        self._committed = time.monotonic()
        self._held_up = False
        self._in_hand = False
        """Whether a batch waits for the writer, which goes before all that is taken in."""
        self._more = False
        """Whether messages came, and not the last ones of any partition."""
        self._handed = time.monotonic()
        """When the writer got its last batch."""

    def run(self) -> None:
        """Until the member is stopped; raises what ends the shift."""
        post = self._post
        with closing(post.open_target()) as self._control:
            migrate(self._control)
            name = f"{post.host}-{self._slot()}" if self._static else ""
            self._consumer = open_consumer(post.endpoint, post.group, name, self._on_error)
            self._fetching = Fetching(self._consumer)
            try:
                while not self._stopping.is_set():
                    self._round()
                self._drain()
            finally:
                self._leave()

    def _slot(self) -> int:
        """The first name of this host that no other process has: the same one after a restart."""
        for slot in range(MOST_SLOTS):
            names = {"pipeline": self._pipeline, "slot": f"{self._post.host}-{slot}"}
            row = self._control.execute(Q["try_slot"], names).fetchone()
            if row and row[0]:
                return slot
        raise BridgeError(f"{MOST_SLOTS} consumers run on this host already", "end some of them")

    def _leave(self) -> None:
        self._end_writer()
        self._consumer.close()
        with suppress(Exception):  # the session may be broken; then its epochs fence it
            names = {"pipeline": self._pipeline, "holder": self._post.holder}
            self._control.execute(Q["free_partitions"], names)

    def _on_error(self, error: KafkaError) -> None:
        """Errors of the client itself; those that heal are only told."""
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return  # it is not there yet; or gone, which the process that leads finds out
        known = kafka_error(error, self._post.endpoint)
        self._facts.tell(known.message)
        if not known.transient:
            raise KafkaException(error)

    # -- one round ---------------------------------------------------------------------------

    def _round(self) -> None:
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            self._look()
        messages, others = self._read()
        passing("stream.read")
        try:
            for batch in self._intake.feed(messages):
                self._put(batch)
            for other in others:
                self._heed(other)
            # With more at hand, a batch that is cut short costs as many statements as a full one.
            enough = not self._more or time.monotonic() - self._handed > FILL_SECONDS
            if enough and self._writer is not None and self._writer.idle:
                rest = self._intake.flush()
                if rest is not None:
                    self._put(rest)
        except TableStopped as stop:
            self._stop_table(stop)
        self._attend()

    def _read(self) -> tuple[list[Message], list[Any]]:
        """What is there: messages; and ends of partitions and errors, which stand behind them."""
        patience = 0.001 if self._intake.pending else IDLE_SECONDS
        first = self._consumer.poll(patience)
        self._more = first is not None
        if first is None:
            return [], []
        taken: list[Any] = [first, *self._consumer.consume(MOST_MESSAGES, 0)]
        found: list[Message] = [message for message in taken if message.error() is None]
        if len(found) == len(taken):
            return found, []
        return found, [message for message in taken if message.error() is not None]

    def _heed(self, other: Any) -> None:
        """An end of a partition, or an error. Raises TableStopped."""
        error = other.error()
        place = (str(other.topic()), int(other.partition() or 0))
        if error.code() == END_OF_PARTITION:
            self._more = False
            self._intake.ended(place, int(other.offset() or 0))
        elif error.code() == OFFSET_GONE:
            lane = self._intake.lanes.get(place)
            if lane is not None:
                raise offset_gone(lane)
        else:
            self._on_error(error)

    def _put(self, batch: Batch) -> None:
        """Hands over; the group must hear of us meanwhile, however long that takes.

        What it says may end the writer, and then the batch does not count any more.
        """
        writer = self._writer
        if writer is None:
            return
        self._in_hand = True
        while not (writer.ended.is_set() or self._stopping.is_set()):
            if writer.offer(batch, ROOM_SECONDS):
                break
            self._hold_up()
        self._in_hand = False
        self._handed = time.monotonic()
        if self._held_up:
            self._held_up = False
            lanes = self._intake.lanes
            if lanes:
                self._fetching.begin({place: lane.next for place, lane in lanes.items()})

    def _hold_up(self) -> None:
        if not self._held_up:
            self._held_up = True
            self._fetching.pause(self._intake.lanes)
        self._consumer.poll(0)

    def _attend(self) -> None:
        """Looks how the writer does, and tells Kafka how far it is."""
        writer = self._writer
        if writer is None:
            return
        if writer.failure is not None:
            self._recover(writer.failure)
        elif writer.applied and time.monotonic() - self._committed > COMMIT_SECONDS:
            self._committed = time.monotonic()
            offsets = [TopicPartition(t, n, end) for (t, n), end in writer.applied.items()]
            with suppress(KafkaException):
                self._consumer.commit(offsets=offsets, asynchronous=True)

    # -- what goes wrong ---------------------------------------------------------------------

    def _recover(self, failure: Exception) -> None:
        if isinstance(failure, TableStopped):
            self._stop_table(failure)
        elif isinstance(failure, PartitionLost):
            self._assigned.doubt(failure.places)
            self._begin_anew()
        else:
            raise failure

    def _stop_table(self, stop: TableStopped) -> None:
        if stop.table is None or stop.table not in self._routes:
            raise stop
        lanes = [lane for lane in self._intake.lanes.values() if lane.route.name == stop.table]
        self._end_writer()
        work = read_work(self._control, self._pipeline)
        state = work.tables.get(stop.table)
        if state is not None:
            stop_table(self._control, self._pipeline, stop, state, lanes)
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Forgets what is not applied; the next look takes the partitions again."""
        self._end_writer()
        self._fetching.pause(self._intake.lanes)
        self._intake.clear()
        self._looked = 0.0

    def _end_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.stop()

    def _drain(self) -> None:
        """Everything that was taken in is applied; raises what prevents it."""
        writer = self._writer
        if writer is None:
            return
        if self._in_hand:
            self._begin_anew()
            return
        batch = self._intake.flush()
        deadline = time.monotonic() + DRAIN_SECONDS
        while not writer.ended.is_set() and time.monotonic() < deadline:
            if batch is not None and writer.offer(batch, 0.05):
                batch = None
            if batch is None and writer.idle:
                return
            time.sleep(0.005)
        if writer.failure is not None:
            self._recover(writer.failure)
        else:
            self._begin_anew()

    # -- who has what ------------------------------------------------------------------------

    def _look(self) -> None:
        """Follows what is to be followed now."""
        work = read_work(self._control, self._pipeline)
        self._assigned.check(work)
        if work.topics != self._topics:
            self._topics = work.topics
            self._subscribe()
        lanes = self._intake.lanes
        gone = [p for p, lane in lanes.items() if not _same(lane, work.places.get(p))]
        ours = self._assigned.ours(work)
        fresh = [state for place, state in ours.items() if place not in lanes or place in gone]
        if not (gone or fresh or (lanes and not self._routes.fit(work))):
            return
        self._drain()
        self._rebuild(work, gone, fresh)

    def _rebuild(
        self,
        work: Work,
        gone: Sequence[Place],
        fresh: Sequence[PartitionState],
    ) -> None:
        """Ends the writer, gives partitions up and takes others, and begins a new writer."""
        self._end_writer()
        lanes = self._intake.lanes
        if not self._routes.fit(work):
            self._routes.compile(self._control, work, lanes.values())
        for place in gone:
            if lanes.pop(place, None) is not None:
                self._fetching.pause([place])
        for state in fresh:
            if state.table in self._routes:
                self._take(state)
        if not lanes:
            return
        now = read_work(self._control, self._pipeline)
        if not all(_same(lane, now.places.get(place)) for place, lane in lanes.items()):
            self._begin_anew()  # a table was stopped or paused since the first look
            return
        self._writer = Writer(
            self._post.open_target,
            self._pipeline,
            self._post.holder,
            self._routes.targets(now, lanes.values()),
            self._facts,
        )

    def _take(self, state: PartitionState) -> None:
        try:
            taken = take_partition(self._control, self._pipeline, state, self._post.holder)
        except PartitionLost as lost:
            self._assigned.doubt(lost.places)
            return
        if taken is None:
            return
        passing("partition.taken")
        self._intake.add(taken, self._routes[taken.table])
        self._fetching.begin({taken.place: taken.next_offset})

    # -- the group ---------------------------------------------------------------------------

    def _subscribe(self) -> None:
        if not self._topics:
            self._consumer.unsubscribe()
            return
        self._consumer.subscribe(
            sorted(self._topics),
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        """They wait until the next look, which takes those whose tables are followed."""
        self._assigned.give(_places(partitions))
        self._fetching.given()
        self._looked = 0.0

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._drain()
        self._on_lost(consumer, partitions)

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        places = _places(partitions)
        self._assigned.lose(places)
        self._fetching.lose(places)
        if any(place in self._intake.lanes for place in places):
            for place in places:
                self._intake.lanes.pop(place, None)
            self._begin_anew()


def _places(partitions: Sequence[TopicPartition]) -> list[Place]:
    return [(each.topic, each.partition) for each in partitions]


def _same(lane: Lane, row: PartitionState | None) -> bool:
    return row is not None and (row.generation, row.epoch) == (lane.generation, lane.epoch)
