"""A partition of Kafka: the applying transaction requires its offset and epoch under a lock.

Two consumers may both believe that they have the partition, since whoever stands still does not
hear that it was given away; the table may be stopped (fenced) meanwhile. Every order of their steps
is tried, with crashes, and commits whose answer is lost: all that can be reached is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from tests.models.check import FIGURES, Figure

RULE = "partitions"
END = 3
MOST_BATCH = 2
MOST_EPOCH = 4
"""Takeovers and fences that a story has; more add nothing."""


@dataclass(frozen=True)
class Rules:
    """What a transaction requires, and when the offset is written."""

    epoch: bool = True
    offset: bool = True
    locked: bool = True
    """Whether the row stays locked from the look until the commit."""
    together: bool = True
    """Whether the offset is written in the transaction of the rows."""
    lost_answer: str = "takes it anew"  # or "goes on"


BROKEN = {
    "neither epoch nor offset required": Rules(epoch=False, offset=False),
    "only the offset required": Rules(epoch=False),
    "only the epoch required, after a lost answer it goes on": Rules(
        offset=False, lost_answer="goes on"
    ),
    "both required before the transaction, without a lock": Rules(locked=False),
    "offset committed after the rows": Rules(together=False),
}


@dataclass(frozen=True)
class Consumer:
    """`at`: without the partition, reading, looking, open, or (where apart) owing an offset."""

    at: str = "without"
    epoch: int = 0
    next: int = 0
    batch: int = 0


@dataclass(frozen=True)
class World:
    """The row and its lock, what was applied, in order, and the consumers."""

    consumers: tuple[Consumer, ...] = (Consumer(), Consumer())
    epoch: int = 0
    offset: int = 0
    locked_by: int | None = None
    stopped: bool = False
    applied: tuple[int, ...] = ()
    late: bool = False
    """Whether something was committed after the table was stopped."""

    @property
    def wrong(self) -> bool:
        """Whether something was lost, doubled, out of order or too late."""
        return self.late or self.applied != tuple(range(len(self.applied)))


def steps(world: World, rules: Rules) -> Iterator[World]:
    """All that may happen next."""
    if not world.stopped and world.locked_by is None and world.epoch < MOST_EPOCH:
        yield replace(world, stopped=True, epoch=world.epoch + 1)
    if world.stopped:
        yield replace(world, stopped=False)
    for number, consumer in enumerate(world.consumers):
        yield from _steps_of(world, number, consumer, rules)
        if consumer.at != "without":
            yield _now(_unlocked(world, number), number, Consumer())  # it dies, or its session does


def _steps_of(world: World, number: int, consumer: Consumer, rules: Rules) -> Iterator[World]:
    free = world.locked_by is None
    given = not world.stopped and world.epoch < MOST_EPOCH
    if consumer.at in ("without", "reading") and free and given:  # whoever has it already
        raised = replace(world, epoch=world.epoch + 1)
        yield _now(raised, number, Consumer("reading", raised.epoch, world.offset))
    if consumer.at == "reading":
        for end in range(consumer.next + 1, min(END, consumer.next + MOST_BATCH) + 1):
            yield _now(world, number, replace(consumer, at="looking", batch=end))
    elif consumer.at == "looking" and free:
        yield _looked(world, number, consumer, rules)
    elif consumer.at == "open":
        yield from _committed(world, number, consumer, rules)
    elif consumer.at == "owing":
        done = replace(world, offset=consumer.batch)
        yield _now(done, number, replace(consumer, at="reading", next=consumer.batch))


def _looked(world: World, number: int, consumer: Consumer, rules: Rules) -> World:
    if rules.epoch and world.epoch != consumer.epoch:
        return _now(world, number, Consumer())
    if rules.offset and world.offset != consumer.next:
        return _now(world, number, Consumer())
    if rules.locked:
        world = replace(world, locked_by=number)
    return _now(world, number, replace(consumer, at="open"))


def _committed(world: World, number: int, consumer: Consumer, rules: Rules) -> Iterator[World]:
    rows = tuple(range(consumer.next, consumer.batch))
    done = replace(
        _unlocked(world, number),
        applied=world.applied + rows,
        offset=consumer.batch if rules.together else world.offset,
        late=world.late or world.stopped,
    )
    if not rules.together:
        yield _now(done, number, replace(consumer, at="owing"))
        return
    yield _now(done, number, replace(consumer, at="reading", next=consumer.batch))
    # The connection broke, and nobody told whether it was committed.
    again = replace(consumer, at="reading") if rules.lost_answer == "goes on" else Consumer()
    yield _now(done, number, again)


def _unlocked(world: World, number: int) -> World:
    return replace(world, locked_by=None) if world.locked_by == number else world


def _now(world: World, number: int, consumer: Consumer) -> World:
    consumers = list(world.consumers)
    consumers[number] = consumer
    return replace(world, consumers=tuple(consumers))


def explore(rules: Rules) -> tuple[int, list[World], bool]:
    """How many states can be reached, which of them are wrong, and whether all is ever applied.

    What follows a wrong state is not looked at.
    """
    start = World()
    seen, waiting, wrong, complete = {start}, [start], [], False
    while waiting:
        for after in steps(waiting.pop(), rules):
            if after in seen:
                continue
            seen.add(after)
            complete = complete or after.applied == tuple(range(END))
            if after.wrong:
                wrong.append(after)
            else:
                waiting.append(after)
    return len(seen), wrong, complete


def test_each_message_is_applied_once() -> None:
    """Whoever sleeps, wakes or dies, and whoever has the partition."""
    states, wrong, complete = explore(Rules())
    FIGURES.append(Figure(RULE, "as built, every state", states, len(wrong)))
    assert not wrong, wrong[0]
    assert complete


@pytest.mark.parametrize("variant", BROKEN)
def test_broken(variant: str) -> None:
    """Something is doubled, out of order, or comes after the table was stopped."""
    states, wrong, _ = explore(BROKEN[variant])
    FIGURES.append(Figure(RULE, variant, states, len(wrong)))
    assert wrong
