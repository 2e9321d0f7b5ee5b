"""The cutover of a group of tables as one table: states, events, and what must hold meanwhile.

Who has authority is told by the two authority rows alone (bridge.dualwrite.authority); how far a
switch has come is told by the state, a row of the journal. A state is committed before anything is
done in it (so it is an intent), and what is done in it can be done again: whoever finds a state
resumes by doing its step once more, or leaves it by an event of the table.

What the table makes sure of, whoever crashes and wherever:

* Entering ``flipping`` is the flip: the journal moves in the transaction that opens the target's
  row. So there is no moment in which the target may be open and a cancel still be allowed, nor one
  in which it is closed and a cancel forbidden.
* On the way back the row that flips lies in MySQL, which cannot commit together with the journal.
  So ``reverse-flipping`` is entered before, and only leads forward.
* At most one stream applies in a state (`Place.stream`), and between states of different streams
  there is one with none. The step of a state waits until the stream of the one before has said that
  it ended, and the stream of an undo goes on before its side is opened: a tripwire that is still
  there would drop what the application writes.
* An undo raises the epoch like a flip does. What an operator who was left behind may still send to
  a row is of an epoch that is over, and changes nothing. Fences have no epochs: whoever takes over
  ends the other one's session on the source before he does anything (tests/models/cutover).
* The epochs of a switch are counted from those that the rows have when its fencing begins, read
  under their locks; from then on nothing else may raise them, or the closing would do nothing.
* Undoing a switch un-fences, and leads to ``armed``, not to ``source-primary``: the reverse path
  stays for the next try, which would wait for all open writers to make it again. Nor is a slot left
  that no state tells of, which would keep the target's log for ever: ``disarming`` removes it.
  After a reverse the group is ``armed`` for the same reason.

Copying, streaming, shadow and provisional writes, verified: none is a state, they are told by
tables, modes and certificates while the source is primary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from bridge.errors import BridgeError

State = Literal[
    "source-primary",
    "arming",
    "armed",
    "disarming",
    "fencing",
    "draining",
    "checking",
    "sequencing",
    "aborting",
    "flipping",
    "target-primary",
    "reverse-fencing",
    "reverse-draining",
    "reverse-checking",
    "reverse-sequencing",
    "reverse-aborting",
    "reverse-flipping",
    "completing",
    "completed",
]
Event = Literal["switch", "reverse", "complete", "cancel", "done"]
"""`done`: the state's step is finished; the others are what operators ask for."""
Side = Literal["source", "target", "closed"]
Stream = Literal["forward", "reverse"]
STATES: tuple[State, ...] = get_args(State)
EVENTS: tuple[Event, ...] = get_args(Event)
INITIAL: State = "source-primary"


class IllegalTransition(BridgeError):
    """The event is not possible in the state; nothing was changed."""

    def __init__(self, state: State, event: Event) -> None:
        place = TABLE[state]
        super().__init__(
            f"{event} is not possible while the group is {state}: {place.sentence}",
            f"possible now: {_possible(place)}",
        )
        self.state = state
        self.event = event


@dataclass(frozen=True, slots=True)
class Place:
    """A state: where its events lead, and what must hold in it.

    `source` and `target` are what the authority rows of the two sides may say; where there are two,
    the step leads from the first to the second. `stream` is the only one that may apply changes.
    `resting` states need nobody; all others have a step, and an operator who is at it.
    """

    sentence: str
    events: Mapping[Event, State]
    source: tuple[Side, ...]
    target: tuple[Side, ...]
    stream: Stream | None
    resting: bool = False

    @property
    def undo(self) -> State | None:
        """Where a cancel leads; None where only forward is possible, or nothing is to be undone."""
        return self.events.get("cancel")

    @property
    def fenced(self) -> bool:
        """Whether there may be no side that takes writes."""
        return "closed" in self.source and "closed" in self.target


_AT_SOURCE: tuple[Side, ...] = ("source",)
_AT_TARGET: tuple[Side, ...] = ("target",)
_NOWHERE: tuple[Side, ...] = ("closed",)
_LEAVING_SOURCE: tuple[Side, ...] = ("source", "closed")
_TO_SOURCE: tuple[Side, ...] = ("closed", "source")
_LEAVING_TARGET: tuple[Side, ...] = ("target", "closed")
_TO_TARGET: tuple[Side, ...] = ("closed", "target")


def _fenced(sentence: str, done: State, undo: State, stream: Stream | None) -> Place:
    return Place(sentence, {"done": done, "cancel": undo}, _NOWHERE, _NOWHERE, stream)


