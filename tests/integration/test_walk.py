"""Both sides are summed by two threads, and the one that is ahead helps the other."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from bridge.verify import table, walk
from bridge.verify.pace import Pace
from bridge.verify.ranges import Summed
from bridge.verify.subject import Subject
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.verifying import World

ROWS = 20_000
HELD_SECONDS = 60


class Held(Pace):
    """The thread that comes first waits at its first piece until the other one gets no further."""

    def __init__(self, first: str) -> None:
        self._first = first
        self._free = threading.Event()
        self._lock = threading.Lock()
        self.pieces: Counter[str] = Counter()

    def wait(self, halted: Callable[[], bool]) -> None:
        """See Pace."""
        name = threading.current_thread().name
        with self._lock:
            self.pieces[name] += 1
            mine = self.pieces[name]
        if name.startswith(self._first):
            if mine == 1:
                assert self._free.wait(HELD_SECONDS)
        elif mine == 2 * walk.AHEAD - 3:
            self._free.set()


@pytest.fixture
def subject(
    source_db: SourceDatabase, target_db: TargetDatabase, monkeypatch: pytest.MonkeyPatch
) -> tuple[World, Subject]:
    monkeypatch.setattr(table, "HELPED_ROWS", 0)
    monkeypatch.setattr(walk, "FIRST_ROWS", 100)
    world = World(source_db, target_db)
    world.mysql("CREATE TABLE t (id int PRIMARY KEY, v varchar(20))")
    for done in range(0, ROWS, 5_000):
        rows = ",".join(f"({n}, 'v{n % 97}')" for n in range(done, done + 5_000))
        world.mysql(f"INSERT INTO t VALUES {rows}")
    world.mysql("ANALYZE TABLE t")
    plan = world.copied("t")
    return world, Subject.of(plan, plan.target, "values")


def walked(world: World, subject: Subject, pace: Pace) -> list[Summed]:
    """All ranges, which have to follow one another."""
    with table.Walking(world, pace).sides(subject) as sides:
        found = list(walk.Walk(sides, pace).ranges(None, None))
    assert found[0].range.lower is None
    assert found[-1].range.upper is None
    for one, other in pairwise(found):
        assert one.range.upper == other.range.lower
    assert sum(rows for each in found for rows, _ in each.source.values()) == ROWS
    assert all(each.source == each.target for each in found)
    return found


@pytest.mark.parametrize("held", ["source", "target"])
def test_either_side_is_helped(subject: tuple[World, Subject], held: str) -> None:
    """While one thread stands at one piece, the other one reads both sides of all that it may."""
    pace = Held(f"walk-{held}")
    assert len(walked(*subject, pace)) > 2 * walk.AHEAD


def test_a_limited_source_has_one_reader(subject: tuple[World, Subject]) -> None:
    pace = Pace()
    pace.bounded = True
    with table.Walking(subject[0], pace).sides(subject[1]) as sides:
        assert sides.helpers.source is None
        assert sides.helpers.target is not None
    walked(*subject, pace)
