"""Named points at which the crash tests kill the daemon, or make it stand still.

``DBBRIDGE_KILL_AT=stream.committed:3`` sends SIGKILL to the process at the third passage of that
point, ``DBBRIDGE_STOP_AT`` SIGSTOP. Unset (always, outside tests) a point costs two comparisons.
"""

from __future__ import annotations

import itertools
import os
import signal
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
KAFKA_POINTS: Final = (
    "partition.taken",
    "stream.read",
    "stream.apply",
    "stream.locked",
    "stream.saved",
    "stream.committed",
)
"""Those of a consumer; between ``locked`` and ``committed`` its transaction is open."""


class _Wanted:
    """A point's passage at which a signal is due."""

    def __init__(self, variable: str, number: signal.Signals) -> None:
        self.point, _, count = os.environ.get(variable, "").partition(":")
        self._wanted = int(count or 1)
        self._passages = itertools.count(1)  # which several threads may count
        self._number = number

    def passed(self) -> None:
        if next(self._passages) == self._wanted:
            # To this thread: at another one's turn it would go on for a moment.
            signal.raise_signal(self._number)


_kill = _Wanted("DBBRIDGE_KILL_AT", signal.SIGKILL)
_stop = _Wanted("DBBRIDGE_STOP_AT", signal.SIGSTOP)


def passing(point: str) -> None:
    """Says that the daemon is at `point`."""
    if point == _kill.point:
        _kill.passed()
    if point == _stop.point:
        _stop.passed()
