"""What a group's record means: who was left, what comes next, and whether there is a way back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bridge.cutover.journal import Record
from bridge.cutover.settling import Watch
from bridge.cutover.standing import Standing, WayBack
from bridge.cutover.transitions import State
from bridge.report.groups import rollback_available
from bridge.reverse.slots import Slot

NOW = datetime(2026, 5, 4, 22, 30, tzinfo=UTC)
GOOD = {"rollback_available": True}


def left(watch: Watch, now: float, record: Record, *, overdue: bool = False) -> bool:
    return watch.left(record, now, lambda _: overdue)


def test_a_group_is_left_after_some_seconds_without_an_operator() -> None:
    watch = Watch(grace=5)
    gone = Record("orders", "draining", attempt=3)
    assert not left(watch, 0, gone)
    assert not left(watch, 4.9, gone)
    assert left(watch, 5, gone)
    assert not left(watch, 6, Record("orders", "draining", attempt=4))  # somebody came meanwhile
    assert not left(watch, 7, Record("orders", "draining", attempt=4, holder=11))
    assert not left(watch, 12, Record("orders", "draining", attempt=4))
    assert not left(watch, 99, Record("orders", "armed", attempt=4))


def test_who_is_past_his_deadline_has_left_it_where_somebody_waits() -> None:
    watch = Watch()
    assert left(watch, 0, Record("orders", "fencing", holder=11), overdue=True)
    for state in ("arming", "completing", "target-primary"):
        assert not left(watch, 0, Record("orders", state, holder=11), overdue=True)


@pytest.mark.parametrize(
    ("state", "told", "slot", "violations", "available"),
    [
        ("armed", GOOD, "reserved", 0, None),
        ("target-primary", GOOD, "reserved", 0, True),
        ("target-primary", GOOD, "unreserved", 0, True),
        ("target-primary", GOOD, "lost", 0, False),
        ("target-primary", GOOD, None, 0, False),
        ("target-primary", GOOD, "reserved", 2, False),
        ("target-primary", {}, "reserved", 0, False),
        ("completed", GOOD, "reserved", 0, False),
    ],
)
def test_the_way_back(
    state: State, told: dict[str, bool], slot: str | None, violations: int, available: bool | None
) -> None:
    found = rollback_available(state, told, slot, violations, provable=True)
    assert found is available


def test_there_is_no_way_back_that_no_check_could_prove() -> None:
    assert standing("target-primary").rollback_available is True
    assert replace(standing("target-primary"), provable=False).rollback_available is False


def standing(state: State, slot: str = "reserved", holder: int | None = None) -> Standing:
    found = Slot("dbbridge_orders", slot, True, 1, 2, None, None)
    back = WayBack(state, "dbbridge_orders", found, GOOD)
    record = Record("orders", state, holder=holder)
    return Standing(record, None, None, (), daemon=True, now=NOW, way_back=back)


def test_what_comes_next() -> None:
    assert standing("draining").next_steps()[0] == "dbbridge cutover cancel --group orders"
    assert standing("draining", holder=11).next_steps() == ["dbbridge cutover status --history"]
    back, end = "plan --reverse", "complete"
    assert standing("target-primary").next_steps() == [
        f"dbbridge cutover {verb} --group orders" for verb in (back, end)
    ]
    danger = standing("target-primary", "unreserved")
    assert "max_slot_wal_keep_size" in danger.next_steps()[0]
    assert danger.way_back and danger.way_back.alarm.startswith("DANGER")
    lost = standing("target-primary", "lost")
    assert lost.next_steps() == [f"dbbridge cutover {end} --group orders"]
    assert lost.way_back and lost.way_back.alarm.startswith("LOST")
    assert standing("completed").next_steps() == []


def test_a_slot_that_is_lost_before_the_switch() -> None:
    """Nothing is lost with it: the source has authority, and another one is made."""
    lost = standing("armed", "lost")
    assert "dbbridge cutover cancel --group orders" in lost.next_steps()
    assert lost.way_back and "another one" in lost.way_back.alarm
    danger = standing("armed", "unreserved")
    assert danger.way_back and danger.way_back.alarm.startswith("DANGER")
    assert "dbbridge cutover cancel --group orders" not in danger.next_steps()
    for state in ("disarming", "completed"):
        back = standing(state, "lost").way_back
        assert back and back.alarm == ""
