"""What happens beside stream and writes: crashes, pruning, changes of mode and of authority."""

from __future__ import annotations

from collections.abc import Callable

from tests.models.dualwrite.chance import WAITING, WRITE, Steps
from tests.models.dualwrite.stream import catch_up
from tests.models.dualwrite.world import World


def crash(world: World) -> Steps:
    """Somebody dies: the stream, an instance, or its connection by a timeout."""
    yield "is about to"
    everybody = world.actors + world.waiting + world.asleep
    victims = [steps for name, steps in everybody if name.startswith(("stream", WRITE))]
    if victims:
        victim = victims[world.pick(len(victims))]
        victim.close()
        if victim is world.stream:
            world.stream = None
        yield "has happened"


def claim_apart(world: World) -> Steps:
    """Another worker, which claims at its own pace, before or after the rows are there."""
    target = world.target
    for commit in world.log.commits:
        yield "goes on"
        if commit.op is not None:
            while commit.op.seq in target.claiming:
                yield WAITING
            target.confirmed[commit.op.seq] = True


def prune(world: World) -> Steps:
    """Again and again, with or without a margin."""
    for _ in range(2):
        yield from prune_once(world, 4 * world.pick(2))


def prune_once(world: World, margin: int = 0) -> Steps:
    """Raises the watermark to what was claimed when a mark was made that the stream has passed."""
    target = world.target
    mark = world.now
    claimed = max([op for op, sure in target.confirmed.items() if sure], default=0)
    yield "made a mark"
    while target.shared() or (world.rules.marked and min(target.position, target.frontier) < mark):
        if world.authoritative is not None:
            return
        yield WAITING
    target.forget(claimed - margin)
    yield "pruned"


def change_mode(world: World) -> Steps:
    """To the stream alone and back, with a new epoch or not, with a copy or not."""
    copies = (_no_copy, copy_again, begin_anew)[world.pick(3)]
    yield from without_writes(world, copies, world.pick(2))


def without_writes(world: World, act: Callable[[World], None], raised: int = 0) -> Steps:
    """Does something while the mode is to leave all to the stream."""
    target = world.target
    yield "is about to"
    while target.shared():
        yield WAITING
    target.provisional = False
    target.epoch += raised
    world.epoch += raised
    yield "left all to the stream"
    if world.authoritative is None:
        act(world)
    yield "did it"
    while target.shared() or (world.rules.joins_first and target.position < target.frontier):
        if world.authoritative is not None:
            return
        yield WAITING
    target.provisional = world.authoritative is None
    yield "took to provisional writes"


def _no_copy(world: World) -> None:
    """Nothing."""


def copy_again(world: World) -> None:
    """Copies the tables, which join the stream where it comes to the copy's end."""
    world.end_streams()
    world.target.copy(world.log.states[world.now])
    world.target.frontier = world.now


def begin_anew(world: World) -> None:
    """Copies the tables after the stream's position was lost: nobody reads the log between."""
    copy_again(world)
    target = world.target
    target.position = world.now
    passed = {commit.op.seq for commit in world.log.commits[: world.now] if commit.op}
    for op in passed & target.confirmed.keys():
        target.confirmed[op] = True
    if world.rules.leap_raises:
        target.forget(max(passed, default=0))


def halt(world: World) -> Steps:
    """Tables stop by themselves; the stream goes on claiming, and they come back later.

    The mode may well be changed a while after that, or never.
    """
    target = world.target
    yield "is about to"
    world.end_streams()
    target.standing = True
    yield "stopped the tables"
    while target.frontier < target.position or world.stream is not None:
        if world.authoritative is not None:
            return
        if target.frontier < target.position:
            world.second = catch_up(world)
            yield from world.second
        else:
            yield WAITING
    target.standing = False
    yield "let the tables join"


def switch(world: World) -> Steps:
    """Gives the authority to the target, when the log is drained, and writes there."""
    target = world.target
    yield "is about to"
    while not world.ended or target.frontier < world.now or target.shared():
        if world.authoritative is not None:
            return
        yield WAITING
    yield from _take_authority(world)


def force(world: World) -> Steps:
    """The source is given up: the target takes the authority with what it has."""
    yield "is about to"
    while world.target.shared():
        yield WAITING
    yield from _take_authority(world)


def _take_authority(world: World) -> Steps:
    target = world.target
    world.end_streams()
    world.epoch += 1
    target.epoch += 1
    target.provisional = False
    world.authoritative = dict(target.rows)
    yield "gave the target authority"
    for key in range(world.pick(3)):
        while key in target.held:
            yield WAITING
        world.authoritative[key] = target.rows[key] = (None, 100, None)
        yield "application wrote to the target"
