"""Messages of tables' topics into batches (pure).

Only the last image of a key counts in a batch, as with the binlog: the partitions of a topic have
no keys in common, and each is read in order. A transaction that spans partitions, or more than a
batch, is not applied as one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from bridge.capture.debezium.envelope import RowChange, classify, place_text, unknown
from bridge.change.batch import Batch, Segment, TableOps
from bridge.errors import TableStopped
from bridge.names import TableName
from bridge.replicate.kafka.lanes import Lane, Route
from bridge.replicate.merge import merge
from bridge.store.partitions import PartitionState, Place

BATCH_ROWS = 10_000
BATCH_BYTES = 8 << 20
"""What a batch holds, in messages and in bytes of them without their schemas."""
_KINDS = {"c": 0, "r": 0, "u": 1, "d": 2}


class Message(Protocol):
    """What is needed of confluent_kafka.Message."""

    def topic(self) -> str:
        """The topic."""
        ...

    def partition(self) -> int:
        """The partition's number."""
        ...

    def offset(self) -> int:
        """The offset."""
        ...

    def value(self) -> bytes | None:
        """The event; None for a tombstone."""
        ...


class Intake:
    """Takes messages of the partitions that it was given; gives batches."""

    def __init__(self) -> None:
        self.lanes: dict[Place, Lane] = {}
        self._touched: dict[TableName, Route] = {}
        self._rows = 0
        self._bytes = 0
        self._time = 0
        """When the last change was made (ms since 1970)."""

    def add(self, state: PartitionState, route: Route) -> None:
        """Follows a partition from the state's offset."""
        offset = state.next_offset
        self.lanes[state.place] = Lane(
            state.place,
            state.generation,
            route,
            state.epoch,
            state.base,
            state.past,
            state.snapshot,
            offset,
            offset,
        )

    @property
    def pending(self) -> bool:
        """Whether anything waits to be handed over."""
        return self._rows > 0

    def ended(self, place: Place, offset: int) -> None:
        """The partition has nothing more before `offset`: what is left out there are no rows."""
        lane = self.lanes.get(place)
        if lane is not None and offset > lane.next:
            lane.next = offset

    def feed(self, messages: Iterable[Message]) -> list[Batch]:
        """Takes messages in; gives the batches that have become full.

        Raises TableStopped, which names the table: then nothing that was taken in and not handed
        over counts any more.
        """
        full: list[Batch] = []
        topic, number, lane = "", -1, None
        for message in messages:
            # Messages come in runs of a partition each.
            if message.partition() != number or message.topic() != topic:
                topic, number = message.topic(), message.partition()
                lane = self.lanes.get((topic, number))
            offset = message.offset()
            if lane is None or offset < lane.next:
                continue
            value = message.value()
            if value is not None and not self._take(lane, value):
                self._look(lane, value, offset)
            lane.next = offset + 1
            if self._rows >= BATCH_ROWS or self._bytes >= BATCH_BYTES:
                batch = self.flush()
                if batch is not None:
                    full.append(batch)
        return full

    def flush(self) -> Batch | None:
        """What has been taken in, as a batch; None if that is nothing."""
        offsets = tuple(lane.stretch() for lane in self.lanes.values() if lane.next > lane.start)
        if not offsets:
            return None
        tables = {name: route.ops for name, route in self._touched.items() if route.ops}
        batch = Batch(
            segments=[Segment(tables=tables)] if tables else [],
            position=None,
            source_time=self._time / 1000,
            counts={
                name: (route.counts[0], route.counts[1], route.counts[2])
                for name, route in self._touched.items()
                if any(route.counts)
            },
            offsets=offsets,
        )
        self._forget()
        for lane in self.lanes.values():
            lane.start = lane.next
        return batch

    def clear(self) -> None:
        """Follows nothing any more, and forgets what was taken in and not handed over.

        Routes outlive an intake, and what they gathered would stay in them.
        """
        self.lanes.clear()
        self._forget()

    def _forget(self) -> None:
        for route in self._touched.values():
            route.ops = None
            route.counts[:] = (0, 0, 0)
        self._touched.clear()
        self._rows = self._bytes = 0

    def _take(self, lane: Lane, value: bytes) -> bool:
        """Whether it was one of the usual events, which the compiled reader takes in."""
        route, reader = lane.route, lane.reader
        if reader is None or route.ops is None:
            return False
        kind = reader.take(value, route.ops.rows)
        if kind < 0:
            return False
        route.counts[kind] += 1
        self._rows += 1
        self._bytes += len(value) - route.schema_bytes
        self._time = reader.ts_ms
        return True

    def _look(self, lane: Lane, value: bytes, offset: int) -> None:
        """Takes any other event in, or the first one of a batch."""
        try:
            self._take_slowly(lane, value, (*lane.place, offset))
        except TableStopped as stop:
            stop.table = lane.route.name
            if stop.code == "unknown-event":
                stop.hint += f", then: dbbridge tables resync {stop.table.word}"
            raise

    def _take_slowly(self, lane: Lane, value: bytes, place: tuple[str, int, int]) -> None:
        route, decoder = lane.route, lane.route.decoder
        ops = route.ops
        if ops is None:
            ops = route.ops = TableOps()
            self._touched[route.name] = route
        if not lane.past:
            if lane.holds(_change(route, value, place).source):
                return
            lane.past = True
        if route.direct:
            event = decoder.apply(value, ops.rows, place)
        else:
            event, before, after = decoder.pair(value, place)
            merge(decoder.plan, ops, [(before, after)])
        op = event.op
        if op == "r" or not lane.snapshot:
            lane.heed_snapshot(event)
        if op == "t":
            _truncate(route, ops, place_text(place))
        else:
            route.counts[_KINDS[op]] += 1
        # From here on nothing but its row is to be learned of a change.
        lane.reader = decoder.reader if route.direct else None
        route.schema_bytes = decoder.schema_bytes
        self._rows += 1
        self._bytes += len(value) - route.schema_bytes
        self._time = event.source.ts_ms


def _change(route: Route, value: bytes, place: tuple[str, int, int]) -> RowChange:
    found = classify(value, place, schemas=route.schemas)
    if not isinstance(found, RowChange):
        raise unknown(place, f"it is no change of a row but {type(found).__name__}")
    return found


def _truncate(route: Route, ops: TableOps, at: str) -> None:
    if route.partitions > 1:
        raise TableStopped(
            f"{route.name}: it was emptied at {at}, and with {route.partitions} partitions nobody"
            " knows what came before and what after",
            f"copy the table again: dbbridge tables resync {route.name.word}",
            "truncated",
        )
    ops.rows.clear()
    ops.counts.clear()
    ops.truncate = True
