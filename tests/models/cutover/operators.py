"""Operators: they take the group, go on, cancel, die, or are left behind without knowing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bridge.cutover.transitions import TABLE, Event, State, advance
from tests.models.cutover.rules import Rules
from tests.models.cutover.steps import steps
from tests.models.cutover.world import IDLE, Operator, World


class Limits(NamedTuple):
    """How long a story is: takings, switches and reverses that are begun, writes, new modes."""

    takes: int
    begun: int
    writes: int
    changes: int = 0


Next = tuple[str, World]
"""What is done, and the world after it."""


def moves(world: World, rules: Rules, limits: Limits) -> Iterator[Next]:
    """All that operators may do next."""
    for number, operator in enumerate(world.operators):
        if operator.status == "idle":
            yield from _take(world, number, limits)
        elif operator.status == "left":
            yield from _go_on_blindly(world, number, operator, rules)
        else:
            yield "dies", place(world, number, IDLE)
            yield from _lose(world, number, operator, rules)
            yield from run(world, number, operator, rules, limits)


def place(world: World, number: int, operator: Operator) -> World:
    """The world with this operator, whose place among them means nothing."""
    operators = list(world.operators)
    operators[number] = operator
    operators.sort()
    return world._replace(operators=tuple(operators))


def _take(world: World, number: int, limits: Limits) -> Iterator[Next]:
    """Gets the advisory lock, if nobody has it."""
    if world.takes < limits.takes and all(each.status != "running" for each in world.operators):
        taken = world._replace(takes=world.takes + 1)
        yield "takes", place(taken, number, Operator("running", world.state))


def connect(world: World, number: int, operator: Operator, rules: Rules) -> World:
    """Gets the lock on the source, too; the session of whoever has it is ended first."""
    if rules.session_lock:
        ended = [IDLE if each.connected else each for each in world.operators]
        world = world._replace(operators=tuple(ended))
    return place(world, number, operator._replace(connected=True))


def _lose(world: World, number: int, operator: Operator, rules: Rules) -> Iterator[Next]:
    """Its session on the target ends; it may stand still, or be about to send more to the source.

    That is over with the next step that needs the target.
    """
    ahead = steps(operator.state, rules)[operator.step :] if operator.connected else ()
    if ahead and ahead[0].on_source:
        left = operator._replace(status="left", base=world.base)
        yield "is left behind", place(world, number, left)


def _go_on_blindly(world: World, number: int, operator: Operator, rules: Rules) -> Iterator[Next]:
    yield "dies at last", place(world, number, IDLE)
    ahead = steps(operator.state, rules)[operator.step :]
    after = ahead[0].effect(world._replace(base=operator.base))
    assert after is not None
    after = after._replace(base=world.base)
    left = operator._replace(step=operator.step + 1)
    more = len(ahead) > 1 and ahead[1].on_source
    yield f"late: {ahead[0].name}", place(after, number, left if more else IDLE)


def run(
    world: World, number: int, operator: Operator, rules: Rules, limits: Limits
) -> Iterator[Next]:
    """What whoever has the group may do."""
    if not operator.connected:
        yield "connects", connect(world, number, operator, rules)
        return
    if TABLE[world.state].resting:
        yield "releases", place(world, number, IDLE)
    yield from events(world, number, rules, limits)
    todo = steps(world.state, rules)[operator.step :]
    if todo:
        after = todo[0].effect(world)
        if after is not None:
            yield todo[0].name, place(after, number, operator._replace(step=operator.step + 1))
    elif not TABLE[world.state].resting:
        yield f"{world.state} done", place(_done(world, rules), number, _at(world, "done"))


def events(world: World, number: int, rules: Rules, limits: Limits) -> Iterator[Next]:
    """What the table allows beside going on."""
    for event, after in TABLE[world.state].events.items():
        begins = TABLE[world.state].resting and event in ("switch", "reverse")
        if event in ("done", "complete") or (begins and world.begun == limits.begun):
            continue
        now = world._replace(state=after)
        if begins:
            base = max(world.source[1], world.target[1])
            now = now._replace(base=base, begun=world.begun + (after != "arming"))
        yield event, place(now, number, Operator("running", after, 0, True))
    if rules.late_cancel and world.state in ("flipping", "reverse-flipping"):
        undo: State = "aborting" if world.state == "flipping" else "reverse-aborting"
        now = world._replace(state=undo)
        yield "cancel, too late", place(now, number, Operator("running", undo, 0, True))


def _at(world: World, event: Event) -> Operator:
    return Operator("running", advance(world.state, event), 0, True)


def _done(world: World, rules: Rules) -> World:
    """The journal's transition; the flip opens the target in the same transaction."""
    now = world._replace(state=advance(world.state, "done"))
    if now.state == "flipping" and rules.flip == "with the journal":
        return now._replace(target=("target", now.base + 2))
    return now
