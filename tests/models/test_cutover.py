"""Cutovers: two operators who crash, cancel or are left behind, streams, and all kinds of writers.

Every order of all that they do is looked at. Wherever everything dies, another operator brings the
group to rest: by going on, and by a cancel where the table allows one.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.cutover.transitions import STATES
from tests.models.check import COUNTED, FIGURES, MULTIPLE, Figure
from tests.models.cutover.operators import Limits
from tests.models.cutover.rules import BUILT, Rules
from tests.models.cutover.search import search

RULE = "cutovers"
STORIES = {
    "three operators one after the other": Limits(3, 2, 1),
    "a new mode, or a table copied again": Limits(2, 2, 1, 1),
    "two writes": Limits(1, 2, 2),
    "there, back and there again": Limits(1, 3, 1),
}
if MULTIPLE > 1:  # a minute or two, and 900 MB
    STORIES["long"] = Limits(2, 3, 2, 1)
SMALL = (Limits(2, 1, 1, 1), Limits(2, 2, 1))

ROWS_ALONE = Rules(session_lock=False, fence=False, late_markers=False)

BROKEN = {
    "tables published once, when the group was armed": Rules(publishes_again=False),
    "position noted before the fence": Rules(marker="before the fence"),
    "target opened before the drain": Rules(drains=False),
    "target opened while the forward stream applies": Rules(stands_down=False),
    "session on the source not ended": Rules(session_lock=False),
    "row opened, then the journal": Rules(flip="before the journal"),
    "undo opens the row before the stream goes on": Rules(undo="row, stream"),
    "undo leaves the row closed": Rules(undo="stream"),
    "undo in the old epoch, sessions not ended": replace(ROWS_ALONE, undo_raises=False),
    "cancel after the flip": Rules(late_cancel=True),
    "source opened without the intent": Rules(intent=False),
    "forward stream goes on before the reverse one ends": Rules(reverse_ends=False),
    "source opened before the drain": Rules(reverse_drains=False),
    "source opened before the stream goes on": Rules(forward_first=False),
    "instances look before the lock": Rules(writers="before it"),
    "new mode in the middle of it": Rules(modes="at any time"),
}


@pytest.mark.parametrize("name", STORIES)
def test_one_side_takes_writes_and_has_all(name: str) -> None:
    """Never two, none lost, never fenced for good; and the story has every state in it."""
    found = search(BUILT, STORIES[name])
    FIGURES.append(Figure(RULE, f"as built, {name}", found.worlds, 0))
    assert not found.wrong, "\n".join((found.wrong, *found.story))
    assert found.states == set(STATES) - {"completing", "completed"}


def test_rows_alone_are_safe_without_ending_sessions() -> None:
    """What an operator who was left behind sends to a row is of an epoch that is over.

    That holds for rows, not for fences and markers: those need his session's end.
    """
    found = search(ROWS_ALONE, Limits(3, 2, 1))
    FIGURES.append(Figure(RULE, "rows alone, sessions not ended", found.worlds, 0))
    assert not found.wrong, "\n".join((found.wrong, *found.story))


@pytest.mark.parametrize("variant", BROKEN)
def test_broken(variant: str) -> None:
    """Some story goes wrong, and a short one does."""
    worlds = wrong = 0
    for limits in SMALL:
        found = search(BROKEN[variant], limits)
        worlds, wrong = worlds + found.worlds, wrong + bool(found.wrong)
        if wrong and not COUNTED:
            break
    FIGURES.append(Figure(RULE, variant, worlds, wrong))
    assert wrong
