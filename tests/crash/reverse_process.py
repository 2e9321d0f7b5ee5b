"""Reverse replication as a process that may be killed.

    python -m tests.crash.reverse_process FILE [--without-position]

FILE holds the arguments of `Reverse`, pickled. Without a position it goes wrong, which shows that
the test would see it.
"""

from __future__ import annotations

import pickle
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from bridge.reverse.position import Position
from bridge.reverse.run import Reverse


def main(file: str, broken: bool) -> int:
    """Runs until SIGTERM; 1 if it stopped by itself."""
    if broken:
        forget_positions()
    arguments, options = pickle.loads(Path(file).read_bytes())  # noqa: S301 (the test's own)
    reverse = Reverse(*arguments, **options)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    reverse.start()
    while not ended.wait(0.05):
        facts = reverse.facts()
        if facts.stopped:
            print(facts.error and facts.error.message, flush=True)
            return 1
    reverse.stop()
    return 0


def forget_positions() -> None:
    """Every attempt begins where the slot is, whatever was committed."""

    def read(self: Position, conn: Any, flip: int) -> None:
        self.lsn = flip

    def move(self: Position, conn: Any, lsn: int) -> None:
        pass

    Position.read = read  # type: ignore[method-assign]
    Position.move = move  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "--without-position" in sys.argv))
