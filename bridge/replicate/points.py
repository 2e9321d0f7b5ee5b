"""Named points at which the crash tests kill the daemon.

``DBBRIDGE_KILL_AT=stream.committed:3`` sends SIGKILL to the process at the third passage of that
point. Unset (always, outside tests) a point costs one attribute look-up and a comparison.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Final

POINTS: Final = (
    "copy.begun",
    "copy.planned-chunk",
    "copy.chunk-read",
    "copy.chunk-committed",
    "copy.table-done",
    "index.built",
    "join.before",
    "join.after",
    "swap.before",
    "stream.read",
    "stream.apply",
    "stream.committed",
)
"""In the order in which a pipeline passes them."""

_wanted, _, _count = os.environ.get("DBBRIDGE_KILL_AT", "").partition(":")
_passed: Counter[str] = Counter()


def passing(point: str) -> None:
    """Says that the daemon is at `point`."""
    if point != _wanted:
        return
    _passed[point] += 1
    if _passed[point] >= int(_count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
