"""What the service has done, as Prometheus reads it (text format 0.0.4)."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds."""


@dataclass(slots=True)
class Metrics:
    """Counts of this process."""

    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """One more request."""
        with self.lock:
            self.requests[method, route, status] += 1
            self.buckets[bisect_left(BOUNDS, seconds)] += 1
            self.seconds += seconds

    def text(self, operations: Mapping[str, int], unconfirmed: int | None) -> str:
        """The whole page; `unconfirmed` is left out where the target does not tell it."""
        with self.lock:
            return "\n".join([*self._lines(operations, unconfirmed), ""])

    def _lines(self, operations: Mapping[str, int], unconfirmed: int | None) -> Iterator[str]:
        name = "dbbridge_proxy_requests_total"
        yield from _head(name, "counter", "Requests by what was answered.")
        for (method, route, status), number in sorted(self.requests.items()):
            yield f'{name}{{method="{method}",route="{route}",status="{status}"}} {number}'
        name = "dbbridge_proxy_operations_total"
        yield from _head(name, "counter", "Committed operations by what became of the early write.")
        for outcome, number in sorted(operations.items()):
            yield f'{name}{{outcome="{outcome}"}} {number}'
        if unconfirmed is not None:
            name = "dbbridge_unconfirmed_operations"
            yield from _head(name, "gauge", "Operations that the stream has not confirmed yet.")
            yield f"{name} {unconfirmed}"
        name = "dbbridge_proxy_request_seconds"
        yield from _head(name, "histogram", "How long requests took.")
        total = 0
        for bound, number in zip((*BOUNDS, "+Inf"), self.buckets, strict=True):
            total += number
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self.seconds:.6f}"
        yield f"{name}_count {total}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