TABLE: Mapping[State, Place] = {
    "source-primary": Place(
        "the source has authority, and no way back from the target is prepared",
        {"switch": "arming"},
        _AT_SOURCE,
        _AT_SOURCE,
        "forward",
        resting=True,
    ),
    "arming": Place(
        "the way back is being made: publication and slot in the target; writers are not hindered",
        {"done": "armed", "cancel": "disarming"},
        _AT_SOURCE,
        _AT_SOURCE,
        "forward",
    ),
    "armed": Place(
        "the source has authority, and all is ready for a switch",
        {"switch": "fencing", "cancel": "disarming"},
        _AT_SOURCE,
        _AT_SOURCE,
        "forward",
        resting=True,
    ),
    "disarming": Place(
        "the slot and what else arming made is being removed; writers are not hindered",
        {"done": "source-primary"},
        _AT_SOURCE,
        _AT_SOURCE,
        "forward",
    ),
    "fencing": Place(
        "writers are being kept out of the source",
        {"done": "draining", "cancel": "aborting"},
        _LEAVING_SOURCE,
        _LEAVING_SOURCE,
        "forward",
    ),
    "draining": _fenced(
        "nobody writes; the stream brings the last changes to the target",
        "checking",
        "aborting",
        "forward",
    ),
    "checking": _fenced(
        "nobody writes; what changed since the certificate is compared",
        "sequencing",
        "aborting",
        None,
    ),
    "sequencing": _fenced(
        "nobody writes; sequences, foreign keys and triggers of the target are made ready",
        "flipping",
        "aborting",
        None,
    ),
    "aborting": Place(
        "the switch is being undone: the stream goes on, the source is opened again",
        {"done": "armed"},
        _TO_SOURCE,
        _TO_SOURCE,
        "forward",
    ),
    "flipping": Place(
        "the target has authority; the source is being told",
        {"done": "target-primary"},
        _TO_TARGET,
        _AT_TARGET,
        "reverse",
    ),
    "target-primary": Place(
        "the target has authority, and the source follows it",
        {"reverse": "reverse-fencing", "complete": "completing"},
        _AT_TARGET,
        _AT_TARGET,
        "reverse",
        resting=True,
    ),
    "reverse-fencing": Place(
        "writers are being kept out of the target",
        {"done": "reverse-draining", "cancel": "reverse-aborting"},
        _LEAVING_TARGET,
        _LEAVING_TARGET,
        "reverse",
    ),
    "reverse-draining": _fenced(
        "nobody writes; the reverse stream brings the last changes to the source",
        "reverse-checking",
        "reverse-aborting",
        "reverse",
    ),
    "reverse-checking": _fenced(
        "nobody writes; what changed since the switch is compared",
        "reverse-sequencing",
        "reverse-aborting",
        None,
    ),
    "reverse-sequencing": _fenced(
        "nobody writes; AUTO_INCREMENT of the source is made ready",
        "reverse-flipping",
        "reverse-aborting",
        None,
    ),
    "reverse-aborting": Place(
        "the way back is being undone: the reverse stream goes on, the target is opened again",
        {"done": "target-primary"},
        _TO_TARGET,
        _TO_TARGET,
        "reverse",
    ),
    "reverse-flipping": Place(
        "authority goes back to the source, once the stream from there applies again",
        {"done": "armed"},
        _TO_SOURCE,
        _TO_SOURCE,
        "forward",
    ),
    "completing": Place(
        "the target keeps authority for good; what the bridge made is being removed",
        {"done": "completed"},
        _AT_TARGET,
        _AT_TARGET,
        None,
    ),
    "completed": Place(
        "the target has authority for good",
        {},
        _AT_TARGET,
        _AT_TARGET,
        None,
        resting=True,
    ),
}


def advance(state: State, event: Event) -> State:
    """The state that `event` leads to; raises IllegalTransition, which says what is possible."""
    after = TABLE[state].events.get(event)
    if after is None:
        raise IllegalTransition(state, event)
    return after


def goal(state: State) -> State:
    """The resting state that resuming leads to, if nobody cancels; the state itself if it rests."""
    while not TABLE[state].resting:
        state = advance(state, "done")
    return state


def _possible(place: Place) -> str:
    asked: list[str] = [] if place.resting else ["going on with what was begun"]
    asked += [event for event in place.events if event != "done"]
    return ", ".join(asked) or "nothing, it is over"
