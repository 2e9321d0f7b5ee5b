"""All worlds that can be reached, and whether somebody can bring each of them to rest."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from bridge.cutover.transitions import TABLE
from tests.models.cutover.operators import Limits, Next, connect, events, moves, run
from tests.models.cutover.others import copies, modes, streams, writers
from tests.models.cutover.rules import Rules
from tests.models.cutover.world import Operator, World, at_rest, wrong

NO_MORE = Limits(takes=0, begun=0, writes=0)
MOST_MOVES = 200


@dataclass
class Found:
    """How many worlds there are, in which states, and the shortest story that goes wrong."""

    worlds: int = 0
    states: set[str] = field(default_factory=set)
    wrong: str = ""
    story: list[str] = field(default_factory=list)


def search(rules: Rules, limits: Limits) -> Found:
    """Looks at everything, nearest first, up to the first that is wrong."""
    start = World()
    came: dict[World, tuple[World, str] | None] = {start: None}
    waiting = deque([start])
    hopeful: set[World] = set()
    found = Found()
    while waiting:
        world = waiting.popleft()
        found.states.add(world.state)
        fault = wrong(world, rules) or _hopeless(world, rules, hopeful)
        if fault:
            found.wrong, found.story = fault, _story(world, came)
            break
        for did, after in (
            *moves(world, rules, limits),
            *streams(world),
            *writers(world, rules, limits),
            *modes(world, rules, limits),
            *copies(world, limits),
        ):
            if after not in came:
                came[after] = (world, did)
                waiting.append(after)
    found.worlds = len(came)
    return found


def _story(world: World, came: dict[World, tuple[World, str] | None]) -> list[str]:
    told = [str(world)]
    while (before := came[world]) is not None:
        world, did = before
        told.append(did)
    return told[::-1]


def _hopeless(world: World, rules: Rules, hopeful: set[World]) -> str | None:
    """Whether all die now, and one who comes can't bring it to rest, by going on or by a cancel.

    An operator who was left behind is not among those who die, if nobody ends its session.
    """
    left = tuple(sorted(each for each in world.operators if each.status == "left"))
    calm = world._replace(operators=left, looked=None, early=None, takes=0, begun=0, changes=0)
    if calm in hopeful:
        return None
    for way in ("resume", "cancel") if TABLE[calm.state].undo else ("resume",):
        fault = _rescue(calm, way, rules)
        if fault:
            return fault
    hopeful.add(calm)
    return None


def _rescue(world: World, way: str, rules: Rules) -> str | None:
    """One more operator, alone with the streams, to the end; what went wrong, if so, and how."""
    rescuer = Operator("running", world.state)
    world = world._replace(operators=tuple(sorted((*world.operators, rescuer))))
    number = _runner(world)
    world = connect(world, number, world.operators[number], rules)
    told = ["all die", "another one takes over"]
    if way == "cancel":
        for did, after in events(world, _runner(world), rules, NO_MORE):
            if did == "cancel":
                told.append(did)
                world = after
    for _ in range(MOST_MOVES):
        ways = [*_onward(world, rules), *streams(world)]
        fault = wrong(world, rules) or (None if ways else at_rest(world, rules))
        if fault:
            return f"{fault}: {', '.join(told)}"
        if not ways:
            return None
        did, world = ways[0]
        told.append(did)
    return "it never ends"


def _onward(world: World, rules: Rules) -> list[Next]:
    number = _runner(world)
    all_moves = run(world, number, world.operators[number], rules, NO_MORE)
    others = ("cancel", "releases")
    return [(did, after) for did, after in all_moves if not did.startswith(others)]


def _runner(world: World) -> int:
    return next(n for n, each in enumerate(world.operators) if each.status == "running")
