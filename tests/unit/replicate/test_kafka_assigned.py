"""What the group says of partitions, and when that is not believed."""

from __future__ import annotations

import pytest

from bridge.capture.topics import SESSION_SECONDS
from bridge.names import TableName
from bridge.replicate.kafka import assigned
from bridge.replicate.kafka.assigned import UNASSIGNED_SECONDS, Assigned
from bridge.replicate.kafka.crew import Work
from bridge.replicate.kafka.post import Misplaced
from bridge.store.partitions import PartitionState, Place

TABLE = TableName("shop", "orders")
MINE, OTHER = ("orders", 0), ("orders", 1)


class Clock:
    """Stands where it is put."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(assigned, "time", made)
    return made


def work(**holders: str) -> Work:
    """`m` and `o` are the holders of the two partitions."""
    places: dict[Place, PartitionState] = {
        place: PartitionState(*place, 1, TABLE, "id", 0, 1, holders.get(name, ""), None, True, "")
        for name, place in (("m", MINE), ("o", OTHER))
    }
    return Work({}, places, frozenset({"orders"}))


def test_what_the_group_gave_is_taken_from_whoever_held_it(clock: Clock) -> None:
    known = Assigned("me", static=True)
    known.give([MINE])
    for holder in ("", "me", "the one before"):
        assert set(known.ours(work(m=holder))) == {MINE}
    known.lose([MINE, OTHER])
    assert not known.ours(work())


def test_whoever_took_it_is_believed_until_the_group_must_have_heard(clock: Clock) -> None:
    known = Assigned("me", static=True)
    known.give([MINE])
    known.doubt([MINE, OTHER])
    assert not known.ours(work(m="another"))
    assert set(known.ours(work(m="me"))) == {MINE}
    clock.now += 1.5 * SESSION_SECONDS
    assert set(known.ours(work(m="another", o="another"))) == {MINE}


@pytest.mark.parametrize("static", [True, False])
def test_partitions_that_stay_nobodys_are_shared_out_anew(clock: Clock, *, static: bool) -> None:
    known = Assigned("me", static=static)
    known.give([MINE])
    known.check(work(m="me"))
    clock.now += UNASSIGNED_SECONDS - 1
    known.check(work(m="me", o="another"))  # all are somebody's: it counts anew from here
    clock.now += UNASSIGNED_SECONDS
    known.check(work(m="me"))
    clock.now += 1
    if static:
        with pytest.raises(Misplaced, match=r"orders\[1\] is given to no consumer"):
            known.check(work(m="me"))
    else:
        known.check(work(m="me"))
