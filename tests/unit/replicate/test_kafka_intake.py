"""Messages into batches: what is passed over, what is coalesced, what stops a table."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from bridge.capture.debezium import compiled
from bridge.capture.debezium.rows import compile_events
from bridge.change.batch import Batch
from bridge.change.position import Position
from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.replicate.kafka import intake
from bridge.replicate.kafka.intake import Intake
from bridge.replicate.kafka.lanes import STREAMED, Route
from bridge.store.partitions import PartitionState
from bridge.types.base import ColumnPlan, SourceColumn
from bridge.types.events import EventSettings
from bridge.types.table import SourceTable

TABLE = TableName("shop", "orders")
SERVER = "cd95ee65-e591-11f1-a352-02fc00000001"


@dataclass(frozen=True)
class Sent:
    """A message as the client gives it."""

    place: tuple[str, int]
    at: int
    body: bytes | None

    def topic(self) -> str:
        """See Message."""
        return self.place[0]

    def partition(self) -> int:
        """See Message."""
        return self.place[1]

    def offset(self) -> int:
        """See Message."""
        return self.at

    def value(self) -> bytes | None:
        """See Message."""
        return self.body


def route(*, key: int = 1, partitions: int = 2) -> Route:
    sources = (
        SourceColumn("id", 1, "int", "int", nullable=False),
        SourceColumn("n", 2, "int", "int"),
    )
    columns = tuple(ColumnPlan(source, source.name, "integer") for source in sources)
    table = SourceTable(TABLE, "mysql", "InnoDB", sources, ("id",) if key else ())
    plan = TablePlan(table, TableName("public", "orders"), columns, key, "v1")
    return Route(compile_events(plan, EventSettings(schemas=False)), partitions, schemas=False)


def state(
    partition: int = 0, offset: int = 0, base: Position | None = None, snapshot: str = ""
) -> PartitionState:
    return PartitionState(
        "t", partition, 1, TABLE, "id", offset, 7, "me", base, base is None, snapshot
    )


def event(
    op: str,
    before: tuple[int, int | None] | None,
    after: tuple[int, int | None] | None,
    **source: Any,
) -> bytes:
    about = {"db": "shop", "table": "orders", "file": "binlog.000003", "pos": 400, "ts_ms": 1000}
    rows = [row and dict(zip(("id", "n"), row, strict=True)) for row in (before, after)]
    told = {"before": rows[0], "after": rows[1], "op": op, "source": {**about, **source}}
    return json.dumps(told).encode()


def send(*values: bytes | None, partition: int = 0, first: int = 0) -> list[Sent]:
    return [Sent(("t", partition), first + n, value) for n, value in enumerate(values)]


def rows(batch: Batch | None) -> dict[bytes, Any]:
    assert batch is not None
    return batch.segments[0].tables[TABLE].rows


def opened(*states: PartitionState, **options: int) -> Intake:
    made, shared = Intake(), route(**options)
    for each in states:
        made.add(each, shared)
    return made


@pytest.fixture(autouse=True, params=["compiled", "in Python"])
def _either_reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in Python":
        monkeypatch.setattr(compiled, "READER", None)
    elif compiled.READER is None:
        pytest.skip("the compiled reader was not built: that takes a C compiler and Python.h")


def test_the_last_image_of_a_key_counts() -> None:
    made = opened(state())
    made.feed(send(event("c", None, (1, 5)), event("u", (1, 5), (1, 6)), event("c", None, (2, 0))))
    batch = made.flush()
    assert rows(batch) == {b"1": b"1\t6", b"2": b"2\t0"}
    assert batch is not None
    assert batch.counts == {TABLE: (2, 1, 0)}
    assert batch.source_time == 1.0
    (stretch,) = batch.offsets
    assert (stretch.start, stretch.end, stretch.epoch, stretch.generation) == (0, 3, 7, 1)
    assert made.flush() is None


def test_messages_below_the_offset_are_passed_over_and_gaps_are_not_missed() -> None:
    made = opened(state(offset=10))
    made.feed(send(event("c", None, (1, 1)), first=8))
    assert made.flush() is None
    made.feed(send(event("c", None, (2, 2)), first=15))
    batch = made.flush()
    assert rows(batch) == {b"2": b"2\t2"}
    assert batch is not None
    assert (batch.offsets[0].start, batch.offsets[0].end) == (10, 16)


def test_the_end_of_a_partition_moves_the_offset_over_what_is_no_message() -> None:
    made = opened(state(), state(1))
    made.ended(("t", 1), 4)
    made.ended(("t", 1), 3)
    made.ended(("other", 0), 9)
    batch = made.flush()
    assert batch is not None
    assert [(s.partition, s.start, s.end) for s in batch.offsets] == [(1, 0, 4)]
    assert batch.segments == []
    assert batch.ends


def test_what_was_forgotten_hides_nothing_that_comes_again() -> None:
    made, shared = Intake(), route()
    made.add(state(), shared)
    made.feed(send(event("c", None, (1, 1)), event("c", None, (2, 2))))
    made.clear()
    assert made.flush() is None
    made.add(state(), shared)
    made.feed(send(event("c", None, (1, 1))))
    batch = made.flush()
    assert rows(batch) == {b"1": b"1\t1"}
    assert batch is not None
    assert batch.counts == {TABLE: (1, 0, 0)}


def test_tombstones_and_partitions_of_others_change_nothing() -> None:
    made = opened(state())
    made.feed([*send(None), *send(event("c", None, (1, 1)), partition=1)])
    batch = made.flush()
    assert batch is not None
    assert batch.segments == []
    assert [(s.partition, s.end) for s in batch.offsets] == [(0, 1)]


def test_a_changed_key_comes_in_halves_from_two_partitions() -> None:
    made = opened(state(), state(1))
    made.feed(send(event("d", (1, 5), None), None))
    made.feed(send(event("c", None, (2, 5)), partition=1))
    assert rows(made.flush()) == {b"1": None, b"2": b"2\t5"}


def test_batches_are_handed_over_when_they_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "BATCH_ROWS", 2)
    made = opened(state())
    full = made.feed(send(*(event("c", None, (n, n)) for n in range(5))))
    assert [(b.offsets[0].start, b.offsets[0].end) for b in full] == [(0, 2), (2, 4)]
    assert rows(made.flush()) == {b"4": b"4\t4"}


def test_what_the_copy_holds_is_passed_over_by_its_gtid() -> None:
    base = Position("mysql-gtid", f"{SERVER}:1-10", "binlog.000003", 999)
    made = opened(state(base=base))
    made.feed(
        send(
            event("c", None, (1, 1), gtid=f"{SERVER}:10"),
            event("c", None, (2, 2), gtid=f"{SERVER}:11"),
        )
    )
    batch = made.flush()
    assert rows(batch) == {b"2": b"2\t2"}
    assert batch is not None
    assert batch.offsets[0].past


def test_without_gtids_it_is_by_where_it_stands() -> None:
    made = opened(state(base=Position.at("binlog.000003", 400)))
    made.feed(
        send(event("c", None, (1, 1), pos=399), event("c", None, (2, 2), pos=400)),
    )
    assert rows(made.flush()) == {b"2": b"2\t2"}


def test_rows_without_a_key_are_counted() -> None:
    made = opened(state(), key=0, partitions=1)
    made.feed(
        send(
            event("c", None, (1, 1)),
            event("c", None, (1, 1)),
            event("u", (1, 1), (1, 2)),
            event("d", (9, 9), None),
        )
    )
    batch = made.flush()
    assert batch is not None
    assert batch.segments[0].tables[TABLE].counts == {b"1\t1": 1, b"1\t2": 1, b"9\t9": -1}


def test_a_snapshot_is_followed_by_changes() -> None:
    made = opened(state())
    made.feed(send(event("r", None, (1, 1), snapshot="first"), event("u", (1, 1), (1, 2))))
    batch = made.flush()
    assert rows(batch) == {b"1": b"1\t2"}
    assert batch is not None
    assert batch.offsets[0].snapshot == "binlog.000003:400"


@pytest.mark.parametrize(
    "known", [state(snapshot="binlog.000003:399"), state(snapshot=STREAMED),
              state(base=Position.at("binlog.000002", 4))],
)  # fmt: skip
def test_another_snapshot_stops_the_table(known: PartitionState) -> None:
    made = opened(known)
    with pytest.raises(TableStopped) as caught:
        made.feed(send(event("r", None, (1, 1), snapshot="true")))
    assert (caught.value.code, caught.value.table) == ("snapshot-restarted", TABLE)


def test_rows_of_an_incremental_snapshot_are_rows() -> None:
    made = opened(state(base=Position.at("binlog.000003", 4)))
    made.feed(send(event("r", None, (1, 1), snapshot="incremental")))
    assert rows(made.flush()) == {b"1": b"1\t1"}


def test_a_table_is_emptied_in_order_where_it_has_one_partition() -> None:
    made = opened(state(), partitions=1)
    made.feed(send(event("c", None, (1, 1)), event("t", None, None), event("c", None, (2, 2))))
    batch = made.flush()
    assert batch is not None
    ops = batch.segments[0].tables[TABLE]
    assert (ops.truncate, ops.rows) == (True, {b"2": b"2\t2"})
    with pytest.raises(TableStopped) as caught:
        opened(state()).feed(send(event("t", None, None)))
    assert caught.value.code == "truncated"


def test_a_message_that_nobody_can_read_names_its_place() -> None:
    with pytest.raises(TableStopped) as caught:
        opened(state()).feed(send(b"<xml/>", first=12))
    assert caught.value.code == "unknown-event"
    assert "t[0]:12" in caught.value.message
    assert caught.value.table == TABLE


def test_a_table_that_is_compiled_anew_is_read_anew() -> None:
    """In each partition."""
    made = opened(state(), state(1))
    for partition in (0, 1):
        made.feed(send(*(event("c", None, (n, partition)) for n in (1, 2)), partition=partition))
    assert rows(made.flush()) == {b"1": b"1\t1", b"2": b"2\t1"}
    plan = route().decoder.plan
    swapped = compile_events(
        replace(plan, columns=plan.columns[::-1]), EventSettings(schemas=False)
    )
    again = Route(swapped, 2, schemas=False)
    for lane in made.lanes.values():
        lane.follow(again)
    for partition in (0, 1):
        values = [event("c", None, (n, 10 * n + partition)) for n in (1, 2)]
        made.feed(send(*values, partition=partition, first=2))
    assert rows(made.flush()) == {b"%d" % n: b"%d\t%d" % (n, n // 10) for n in (10, 20, 11, 21)}


def test_when_the_last_change_was_made() -> None:
    """Whoever read it."""
    made = opened(state(), state(1))
    made.feed(send(event("c", None, (1, 1)), event("c", None, (2, 1), ts_ms=5000)))
    batch = made.flush()
    assert batch is not None
    assert batch.source_time == 5.0
    later = [event("c", None, (3, 1), ts_ms=6000), event("u", (3, 1), (3, 2), ts_ms=7000)]
    made.feed(send(*later, event("r", None, (4, 1), ts_ms=8000, snapshot="incremental"), first=2))
    batch = made.flush()
    assert batch is not None
    assert (batch.source_time, batch.counts) == (8.0, {TABLE: (2, 1, 0)})
    made.ended(("t", 1), 5)
    batch = made.flush()
    assert batch is not None
    assert batch.segments == []
