"""Named points of a cutover, at which the crash tests kill the operator or make him stand still."""

from __future__ import annotations

from typing import Final

from bridge.replicate.points import passing

__all__ = ["POINTS", "passing"]

POINTS: Final = (
    "arming.fenced",
    "fencing.begun",
    "fencing.closed",
    "fencing.fenced",
    "draining.marked",
    "sequencing.raised",
    "sequencing.installed",
    "flipping.begun",
    "flipping.told",
    "reverse-fencing.begun",
    "reverse-fencing.closed",
    "reverse-fencing.fenced",
    "reverse-draining.marked",
    "reverse-draining.ended",
    "reverse-sequencing.raised",
    "reverse-sequencing.removed",
    "reverse-flipping.begun",
    "reverse-flipping.marked",
    "reverse-flipping.opened",
)
"""In the order in which a switch and a reverse pass them."""
UNDO_POINTS: Final = (
    "aborting.marked",
    "aborting.released",
    "reverse-aborting.resumed",
    "reverse-aborting.released",
    "disarming.dropped",
)
