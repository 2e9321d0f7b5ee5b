"""One history: a log of the source, and one order of all that is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from tests.models.check import Story
from tests.models.dualwrite.chance import WAITING, WRITE, Actor, Steps
from tests.models.dualwrite.checks import require_source
from tests.models.dualwrite.source import Operation
from tests.models.dualwrite.stream import apply_batch
from tests.models.dualwrite.world import Refused, Sent, World
from tests.models.dualwrite.write import provisional_write
from tests.models.target import Wrong

MOST_STEPS = 2_000
Others = Sequence[tuple[str, Callable[[World], Steps]]]
"""Who is about beside source, stream and writes."""


def run(world: World, others: Others, story: Story) -> None:
    """Everyone takes turns until nobody has anything to do; then what must hold is looked at."""
    story.tell(world.log)
    world.join("source", _source(world))
    for name, comes in others:
        world.join(name, comes(world))
    _take_turns(world, story)
    target, expected = world.target, world.authoritative
    if expected is None:
        require_source(world)
    elif target.rows != expected:
        raise Wrong(f"the target, which has authority, holds {target.rows}, not {expected}")


def _source(world: World) -> Steps:
    """Commits one transaction after the other; each operation sets out for the target."""
    log = world.log
    while world.authoritative is None:
        if (lost := log.lost.get(world.now)) is not None:
            world.lost = lost
            _set_out(world, lost)
            yield "committed what it will lose"
            world.lost = None
        if world.now == len(log.commits) or world.authoritative is not None:
            break
        world.now += 1
        op = log.commits[world.now - 1].op
        if op is not None:
            _set_out(world, op)
        yield "committed"
    _send(world, world.gathered)
    world.ended = True


def _set_out(world: World, op: Operation) -> None:
    """Once, or twice, or not at all, if its instance dies; and once perhaps with others."""
    for again in range(world.chance.writes()):
        if again:
            _send(world, [(op, world.epoch)])
            continue
        world.gathered.append((op, world.epoch))
        if world.rules.versions or not world.chance.gathers(len(world.gathered)):
            _send(world, world.gathered)
            world.gathered = []


def _send(world: World, sent: list[Sent]) -> None:
    if sent:
        name = "+".join(str(op.seq) for op, _ in sent)
        world.join(f"{WRITE} {name}", provisional_write(world, sent))


def _take_turns(world: World, story: Story) -> None:
    actors, waiting, asleep, target = world.actors, world.waiting, world.asleep, world.target
    for _ in range(MOST_STEPS):
        if world.stream is None and target.position < world.now and world.authoritative is None:
            world.stream = apply_batch(world)
            world.join("stream", world.stream)
        if actors:
            _step(world, actors[world.chance.turn(actors)], story)
        elif asleep:
            actors += asleep
            asleep.clear()
        elif waiting:
            _break_deadlock(waiting, story)
            actors += waiting
            waiting.clear()
        else:
            return
    raise Wrong("nothing comes to an end")


def _step(world: World, actor: Actor, story: Story) -> None:
    """One step; whoever waits looks again after it, unless it was nothing but waiting too."""
    did = next(actor[1], None)
    if did is WAITING:
        world.actors.remove(actor)
        world.waiting.append(actor)
        return
    story.tell(actor[0], did or "ended")
    if did is None:
        world.actors.remove(actor)
        if actor[1] is world.stream:
            world.stream = None
            if world.asleep and world.pick(2):
                world.actors.append(world.asleep.pop())
    elif actor[0][:5] == WRITE and world.chance.naps():
        world.actors.remove(actor)
        world.asleep.append(actor)
    if world.waiting:
        world.actors += world.waiting
        world.waiting.clear()


def _break_deadlock(waiting: list[Actor], story: Story) -> None:
    """The dual write loses: its lock_timeout is shorter than what it takes to find a deadlock."""
    for actor in waiting:
        if actor[0].startswith(WRITE):
            story.tell(actor[0], "lost")
            with suppress(StopIteration):
                actor[1].throw(Refused())
            return
    raise Wrong(f"all wait: {[name for name, _ in waiting]}")
