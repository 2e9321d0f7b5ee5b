"""The applier against PostgreSQL: batches in, rows and position out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from bridge.change.batch import BadRow, Batch, Cascade, Op, Segment, TableOps
from bridge.change.position import Position
from bridge.errors import LeaseLost, TableStopped
from bridge.names import TableName
from bridge.sink.apply import Applier
from bridge.sink.quarantine import Quarantine
from bridge.sink.target import Target
from bridge.store.checkpoint import PipelineCheckpoint
from bridge.store.lease import acquire
from bridge.store.migrate import migrate
from bridge.store.state import read_pipeline
from bridge.types.table import ForeignKey
from tests.fix_servers import TargetDatabase
from tests.plans import create, plan

ITEMS = plan("items", [("id", "integer"), ("code", "text"), ("n", "integer")])
BAG = plan("bag", [("a", "integer"), ("doc", "json")], key=0)
ROOT = plan("root", [("id", "integer")])
BRANCH = plan(
    "branch",
    [("id", "integer"), ("root", "integer")],
    foreign_keys=[
        ForeignKey("f", ("root",), ROOT.source, ("id",), on_delete="CASCADE", on_update="CASCADE")
    ],
)
LEAF = plan(
    "leaf",
    [("id", "integer"), ("branch", "integer")],
    foreign_keys=[ForeignKey("f", ("branch",), BRANCH.source, ("id",), on_delete="SET NULL")],
)
ODD = plan("100%s", [("id", "integer"), ("%(b)s", "text")])
PLANS = (ITEMS, BAG, ROOT, BRANCH, LEAF, ODD)


class Rig:
    """An applier with its pipeline, and a second session to look at what it did."""

    def __init__(self, database: TargetDatabase) -> None:
        self.database = database
        self.look = database.connect()
        migrate(self.look)
        for made in PLANS:
            self.look.execute(create(made).encode())
        self.look.execute("CREATE UNIQUE INDEX ON items (code)")
        self.lease = acquire(database.connect(), "test")
        for made in PLANS:
            self.look.execute(
                "INSERT INTO dbbridge.tables (pipeline, source_schema, source_table, target_schema,"
                " target_table, mapping, version) VALUES"
                " ('test', 's', %s, 'public', %s, '{}', 'v')",
                (made.source.table, made.source.table),
            )
        self.conn = database.connect()
        self.targets = {made.source: Target(made, 1, made.target) for made in PLANS}
        self.applier = Applier(
            self.conn,
            self.targets.values(),
            PipelineCheckpoint(self.lease, "server"),
            Quarantine("test", most_rows=3),
        )
        self.offset = 0

    def apply(self, *segments: Segment, commit: bool = True) -> None:
        """One batch at the next position."""
        self.offset += 1
        position = Position.at("binlog.000001", self.offset) if commit else None
        self.applier.apply(Batch(list(segments), position))

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """What another session sees, sorted."""
        return sorted(self.look.execute(f"SELECT * FROM {table}".encode()).fetchall(), key=repr)

    def quarantined(self) -> list[tuple[Any, ...]]:
        """Keys and codes in quarantine."""
        return self.look.execute(
            "SELECT key, code FROM dbbridge.quarantine ORDER BY key"
        ).fetchall()

    def position(self) -> str | None:
        """The pipeline's position."""
        state = read_pipeline(self.look, "test")
        return str(state.position) if state and state.position else None

    def close(self) -> None:
        """Ends all sessions."""
        for conn in (self.conn, self.look, self.lease.conn):
            conn.close()


@pytest.fixture
def rig(target_db: TargetDatabase) -> Iterator[Rig]:
    """A rig in a fresh database."""
    with closing(Rig(target_db)) as made:
        yield made


def ops(made: Any, **rows: Any) -> Segment:
    """A segment of one keyed table: k1=b"line", k2=None."""
    pairs = {name[1:].encode(): image for name, image in rows.items()}
    return Segment(tables={made.source: TableOps(rows=pairs)})


def bad(key: bytes) -> BadRow:
    """A row that cannot be represented."""
    return BadRow(key, "zero-date", "n", "0000-00-00", b"\x00", "binlog.000001:4")


def test_rows_and_position_become_visible_together(rig: Rig) -> None:
    rig.apply(ops(ITEMS, k1=b"1\ta\t10", k2=b"2\tb\t\\N"))
    assert rig.rows("items") == [(1, "a", 10), (2, "b", None)]
    assert rig.position() == "binlog.000001:1"
    rig.apply(ops(ITEMS, k1=b"1\ta\\tb\\\\\t11", k2=None))
    assert rig.rows("items") == [(1, "a\tb\\", 11)]
    assert rig.position() == "binlog.000001:2"


