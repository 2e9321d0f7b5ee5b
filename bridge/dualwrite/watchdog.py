"""Sessions whose server stands still are cut off, so that nobody waits for it.

A server that is frozen, or behind a network that drops what it gets, ends no statement by its own
limits, and libpq has none for answers.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Watchdog:
    """Watches sockets while they are waited for; each at most `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._watched: dict[int, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, descriptor: int) -> Iterator[None]:
        """Shuts the socket down if this lasts too long; who waits there sees its end."""
        with self._lock:
            self._watched[descriptor] = time.monotonic() + self._seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._watched.pop(descriptor, None)

    def _run(self) -> None:
        while True:
            time.sleep(self._seconds / 4)
            now = time.monotonic()
            with self._lock:
                late = [one for one, end in self._watched.items() if end < now]
                for descriptor in late:
                    del self._watched[descriptor]
                    _shut(descriptor)
                if not self._watched:
                    self._thread = None
                    return


def _shut(descriptor: int) -> None:
    """Ends the connection, and leaves the descriptor to its owner."""
    with suppress(OSError):
        twin = socket.socket(fileno=os.dup(descriptor))
        try:
            twin.shutdown(socket.SHUT_RDWR)
        finally:
            twin.close()
