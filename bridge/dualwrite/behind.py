"""Early writes that no commit waits for.

They are made in the order of the commits, as many in one transaction as have come meanwhile. What
does not fit into the queue is left to the stream, as all else that an early write cannot do.
"""

from __future__ import annotations

import threading
from collections import deque

from bridge.dualwrite.provisional import MOST_ROWS, Committed, Provisional

MOST_WAITING = 1000
"""Operations; more than that come faster than they are written."""
MOST_TOGETHER = 64
"""Operations in one transaction."""
GATHER_SECONDS = 0.003
"""How long others are waited for that may go with the first: a transaction of the target and three
queries cost many times what one operation more in them does, and no commit waits for it."""
CLOSE_SECONDS = 1.0
"""How long what waits at the end may take; the rest is left to the stream."""


class Behind:
    """A thread that writes what it is given."""

    def __init__(self, early: Provisional) -> None:
        self._early = early
        self._waiting: deque[Committed] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, one: Committed) -> None:
        """Leaves an operation to the thread; returns at once."""
        with self._changed:
            if self._closed or len(self._waiting) >= MOST_WAITING:
                self._early.counts.add("backlog")
                return
            self._waiting.append(one)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="early", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Writes what waits, as far as there is time."""
        self._ended.set()
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while many := self._next():
            self._early.write_all(many)

    def _next(self) -> list[Committed]:
        """What goes into the next transaction; nothing when it is over."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            gather = not self._closed and len(self._waiting) < MOST_TOGETHER
        if gather:
            self._ended.wait(GATHER_SECONDS)
        with self._changed:
            many: list[Committed] = []
            rows = 0
            while self._waiting and len(many) < MOST_TOGETHER:
                rows += self._waiting[0].rows
                if many and rows > MOST_ROWS:
                    break
                many.append(self._waiting.popleft())
            return many
