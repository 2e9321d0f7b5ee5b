"""How fast a sweep reads: it waits while a server has too much to do, or while it is told to.

A thread of its own looks at the servers every second, over sessions of its own, so that a sweep's
statements are never held up by the question whether they may run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psycopg
import pymysql

from bridge.errors import BridgeError

LOOK_SECONDS = 1.0
_WAKE_SECONDS = 0.1

Probe = Callable[[], str]
"""Says why reading must wait ('' if it need not). Raises drivers' errors and BridgeError."""


class Pace:
    """As fast as it goes.

    `statement_seconds`: how long one statement may take (None: as long as it needs). `bounded`:
    reading has to be divided into pieces that can be held up.
    """

    statement_seconds: float | None = None
    bounded: bool = False

    def wait(self, halted: Callable[[], bool]) -> None:
        """Returns when the next piece may be read, or as soon as `halted` says so."""


@dataclass
class Throttle(Pace):
    """Waits while any of the probes has a reason; `told` hears each new one ('': it goes on).

    A probe that fails is a reason, too: what cannot be looked at is not read from.
    """

    probes: Sequence[Probe]
    told: Callable[[str], None] = lambda _: None
    statement_seconds: float | None = None
    bounded: bool = False
    reason: str = ""
    _free: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Throttle:
        self._thread = threading.Thread(target=self._run, name="throttle", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        assert self._thread is not None
        self._thread.join(LOOK_SECONDS)

    def wait(self, halted: Callable[[], bool]) -> None:
        """See Pace."""
        while not self._free.wait(_WAKE_SECONDS):
            if halted():
                return

    def _run(self) -> None:
        while not self._ended.is_set():
            reason = next(filter(None, map(_asked, self.probes)), "")
            if self._ended.is_set():
                return  # what was looked at may have been closed in the middle of it
            if reason:
                self._free.clear()
            else:
                self._free.set()
            if reason != self.reason:
                self.reason = reason
                self.told(reason)
            self._ended.wait(LOOK_SECONDS)


def _asked(probe: Probe) -> str:
    try:
        return probe()
    except BridgeError as error:
        return error.message
    except (psycopg.Error, pymysql.Error, OSError) as error:
        return f"its load cannot be seen: {error}"
