"""Waiting for conditions."""

from __future__ import annotations

import time
from collections.abc import Callable

WAIT_SECONDS = 120.0
_PAUSE_SECONDS = 0.005


def until(holds: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Returns as soon as it holds; fails if it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(_PAUSE_SECONDS)