def test_parts_of_a_transaction_stay_invisible_until_its_end(rig: Rig) -> None:
    rig.apply(ops(ITEMS, k1=b"1\ta\t1"), commit=False)
    rig.apply(ops(ITEMS, k1=b"1\ta\t2", k2=b"2\tb\t2"), commit=False)
    assert rig.rows("items") == []
    rig.apply(ops(ITEMS, k2=None, k3=b"3\tc\t3"))
    assert rig.rows("items") == [(1, "a", 2), (3, "c", 3)]


def test_abandoned_parts_leave_nothing(rig: Rig) -> None:
    rig.apply(ops(ITEMS, k1=b"1\ta\t1"), commit=False)
    rig.applier.abandon()
    rig.apply(ops(ITEMS, k2=b"2\tb\t2"))
    assert rig.rows("items") == [(2, "b", 2)]


def test_unique_values_may_swap(rig: Rig) -> None:
    rig.apply(ops(ITEMS, k1=b"1\ta\t1", k2=b"2\tb\t2", k3=b"3\tc\t3"))
    rig.apply(ops(ITEMS, k1=b"1\tb\t1", k2=b"2\tc\t2", k3=b"3\ta\t3"))
    assert rig.rows("items") == [(1, "b", 1), (2, "c", 2), (3, "a", 3)]
    assert rig.quarantined() == []


def test_unique_values_may_swap_in_a_later_part_of_a_transaction(rig: Rig) -> None:
    rig.apply(ops(ITEMS, k1=b"1\ta\t1", k2=b"2\tb\t2"), commit=False)
    rig.apply(ops(ITEMS, k1=b"1\tb\t1", k2=b"2\ta\t2"))
    assert rig.rows("items") == [(1, "b", 1), (2, "a", 2)]


def test_a_part_that_is_repeated_carefully_leaves_earlier_parts_alone(rig: Rig) -> None:
    rig.apply(ops(ITEMS, k1=b"1\ta\t1", k2=b"2\tb\t2", k3=b"3\tc\t3"))
    more = Segment(tables={BAG.source: TableOps(counts={b"1\t{}": 2})})
    rig.apply(ops(ITEMS, k3=b"3\tc\t4"), more, commit=False)
    less = Segment(tables={BAG.source: TableOps(counts={b"1\t{}": -1})})
    rig.apply(ops(ITEMS, k1=b"1\tb\t1", k2=b"2\ta\t2", k3=None), less)
    assert rig.rows("items") == [(1, "b", 1), (2, "a", 2)]
    assert [row[0] for row in rig.rows("bag")] == [1]
    assert rig.quarantined() == []


def test_a_refused_row_goes_to_quarantine_and_the_others_in(rig: Rig) -> None:
    rig.apply(ops(ITEMS, k1=b"1\ta\t1", k5=b"5\te\t5"))
    rig.apply(ops(ITEMS, k1=b"1\tz\tnonsense", k2=b"2\tb\t2", k3=b"3\tc\t3", k5=b"5\tb2\t5"))
    assert rig.rows("items") == [(2, "b", 2), (3, "c", 3), (5, "b2", 5)]
    assert rig.quarantined() == [(b"1", "refused-22P02")]
    rig.apply(ops(ITEMS, k1=b"1\tz\t7"))
    assert rig.rows("items")[0] == (1, "z", 7)
    assert rig.quarantined() == []


def test_a_bad_row_leaves_the_target_and_is_superseded(rig: Rig) -> None:
    rig.apply(ops(ITEMS, k1=b"1\ta\t1", k2=b"2\tb\t2"))
    rig.apply(ops(ITEMS, k1=bad(b"1"), k2=bad(b"2")))
    assert rig.rows("items") == []
    assert rig.quarantined() == [(b"1", "zero-date"), (b"2", "zero-date")]
    rig.apply(ops(ITEMS, k1=None))
    rig.apply(ops(ITEMS, k2=b"2\tb\t3"))
    assert rig.quarantined() == []
    assert rig.rows("items") == [(2, "b", 3)]


def test_too_many_bad_rows_stop_the_table_and_leave_nothing(rig: Rig) -> None:
    rows = {b"%d" % n: bad(b"%d" % n) for n in range(4)}
    with pytest.raises(TableStopped) as stop:
        rig.apply(Segment(tables={ITEMS.source: TableOps(rows=dict(rows))}))
    assert stop.value.code == "too-many-bad-rows"
    assert stop.value.table == ITEMS.source
    assert rig.quarantined() == []
    assert rig.position() is None


