"""A worker: a process that takes tasks, and its children who do them.

SIGTERM and SIGINT end it in order: the children save their parts and let them go. Whatever takes
longer than `LEAVE_SECONDS`, or a second signal, ends it without them; their parts are free then.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import threading
import time
import warnings
from typing import Any

import structlog
from celery import Celery, signals
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning

from bridge.config import Settings
from workers.leaving import leave, leaving
from workers.names import copies_of, queue_of, rounds_of

LEAVE_SECONDS = 8.0
ORPHAN_SECONDS = 1.0
INTERRUPTED = 130
_QUIET = (
    *("celery.app.trace", "celery.apps.worker", "celery.beat", "kombu"),
    *("celery.worker.request", "celery.worker.strategy"),
)
"""Loggers that would say of each task that it came and that it went, or what is said already."""

log = structlog.get_logger()
_caught: list[str] = []
"""The signals that came."""


def run(app: Celery, settings: Settings, concurrency: int, *, beat: bool) -> int:
    """Works until it is told to end; the exit code. The logs are set up already."""
    # Root may do it where messages are JSON; what a lost connection does to tasks is decided.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
    name = settings.name
    queues = (queue_of(name), rounds_of(name), copies_of(name))
    signals.setup_logging.connect(_set_up_logging, weak=False)
    signals.worker_ready.connect(_say_ready(settings, concurrency, beat), weak=False)
    signals.worker_shutting_down.connect(_shut_down, weak=False)
    signals.worker_process_init.connect(_end_with_parent, weak=False)
    signals.beat_embedded_init.connect(_end_with_parent, weak=False)
    worker = app.Worker(
        hostname=f"{os.getpid()}@{platform.node()}",
        queues=queues,
        concurrency=concurrency,
        pool="prefork",
        beat=beat,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel="INFO",
    )
    worker.start()
    log.info("worker ended")
    return _code() or int(worker.exitcode or 0)


def _code() -> int:
    return INTERRUPTED if "SIGINT" in _caught else 0


def _say_ready(settings: Settings, concurrency: int, beat: bool) -> Any:
    def say(**_: Any) -> None:
        place = settings.broker().place
        log.info(
            "worker ready", pipeline=settings.name, broker=place, processes=concurrency, beat=beat
        )

    return say


def _shut_down(sig: str, **_: Any) -> None:
    """Runs inside a signal's handler, where the main thread may hold any lock."""
    if leaving():
        os._exit(INTERRUPTED)
    _caught.append(sig)
    leave()
    threading.Thread(target=_leave, daemon=True).start()


def _leave() -> None:
    time.sleep(LEAVE_SECONDS)
    log.warning("a server does not answer; ended without it", next="its part is free for others")
    os._exit(_code())


def _end_with_parent(**_: Any) -> None:
    """Whoever's parent was killed must not go on taking tasks, or sending them."""
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ORPHAN_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _set_up_logging(**_: Any) -> None:
    """Celery's own words go where ours go."""
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class _Forward(logging.Handler):
    """Gives lines of the standard library's logging to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line; of several only the first unless it is an error's."""
        lines = record.getMessage().splitlines() or [""]
        # A process that was killed has no traceback that says anything.
        told = record.exc_info and record.name != "celery.worker.request"
        facts = {"exc_info": record.exc_info} if told else {}
        say = log.error if record.levelno >= logging.ERROR else log.warning
        say = log.info if record.levelno < logging.WARNING else say
        say(lines[0], logger=record.name, **facts)
