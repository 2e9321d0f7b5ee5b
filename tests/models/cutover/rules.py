"""How a cutover is made. The defaults are the rules as built; the rest breaks them, one by one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """What operators, writers and the table of states do."""

    session_lock: bool = True
    """Whether whoever takes over ends the session on the source of whoever was there before."""
    late_markers: bool = True
    """Whether the stream obeys markers of whoever was left behind."""
    fence: bool = True
    """Whether there are writers that know nothing of rows, and a fence against them."""
    publishes_again: bool = True
    """Whether a switch of an armed group publishes its tables again, before the fence."""
    marker: str = "under the fence"
    """Or "before the fence": when the position is noted that the stream has to pass."""
    drains: bool = True
    """Whether the target opens only when the stream has passed that position."""
    stands_down: bool = True
    """Whether the forward stream has become a tripwire before the target opens."""
    flip: str = "with the journal"
    """Or "before the journal": when the target's row is opened."""
    undo: str = "stream, row"
    """Or "row, stream"; or "stream", which leaves the source's row closed."""
    undo_raises: bool = True
    """Whether the row is opened again in a new epoch, and not in the one that it was left in."""
    late_cancel: bool = False
    """Whether a flip may be cancelled."""
    intent: bool = True
    """Whether the flip back is written down before the source's row is opened."""
    reverse_ends: bool = True
    """Whether the forward stream goes on only when the reverse one has ended."""
    reverse_drains: bool = True
    """Whether the source opens only when the reverse stream has passed its marker."""
    forward_first: bool = True
    """Whether the forward stream goes on before the source opens."""
    writers: str = "under the row's lock"
    """Or "before it": when an instance looks whether the row is what it knows."""
    modes: str = "at rest"
    """Or "at any time": when the mode may be changed, which raises both rows' epochs."""


BUILT = Rules()
