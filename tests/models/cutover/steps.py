"""What an operator does in each state, in this order, each at once and possible to do again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from bridge.cutover.transitions import State
from tests.models.cutover.rules import Rules
from tests.models.cutover.world import MARK, OFF, ON, World

Effect = Callable[[World], World | None]
"""What it makes of the world; None as long as it has to wait."""


class Step(NamedTuple):
    """`on_source`: sent over the session there, which one who was left behind still has."""

    name: str
    on_source: bool
    effect: Effect


def _write(side: str, authority: str, raised: int) -> Effect:
    """Sets a side's row, unless it is in a later epoch."""

    def effect(world: World) -> World:
        wanted = (authority, world.base + raised)
        if side == "source":
            return world._replace(source=wanted) if world.source[1] < wanted[1] else world
        return world._replace(target=wanted) if world.target[1] < wanted[1] else world

    return effect


def _give_back(side: str) -> Effect:
    """Sets a closed row to what it was: an undo that raises no epoch."""

    def effect(world: World) -> World:
        closed, was = ("closed", world.base + 1), ("source", world.base)
        if side == "source":
            return world._replace(source=was) if world.source == closed else world
        return world._replace(target=was) if world.target == closed else world

    return effect


def _fence(up: bool) -> Effect:
    return lambda world: world._replace(fenced=up)


def _mark(name: str, mark: int) -> Step:
    """A row in the source's log; left out where it would not make any difference."""

    def effect(world: World) -> World:
        log = world.forward
        same = log[-1] == mark if log else (mark == ON and world.applies)
        return world if same else world._replace(forward=(*log, mark))

    return Step(name, True, effect)


def _until(condition: Callable[[World], bool]) -> Effect:
    return lambda world: world if condition(world) else None


def _publish(published: bool) -> Effect:
    return lambda world: world._replace(published=published)


TO_TRIPWIRE = _mark("marker", OFF)
NEUTRAL = _mark("marker", MARK)
REVERSE_MARKER = Step("marker", False, lambda w: w._replace(reverse=(*w.reverse, MARK)))
DRAINED = Step("drained", False, _until(lambda w: not {MARK, OFF} & set(w.forward)))
REVERSE_DRAINED = Step("drained", False, _until(lambda world: MARK not in world.reverse))
GO_ON = _mark("marker, to go on", ON)
REVERSE_ENDED = Step("reverse ended", False, _until(lambda world: not world.reverses))
REVERSE_RUNS = Step("reverse runs", False, _until(lambda world: world.reverses))
PUBLISH = Step("publish", False, _publish(True))
UNPUBLISH = Step("publish no more", False, _publish(False))
FENCE = Step("fence", True, _fence(True))
UNFENCE = Step("unfence", True, _fence(False))
CLOSE_SOURCE = Step("close source", True, _write("source", "closed", 1))
CLOSE_TARGET = Step("close target", False, _write("target", "closed", 1))
OPEN_SOURCE = Step("open source", True, _write("source", "source", 2))
OPEN_TARGET = Step("open target", False, _write("target", "target", 2))
TELL_SOURCE = Step("tell source", True, _write("source", "target", 2))
TELL_TARGET = Step("tell target", False, _write("target", "source", 2))


@cache
def steps(state: State, rules: Rules) -> tuple[Step, ...]:
    """The state's steps."""
    made = tuple(_STEPS[state](rules)) if state in _STEPS else ()
    if rules.late_markers:
        return made
    return tuple(each._replace(on_source=False) if "marker" in each.name else each for each in made)


def _arming(_: Rules) -> Iterator[Step]:
    yield PUBLISH


def _disarming(_: Rules) -> Iterator[Step]:
    yield UNPUBLISH


def _fencing(rules: Rules) -> Iterator[Step]:
    if rules.publishes_again:
        yield PUBLISH
    if rules.marker == "before the fence":
        yield TO_TRIPWIRE
    yield CLOSE_TARGET
    yield CLOSE_SOURCE
    if rules.fence:
        yield FENCE


def _draining(rules: Rules) -> Iterator[Step]:
    if rules.marker == "under the fence":
        yield TO_TRIPWIRE if rules.stands_down else NEUTRAL
    if rules.drains:
        yield DRAINED


def _sequencing(rules: Rules) -> Iterator[Step]:
    if rules.flip == "before the journal":
        yield OPEN_TARGET


def _flipping(rules: Rules) -> Iterator[Step]:
    yield TELL_SOURCE
    yield REVERSE_RUNS


def _aborting(rules: Rules) -> Iterator[Step]:
    back = OPEN_SOURCE, TELL_TARGET
    if not rules.undo_raises:
        back = (
            Step("open source", True, _give_back("source")),
            Step("tell target", False, _give_back("target")),
        )
    if rules.undo == "row, stream":
        yield back[0]
    yield GO_ON
    if rules.fence:
        yield UNFENCE
    if rules.undo == "stream, row":
        yield back[0]
    yield back[1]


def _reverse_fencing(rules: Rules) -> Iterator[Step]:
    yield CLOSE_TARGET
    yield CLOSE_SOURCE


def _reverse_draining(rules: Rules) -> Iterator[Step]:
    if rules.reverse_drains:
        yield REVERSE_MARKER
        yield REVERSE_DRAINED


def _reverse_checking(rules: Rules) -> Iterator[Step]:
    if rules.reverse_ends:
        yield REVERSE_ENDED


def _reverse_sequencing(rules: Rules) -> Iterator[Step]:
    if not rules.intent:
        yield GO_ON
        yield OPEN_SOURCE


def _reverse_flipping(rules: Rules) -> Iterator[Step]:
    if rules.forward_first:
        yield GO_ON
    yield OPEN_SOURCE
    yield TELL_TARGET
    if rules.fence:
        yield UNFENCE
    if not rules.forward_first:
        yield GO_ON


def _reverse_aborting(rules: Rules) -> Iterator[Step]:
    yield REVERSE_RUNS
    yield OPEN_TARGET
    yield TELL_SOURCE


_STEPS: dict[State, Callable[[Rules], Iterator[Step]]] = {
    "arming": _arming,
    "disarming": _disarming,
    "fencing": _fencing,
    "draining": _draining,
    "sequencing": _sequencing,
    "flipping": _flipping,
    "aborting": _aborting,
    "reverse-fencing": _reverse_fencing,
    "reverse-draining": _reverse_draining,
    "reverse-checking": _reverse_checking,
    "reverse-sequencing": _reverse_sequencing,
    "reverse-flipping": _reverse_flipping,
    "reverse-aborting": _reverse_aborting,
}
