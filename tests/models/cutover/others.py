"""The daemon's streams, and those who write."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.cutover.transitions import TABLE
from tests.models.cutover.operators import Limits, Next
from tests.models.cutover.rules import Rules
from tests.models.cutover.world import MARK, OFF, ON, World


def streams(world: World) -> Iterator[Next]:
    """The daemon does what it was told, and what the state says, some time."""
    reverses = TABLE[world.state].stream == "reverse"
    if world.reverses != reverses:
        yield "reverse stream obeys", world._replace(reverses=reverses)
    if world.forward:
        change, rest = world.forward[0], world.forward[1:]
        value = change if world.applies and change > 0 else world.at_target
        applies = change == ON or (world.applies and change != OFF)
        yield "forward stream", world._replace(forward=rest, at_target=value, applies=applies)
    if world.reverses and world.reverse:
        change, rest = world.reverse[0], world.reverse[1:]
        value = world.at_source if change == MARK else change
        yield "reverse stream", world._replace(reverse=rest, at_source=value)


def writers(world: World, rules: Rules, limits: Limits) -> Iterator[Next]:
    """An instance of the layer, which may be stale, its early writes, and who goes around it."""
    if world.looked is None and world.written < limits.writes:
        for side, row in (("source", world.source), ("target", world.target)):
            if row[0] == side:
                yield f"looks at the {side}", world._replace(looked=(side, row))
    elif world.looked is not None:
        yield from _commit(world._replace(looked=None), *world.looked, rules)
    if rules.fence and not world.fenced and world.written < limits.writes:
        yield "goes around", _write_source(world)
    if world.early is not None:
        yield from _write_early(world._replace(early=None), *world.early)


def modes(world: World, rules: Rules, limits: Limits) -> Iterator[Next]:
    """Somebody changes the mode, or how many reads go where: a new epoch on both sides."""
    allowed = TABLE[world.state].resting or rules.modes == "at any time"
    if allowed and world.changes < limits.changes and world.source[0] == world.target[0]:
        row = (world.source[0], 1 + max(world.source[1], world.target[1]))
        yield "new mode", world._replace(source=row, target=row, changes=world.changes + 1)


def copies(world: World, limits: Limits) -> Iterator[Next]:
    """The table is copied again, into another one that takes its place in the target."""
    if world.state == "armed" and world.published and world.changes < limits.changes:
        yield "is copied again", world._replace(published=False, changes=world.changes + 1)


def _commit(world: World, side: str, row: tuple[str, int], rules: Rules) -> Iterator[Next]:
    now = world.source if side == "source" else world.target
    if rules.writers == "under the row's lock" and now != row:
        yield "is refused", world
        return
    if side == "source":
        written = _write_source(world)
        yield "writes to the source", written
        if world.early is None:
            yield "writes early, too", written._replace(early=(written.written, row[1]))
    else:
        number = world.written + 1
        queue = (*world.reverse, number) if world.published else world.reverse
        yield (
            "writes to the target",
            world._replace(written=number, at_target=number, reverse=queue),
        )


def _write_source(world: World) -> World:
    number = world.written + 1
    return world._replace(written=number, at_source=number, forward=(*world.forward, number))


def _write_early(world: World, number: int, epoch: int) -> Iterator[Next]:
    """Claimed unless the stream has; only while tables stream, and the epoch is the operation's."""
    claimable = number in world.forward and world.applies
    if claimable and world.target == ("source", epoch):
        yield "early write", world._replace(at_target=number)
    else:
        yield "early write is refused", world
