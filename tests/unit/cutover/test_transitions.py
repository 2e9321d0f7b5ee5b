"""The table of states: what must hold of it, whatever it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.cutover import diagram
from bridge.cutover.transitions import (
    EVENTS,
    INITIAL,
    STATES,
    TABLE,
    Event,
    IllegalTransition,
    Place,
    State,
    advance,
    goal,
)

PAIRS = [(state, event) for state in STATES for event in EVENTS]
STEPS = [(state, after) for state in STATES for after in TABLE[state].events.values()]


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_an_event_leads_on_or_says_what_is_possible(state: State, event: Event) -> None:
    """Every pair; an illegal one names state and event, and all that is possible."""
    place = TABLE[state]
    if event in place.events:
        assert advance(state, event) == place.events[event]
        return
    with pytest.raises(IllegalTransition) as error:
        advance(state, event)
    assert error.value.message.startswith(f"{event} is not possible while the group is {state}: ")
    for possible in set(place.events) - {"done"}:
        assert possible in error.value.hint
    assert ("what was begun" in error.value.hint) is not place.resting
    assert (error.value.state, error.value.event) == (state, event)


def test_the_table_has_every_state_and_each_can_be_reached() -> None:
    assert tuple(TABLE) and set(TABLE) == set(STATES)
    reached: set[State] = set()
    waiting = [INITIAL]
    while waiting:
        state = waiting.pop()
        reached.add(state)
        waiting += set(TABLE[state].events.values()) - reached
    assert reached == set(STATES)


def test_never_may_both_rows_be_open() -> None:
    for place in TABLE.values():
        assert not ("source" in place.source and "target" in place.target)


@pytest.mark.parametrize(("state", "after"), STEPS)
def test_rows_are_what_the_next_state_begins_with(state: State, after: State) -> None:
    """The journal moves before the rows do; but for the flip, whose row moves with it."""
    ends, begins = TABLE[state], TABLE[after]
    assert begins.source[0] in ends.source
    if (state, after) == ("sequencing", "flipping"):
        assert ends.target == ("closed",) and begins.target == ("target",)
    else:
        assert begins.target[0] in ends.target


@pytest.mark.parametrize(("state", "after"), STEPS)
def test_between_two_streams_is_a_state_with_none(state: State, after: State) -> None:
    streams = {TABLE[state].stream, TABLE[after].stream}
    assert streams != {"forward", "reverse"}


def test_whoever_resumes_comes_to_rest_with_one_side_open() -> None:
    for state in STATES:
        place = TABLE[goal(state)]
        assert place.resting
        assert (place.source, place.target) in ((("source",),) * 2, (("target",),) * 2)


def test_what_is_fenced_can_be_cancelled_unless_it_flips() -> None:
    """Then it only leads forward, and the very next step opens a side."""
    for state, place in TABLE.items():
        if place.fenced and place.undo is None:
            assert TABLE[advance(state, "done")].resting
        if place.undo is not None:
            assert "done" in TABLE[place.undo].events and TABLE[place.undo].undo is None


def test_an_undo_leads_back_to_the_side_that_was_left() -> None:
    for place in TABLE.values():
        if place.undo is not None:
            assert _side(TABLE[goal(place.undo)]) == place.source[0] or place.fenced
    assert goal("aborting") == goal("reverse-flipping") == "armed"
    assert goal("reverse-aborting") == goal("flipping") == "target-primary"


def test_every_state_under_way_has_a_step_and_no_resting_one_has() -> None:
    for place in TABLE.values():
        assert ("done" in place.events) is not place.resting


def test_the_document_is_made_from_the_table() -> None:
    """Refresh it: python -m bridge.cutover.diagram > docs/cutover-states.md."""
    path = Path(__file__).resolve().parents[3] / "docs" / "cutover-states.md"
    assert path.read_text(encoding="utf-8") == diagram.document(), (
        "run: python -m bridge.cutover.diagram > docs/cutover-states.md"
    )


def test_the_drawing_has_every_state_and_event() -> None:
    drawn = diagram.mermaid()
    for state in STATES:
        assert f'state "{state}" as ' in drawn
    assert drawn.count(" --> ") == 2 + len(STEPS)


def _side(place: Place) -> str:
    return place.source[0]
