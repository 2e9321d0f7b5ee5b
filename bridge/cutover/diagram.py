"""The drawing of the cutover's states, made from their table.

Refresh the document with ``python -m bridge.cutover.diagram > docs/cutover-states.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from bridge.cutover.transitions import INITIAL, STATES, TABLE, Place, Side

_HEAD = """# States of a cutover

This file is made from the table in `bridge/cutover/transitions.py` by
`python -m bridge.cutover.diagram > docs/cutover-states.md`; don't edit it.

A state is written down in the target (`dbbridge.cutovers`) before anything is done in it, and what
is done in it can be done again. So a switch that was interrupted anywhere is resumed by giving the
command again, or undone by `dbbridge cutover cancel` where there is an arrow for it. In states
drawn with a thick line nothing is under way.
"""


def mermaid() -> str:
    """A stateDiagram-v2 of Mermaid; states are named as people read them."""
    return "\n".join(["stateDiagram-v2", *(f"    {line}" for line in _lines())]) + "\n"


def document() -> str:
    """The whole of docs/cutover-states.md."""
    head = (
        "| state | what is the case | writes go to | stream | cancel leads to |\n"
        + "|---" * 5
        + "|"
    )
    rows = "\n".join(_row(state, TABLE[state]) for state in STATES)
    return f"{_HEAD}\n```mermaid\n{mermaid()}```\n\n{head}\n{rows}\n"


def _lines() -> Iterator[str]:
    yield "direction TB"
    yield "classDef resting stroke-width:4px"
    for state in STATES:
        yield f'state "{state}" as {_name(state)}'
    yield f"[*] --> {_name(INITIAL)}"
    for state in STATES:
        for event, after in TABLE[state].events.items():
            label = "" if event == "done" else f" : {event}"
            yield f"{_name(state)} --> {_name(after)}{label}"
        if not TABLE[state].events:
            yield f"{_name(state)} --> [*]"
    resting = ", ".join(_name(state) for state in STATES if TABLE[state].resting)
    yield f"class {resting} resting"


def _name(state: str) -> str:
    """Mermaid takes a hyphen in an identifier for part of an arrow."""
    return state.replace("-", "_")


def _row(state: str, place: Place) -> str:
    undo = f"`{place.undo}`" if place.undo else "-"
    return f"| `{state}` | {place.sentence} | {_open(place)} | {place.stream or '-'} | {undo} |"


def _open(place: Place) -> str:
    """Who takes writes: at the step's beginning, then at its end."""
    begins = _open_side(place.source[0], place.target[0])
    ends = _open_side(place.source[-1], place.target[-1])
    return begins if begins == ends else f"{begins}, then {ends}"


def _open_side(source: Side, target: Side) -> str:
    if source == "source":
        return "source"
    return "target" if target == "target" else "nobody"


if __name__ == "__main__":
    sys.stdout.write(document())