def test_truncate_goes_before_the_rows_of_its_segment(rig: Rig) -> None:
    rig.apply(ops(ITEMS, k1=b"1\ta\t1", k2=bad(b"2")))
    rig.apply(Segment(tables={ITEMS.source: TableOps(rows={b"3": b"3\tc\t3"}, truncate=True)}))
    assert rig.rows("items") == [(3, "c", 3)]
    assert rig.quarantined() == []


def test_a_table_without_a_key_is_a_multiset(rig: Rig) -> None:
    def counts(**lines: int) -> Segment:
        known = {"x": b'1\t{"a": 1}', "y": b"2\t\\N", "z": b"\\N\t\\N"}
        return Segment(
            tables={BAG.source: TableOps(counts={known[k]: n for k, n in lines.items()})}
        )

    rig.apply(counts(x=3, y=2, z=1))
    rig.apply(counts(x=-2, y=-1, z=-1))
    assert rig.rows("bag") == [(1, {"a": 1}), (2, None)]
    with pytest.raises(TableStopped) as stop:
        rig.apply(counts(x=-2))
    assert stop.value.code == "row-not-found"
    assert len(rig.rows("bag")) == 2


def test_cascades_go_through_all_levels_before_the_segments_rows(rig: Rig) -> None:
    rig.apply(
        ops(ROOT, k1=b"1", k2=b"2"),
        ops(BRANCH, k10=b"10\t1", k11=b"11\t1", k20=b"20\t2"),
        ops(LEAF, k100=b"100\t10", k200=b"200\t20"),
    )
    gone = Segment(
        cascades=[Cascade(ROOT.source, ("id",), b"1", None)],
        tables={
            ROOT.source: TableOps(rows={b"1": None}),
            BRANCH.source: TableOps(rows={b"12": b"12\t2"}),
        },
    )
    rig.apply(gone)
    assert rig.rows("branch") == [(12, 2), (20, 2)]
    assert rig.rows("leaf") == [(100, None), (200, 20)]
    moved = Segment(
        cascades=[
            Cascade(ROOT.source, ("id",), b"2", b"3"),
            Cascade(ROOT.source, ("id",), b"3", b"4"),
        ],
        tables={ROOT.source: TableOps(rows={b"2": None, b"4": b"4"})},
    )
    rig.apply(moved)
    assert rig.rows("branch") == [(12, 4), (20, 4)]


def test_a_cascade_into_quarantined_rows_stops_the_child(rig: Rig) -> None:
    rig.apply(ops(ROOT, k1=b"1"), ops(BRANCH, k10=bad(b"10")))
    with pytest.raises(TableStopped) as stop:
        rig.apply(Segment(cascades=[Cascade(ROOT.source, ("id",), b"1", None)]))
    assert stop.value.code == "cascade-in-quarantine"
    assert stop.value.table == BRANCH.source


def test_a_broken_target_stops_the_one_table(rig: Rig) -> None:
    rig.look.execute("ALTER TABLE items DROP COLUMN n")
    with pytest.raises(TableStopped) as stop:
        rig.apply(ops(ITEMS, k1=b"1\ta\t1"))
    assert stop.value.table == TableName("s", "items")
    rig.apply(ops(ROOT, k1=b"1"))
    assert rig.rows("root") == [(1,)]


def test_a_stale_daemon_cannot_commit(rig: Rig) -> None:
    rig.apply(ops(ROOT, k1=b"1"))
    rig.look.execute("UPDATE dbbridge.pipeline SET epoch = epoch + 1")
    with pytest.raises(LeaseLost):
        rig.apply(ops(ROOT, k2=b"2"))
    assert rig.rows("root") == [(1,)]
    assert rig.position() == "binlog.000001:1"


