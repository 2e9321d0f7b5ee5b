"""The two servers, the daemon, and who writes, as one value; and what must hold of it."""

from __future__ import annotations

from typing import NamedTuple

from bridge.cutover.transitions import TABLE, State
from tests.models.cutover.rules import Rules

Row = tuple[str, int]
"""An authority row: side and epoch."""
MARK, OFF, ON = 0, -1, -2
"""In a log: markers. At the last two the forward stream becomes a tripwire, or applies again."""


class Operator(NamedTuple):
    """At `step` of the state that it believes in, or idle.

    It is "running" with the group's advisory lock, or "left": that session is gone, and it does
    not know; what it still sends is of the epochs that were next at its time (`base`). `connected`:
    has a session on the source, with the lock there, too.
    """

    status: str = "idle"
    state: State = "source-primary"
    step: int = 0
    connected: bool = False
    base: int = 0


IDLE = Operator()


class World(NamedTuple):
    """Writes are numbered as they are acknowledged; each side holds one value, the last of them.

    `forward` and `reverse` are logs of changes that the streams have not come to yet. `applies` is
    whether the forward stream does (or is a tripwire, which drops what it meets), `reverses`
    whether the reverse stream runs. `published` is whether what is written to the target's table
    goes into its log for that. `looked` is a row that an instance has
    seen, and where; `early` an operation with its epoch whose early write is on its way.
    """

    state: State = "source-primary"
    base: int = 0
    source: Row = ("source", 1)
    target: Row = ("source", 1)
    fenced: bool = False
    applies: bool = True
    reverses: bool = False
    published: bool = False
    forward: tuple[int, ...] = ()
    reverse: tuple[int, ...] = ()
    at_source: int = 0
    at_target: int = 0
    written: int = 0
    looked: tuple[str, Row] | None = None
    early: tuple[int, int] | None = None
    takes: int = 0
    begun: int = 0
    changes: int = 0
    operators: tuple[Operator, ...] = (IDLE, IDLE)


def wrong(world: World, rules: Rules) -> str | None:
    """What must never be, whoever is where."""
    source_open = world.source[0] == "source"
    target_open = world.target[0] == "target"
    if target_open and (source_open or (rules.fence and not world.fenced)):
        return "both sides take writes"
    if world.applies and world.reverses:
        return "both streams apply"
    if source_open and world.at_source != world.written:
        return "the source takes writes, and lacks an acknowledged one"
    if target_open and world.at_target != world.written:
        return "the target takes writes, and lacks an acknowledged one"
    if source_open and world.applies and not world.forward and world.at_target != world.at_source:
        return "the target has fallen behind for good"
    if target_open and world.reverses and not world.reverse and world.at_source != world.at_target:
        return "the source has fallen behind for good"
    return None


def at_rest(world: World, rules: Rules) -> str | None:
    """What must be once nobody is at it, and the streams are through."""
    place = TABLE[world.state]
    if not place.resting:
        return f"{world.state} for good"
    if (world.source[0], world.target[0]) != (place.source[0], place.target[0]):
        return f"{world.state}, with rows {world.source}, {world.target}"
    if rules.fence and world.fenced is not (world.target[0] == "target"):
        return f"{world.state}, and fenced: {world.fenced}"
    if (world.applies, world.reverses) != (place.stream == "forward", place.stream == "reverse"):
        return f"{world.state}, and streams: {world.applies}, {world.reverses}"
    if not world.at_source == world.at_target == world.written:
        return f"{world.state}, with {world.at_source}, {world.at_target} of {world.written}"
    return None
