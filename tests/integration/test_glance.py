"""Many rows compared by one hash: what is equal agrees on both servers, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any, get_args

import pytest

from bridge.mapping.plan import TablePlan
from bridge.report.verification import TableVerdict
from bridge.verify import source, walk
from bridge.verify.found import digest_text
from bridge.verify.pace import Pace
from bridge.verify.source import SourceReader, source_session
from bridge.verify.subject import Level, Subject
from bridge.verify.table import Walking, verify_table
from bridge.verify.target import TargetReader, target_session
from bridge.verify.values import Glance, Totals
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.integration.test_verify import CHANGES, FULL, NULLS, TYPES
from tests.verifying import CurrentStream, World

ROWS = 20_000
UNIT = "\x1f"


@pytest.fixture
def world(source_db: SourceDatabase, target_db: TargetDatabase) -> World:
    return World(source_db, target_db)


@contextmanager
def readers_of(world: World, plan: TablePlan) -> Iterator[tuple[SourceReader, TargetReader]]:
    subject = Subject.of(plan, plan.target, "values")
    assert subject.glanced
    with closing(world.source()) as source, closing(world.target()) as target:
        yield (
            SourceReader(source_session(source), subject),
            TargetReader(target_session(target), subject),
        )


def test_rows_of_every_type_agree_until_one_value_is_another_one(world: World) -> None:
    world.mysql(
        TYPES,
        *(FULL.format(id=number) for number in range(1, 6)),
        NULLS.format(id=6),
        FULL.format(id=7),
    )
    plan = world.copied("every")
    with readers_of(world, plan) as (source, target), closing(world.target()) as other:
        mine = source.glance([])
        assert mine.rows == 7
        assert mine.agrees(target.glance([], []))
        relation = plan.target.postgres
        for column, value in CHANGES.items():
            for row in (3, 6):
                change = f"UPDATE {relation} SET {column} = {value} WHERE id = {row}"
                again = f"UPDATE {relation} t SET {column} = k.{column} FROM kept k"
                again += " WHERE t.id = k.id"
                other.execute(f"CREATE TEMP TABLE kept AS SELECT * FROM {relation}".encode())
                other.execute(change.encode())
                found = target.glance([], [])
                if column not in ("ts", "t", "tx") or row == 3:  # of NULL these make NULL
                    assert found.rows == mine.rows
                    assert not mine.agrees(found), (column, row)
                other.execute(again.encode())
                other.execute(b"DROP TABLE kept")
                assert mine.agrees(target.glance([], []))


def test_a_row_too_many_or_too_few_is_seen(world: World) -> None:
    world.mysql("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1,1),(2,NULL)")
    plan = world.copied("t")
    with readers_of(world, plan) as (source, target):
        for number in (2, 1):
            world.postgres(f"DELETE FROM {plan.target.postgres} WHERE id = {number}")
            assert not source.glance([]).agrees(target.glance([], []))
        world.mysql("DELETE FROM t")
        assert source.glance([]) == target.glance([], []) == Glance(0, None)
        assert source.glance([]).agrees(target.glance([], []))
        world.postgres(f"INSERT INTO {plan.target.postgres} VALUES (1, NULL)")
        assert not source.glance([]).agrees(target.glance([], []))


def test_rows_that_are_one_text_when_they_are_joined_are_told_apart(world: World) -> None:
    """Where a value tells not how long it is, these two tables are the same."""
    world.mysql(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(20) NOT NULL)",
        f"INSERT INTO t VALUES (1, 'a{UNIT}2{UNIT}b'), (3, 'c')",
    )
    plan = world.copied("t")
    relation = plan.target.postgres
    world.postgres(f"DELETE FROM {relation}")
    world.postgres(f"INSERT INTO {relation} VALUES (1, 'a'), (2, 'b{UNIT}3{UNIT}c')")
    with readers_of(world, plan) as (source, target):
        assert not source.glance([]).agrees(target.glance([], []))
    found = verified(world, plan)
    assert (found.verdict, found.differing) == ("mismatch", 3)


def verified(world: World, plan: TablePlan) -> TableVerdict:
    with closing(world.source()) as conn:
        return verify_table(plan, plan.target, "values", world, CurrentStream(conn))


def filled(world: World, options: str = "") -> TablePlan:
    """Many rows, which lie in the target in another order than that of their keys."""
    world.mysql(f"CREATE TABLE t (id int PRIMARY KEY, n int, v varchar(60)) {options}")
    for done in range(0, ROWS, 5_000):
        rows = ",".join(f"({n}, {n % 97}, 'v{n}')" for n in range(done, done + 5_000))
        world.mysql(f"INSERT INTO t VALUES {rows}")
    world.mysql("ANALYZE TABLE t")
    plan = world.copied("t")
    world.postgres(f"UPDATE {plan.target.postgres} SET n = n WHERE id % 7 = 0")
    return plan


class Calls:
    """Counts sums and glances of either side."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.glances: list[Glance] = []
        self.sums: list[Totals] = []
        for reader in (SourceReader, TargetReader):
            for name, kept in (("glance", self.glances), ("totals", self.sums)):
                monkeypatch.setattr(reader, name, self._counted(getattr(reader, name), kept))

    @staticmethod
    def _counted(original: Callable[..., Any], kept: list[Any]) -> Callable[..., Any]:
        def counted(*words: Any, **options: Any) -> Any:
            found = original(*words, **options)
            kept.append(found)
            return found

        return counted