def test_more_tables_than_staging_tables(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.sink.apply.STAGED_TABLES", 1)
    for n in range(3):
        rig.apply(
            ops(ROOT, k1=b"1"),
            ops(ITEMS, k1=b"1\ta\t%d" % n),
            ops(BRANCH, k1=b"1\t1"),
            ops(ROOT, k1=None),
        )
    assert rig.rows("items") == [(1, "a", 2)]
    assert rig.rows("root") == []


def test_a_server_that_goes_away_is_no_refusal(rig: Rig) -> None:
    pid = rig.conn.info.backend_pid
    rig.look.execute("SELECT pg_terminate_backend(%s, 60000)", (pid,))
    with pytest.raises(psycopg.OperationalError):
        rig.apply(ops(ROOT, k1=b"1"))
    assert rig.rows("root") == []


def write_early(rig: Rig, op: Op, row: tuple[int, str, int]) -> None:
    """What a provisional write does in the target."""
    with rig.database.connect(autocommit=False) as conn:
        call = "SELECT dbbridge.claim('test', '{g}', '{1}', %s, %s, ARRAY['s'], ARRAY['items'])"
        conn.execute(call, (op.op_id, op.seq))
        conn.execute("INSERT INTO items VALUES (%s, %s, %s)", row)


def keyed(rows: Mapping[bytes, bytes]) -> Segment:
    """Changes of items, by key."""
    return Segment(tables={ITEMS.source: TableOps(rows=dict(rows))})


@pytest.fixture
def provisional(rig: Rig) -> Rig:
    """The group of the items is in provisional mode."""
    rig.look.execute("UPDATE dbbridge.tables SET stage = 'streaming'")
    rig.look.execute("INSERT INTO dbbridge.ops (pipeline) VALUES ('test')")
    rig.look.execute(
        "INSERT INTO dbbridge.authority (pipeline, grp, mode) VALUES ('test', 'g', 'provisional')"
    )
    return rig


def test_a_row_that_was_written_too_early_makes_room(provisional: Rig) -> None:
    rig, op = provisional, Op(uuid4(), 7)
    write_early(rig, op, (2, "same", 0))
    # The other one's change is older, and had the value first.
    rig.apply(keyed({b"1": b"1\tsame\t0"}))
    assert rig.rows("items") == [(1, "same", 0)]
    assert rig.quarantined() == []
    rig.offset += 1
    segment = keyed({b"1": b"1\tother\t0", b"2": b"2\tsame\t0"})
    position = Position.at("binlog.000001", rig.offset)
    rig.applier.apply(Batch([segment], position, ops=(op,)))
    assert rig.rows("items") == [(1, "other", 0), (2, "same", 0)]
    # From now on it is the stream's row, and in its right.
    rig.apply(keyed({b"3": b"3\tsame\t0"}))
    assert rig.rows("items") == [(1, "other", 0), (2, "same", 0)]
    assert rig.quarantined() == [(b"3", "refused-23505")]


def test_names_with_percent_signs_are_no_placeholders(provisional: Rig) -> None:
    rig = provisional
    rig.look.execute('CREATE UNIQUE INDEX ON "100%s" ("%(b)s")')
    rig.apply(Segment(tables={ODD.source: TableOps(rows={b"1": b"1\tsame"})}))
    rig.apply(Segment(tables={ODD.source: TableOps(rows={b"2": b"2\tsame"})}))
    assert rig.rows('"100%s"') == [(1, "same")]
    assert rig.quarantined() == [(b"2", "refused-23505")]
    with rig.database.connect(autocommit=False) as conn:
        call = "SELECT dbbridge.claim('test', '{g}', '{1}', %s, 7, ARRAY['s'], ARRAY['items'])"
        conn.execute(call, (uuid4(),))
        conn.execute("INSERT INTO \"100%s\" VALUES (3, 'early')")
    rig.apply(Segment(tables={ODD.source: TableOps(rows={b"4": b"4\tearly"})}))
    assert rig.rows('"100%s"') == [(1, "same"), (4, "early")]


def test_whoever_claims_second_is_refused(provisional: Rig) -> None:
    rig, op = provisional, Op(uuid4(), 7)
    rig.applier.apply(Batch([], Position.at("binlog.000001", 1), ops=(op,)))
    with pytest.raises(psycopg.Error) as refused:
        write_early(rig, op, (2, "late", 0))
    assert refused.value.sqlstate == "DBW04"
    rig.look.execute("UPDATE dbbridge.ops SET pruned = 8")
    with pytest.raises(psycopg.Error) as refused:
        write_early(rig, Op(uuid4(), 8), (2, "late", 0))
    assert refused.value.sqlstate == "DBW02"
    free = [Op(uuid4(), number) for number in (9, 10)]
    several = [op, *free, Op(uuid4(), 8)]
    call = "SELECT dbbridge.claim_all('test', '{g}', '{1}', %s, %s, ARRAY['s'], ARRAY['items'])"
    numbers = [each.seq for each in several]
    claimed = rig.look.execute(call, ([each.op_id for each in several], numbers)).fetchall()
    assert {name for (name,) in claimed} == {each.op_id for each in free}
    rig.look.execute("UPDATE dbbridge.authority SET epoch = 2")
    with pytest.raises(psycopg.Error) as refused:
        write_early(rig, Op(uuid4(), 9), (2, "late", 0))
    assert refused.value.sqlstate == "DBW01"
    with pytest.raises(psycopg.Error) as refused:
        rig.look.execute(call, ([uuid4()], [11]))
    assert refused.value.sqlstate == "DBW01"
    assert rig.rows("items") == []
