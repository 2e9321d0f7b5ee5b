"""How `sync` ends when it is told to: in order, and in time whatever it waits for."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from select import select
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from bridge.cli.start import INTERRUPTED

if TYPE_CHECKING:
    from bridge.replicate.daemon import Daemon

FINISH_SECONDS = 5.0
"""How long what is under way may take after a signal, before its sessions are ended."""
LEAVE_SECONDS = 3.5
"""How long the daemon may take after that, before the process ends without its threads."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_Handler = Callable[[int, FrameType | None], Any] | int | None


@contextmanager
def at_once() -> Iterator[None]:
    """SIGTERM and SIGINT end the process as long as it runs nothing that has to end in order."""
    handlers = {s: signal.signal(s, _leave) for s in _SIGNALS}
    try:
        yield
    finally:
        _restore(handlers)


@contextmanager
def interrupting() -> Iterator[None]:
    """SIGTERM interrupts as SIGINT does: what is under way is undone then."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    handlers = {s: signal.signal(s, interrupt) for s in _SIGNALS}
    try:
        yield
    finally:
        _restore(handlers)


@contextmanager
def obeyed(daemon: Daemon, stderr: TextIO) -> Iterator[list[int]]:
    """The signals that came; the first SIGTERM or SIGINT ends in order, a second one at once.

    A thread acts on them: a handler would run inside whatever the main thread does, which may hold
    the very lock that the handler needs, or be a call that does not come back.
    """
    caught: list[int] = []
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    waker = signal.set_wakeup_fd(writing)
    handlers = {s: signal.signal(s, _nothing) for s in _SIGNALS}
    watcher = threading.Thread(
        target=_watch, args=(reading, daemon, caught, stderr), name="signals", daemon=True
    )
    watcher.start()
    try:
        yield caught
    finally:
        _restore(handlers)
        signal.set_wakeup_fd(waker)
        os.close(writing)
        watcher.join()
        os.close(reading)


def _restore(handlers: Mapping[signal.Signals, _Handler]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _leave(number: int, _frame: object) -> None:
    os._exit(_code(number))


def _code(number: int) -> int:
    return INTERRUPTED if number == signal.SIGINT else 0


def _nothing(_number: int, _frame: object) -> None:
    """Python tells the waker of signals that have a handler."""


def _watch(reading: int, daemon: Daemon, caught: list[int], stderr: TextIO) -> None:
    first = os.read(reading, 1)
    if not first:
        return
    caught.append(first[0])
    daemon.stop()
    if _ended(reading, FINISH_SECONDS):
        return
    threading.Thread(target=_cut, args=(daemon,), daemon=True).start()
    if _ended(reading, LEAVE_SECONDS):
        return
    print(
        "sync: a server does not answer; ended without it, and what was under way is rolled back",
        file=stderr,
        flush=True,
    )
    os._exit(_code(caught[0]))


def _ended(reading: int, seconds: float) -> bool:
    """Whether the daemon ends within so long; a second signal ends the process."""
    if not select([reading], [], [], seconds)[0]:
        return False
    if os.read(reading, 1):
        os._exit(INTERRUPTED)
    return True


def _cut(daemon: Daemon) -> None:
    with suppress(Exception):  # the process ends in any case
        daemon.cut()