def test_a_table_without_a_difference_is_only_glanced_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, calls = filled(world), Calls(monkeypatch)
    found = verified(world, plan)
    assert (found.verdict, found.source_rows) == ("match", ROWS)
    assert found.digest == verified(world, plan).digest != digest_text(0)
    assert len(calls.glances) > 8
    assert not calls.sums


def test_what_differs_is_summed_in_buckets_from_there_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, calls = filled(world), Calls(monkeypatch)
    world.postgres(f"UPDATE {plan.target.postgres} SET v = v || ' ' WHERE id IN (5, 11000)")
    found = verified(world, plan)
    assert (found.verdict, found.source_rows, found.differing) == ("mismatch", ROWS, 2)
    assert {tuple(each.key.values()) for each in found.differences} == {("5",), ("11000",)}
    assert calls.glances
    assert calls.sums


def test_what_is_longer_than_the_source_may_join_is_summed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = source._LIMIT.replace("1073741824", "1024")
    monkeypatch.setattr(source, "_LIMIT", short)
    plan, calls = filled(world), Calls(monkeypatch)
    assert verified(world, plan).verdict == "match"
    assert calls.sums


def test_rows_in_another_order_match_as_well(world: World) -> None:
    """MySQL reads one partition after another, MariaDB merges some and not others."""
    plan = filled(world, "PARTITION BY HASH (id) PARTITIONS 3")
    assert verified(world, plan).verdict == "match"


@pytest.mark.parametrize("level", get_args(Level))
@pytest.mark.parametrize("twice", [True, False])
def test_a_sum_is_taken_where_it_is_wanted(world: World, level: Level, twice: bool) -> None:
    world.mysql("CREATE TABLE t (id int PRIMARY KEY, v int)")
    plan = world.plan("t")
    subject = Subject.of(plan, plan.target, level, twice=twice)
    assert subject.glanced == (level != "counts" and not twice)


@pytest.mark.parametrize(
    ("key", "glanced"),
    [("id", True), ("id, n", True), ("u", True), ("v", False), ("id, v", False), ("d", False)],
)
def test_only_integers_are_ordered_alike_everywhere(world: World, key: str, glanced: bool) -> None:
    world.mysql(
        "CREATE TABLE t (id int NOT NULL, n bigint NOT NULL, u bigint unsigned NOT NULL,"
        f" v varchar(9) COLLATE utf8mb4_bin NOT NULL, d decimal(9,1) NOT NULL, PRIMARY KEY ({key}))"
    )
    plan = world.plan("t")
    assert Subject.of(plan, plan.target, "values").glanced == glanced


def test_a_range_holds_no_more_than_a_server_can_join(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the server's estimate of how large the table is."""
    plan = filled(world)
    for size in (plan.table.bytes, 64 * walk.GLANCE_BYTES):
        large = replace(plan, table=replace(plan.table, bytes=size))
        subject = Subject.of(large, large.target, "values")
        with Walking(world).sides(subject) as sides:
            ranges = [each.range for each in walk.Walk(sides, Pace()).ranges(None, None)]
        assert all(each.coarse for each in ranges)
        assert len(ranges) >= size // walk.GLANCE_BYTES
