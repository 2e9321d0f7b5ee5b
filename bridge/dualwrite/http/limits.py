"""How often a caller may ask."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bridge.dualwrite.http.problems import Problem


@dataclass(slots=True)
class Rates:
    """A bucket a caller, filled with `per_second` requests a second (0: no limit).

    It holds those of one second, and at least one.
    """

    per_second: float
    clock: Callable[[], float] = time.monotonic
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, caller: str) -> None:
        """One request; raises Problem if there is none left."""
        if not self.per_second:
            return
        now, most = self.clock(), max(1.0, self.per_second)
        left, at = self._left.get(caller, (most, now))
        left = min(most, left + (now - at) * self.per_second)
        if left < 1:
            self._left[caller] = (left, now)
            wait = math.ceil((1 - left) / self.per_second)
            raise Problem(
                429,
                "too-many-requests",
                f"{caller} may send {self.per_second:g} requests a second",
                "send fewer, or several rows in one transaction",
                again=wait,
            )
        self._left[caller] = (left - 1, now)
