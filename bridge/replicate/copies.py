"""Copies tables by readers of this process, or by workers, until all are in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog

from bridge.errors import TableStopped
from bridge.replicate.board import Board
from bridge.replicate.copying import Copier
from bridge.replicate.errands import Caller
from bridge.replicate.job import Job
from bridge.replicate.points import passing
from bridge.replicate.servers import Servers, meaning
from bridge.replicate.stage import Stages
from bridge.store.lease import Lease
from bridge.store.state import TableState

TICK_SECONDS = 0.1
"""How often threads, requests and the board are looked at."""
WAIT_SECONDS = 0.5

log = structlog.get_logger("dbbridge.sync")


@contextmanager
def waiting(board: Board, tick: Callable[[], Any]) -> Iterator[Callable[[str], None]]:
    """What a copy that cannot begin yet calls again and again with the reason."""

    def wait(reason: str) -> None:
        if board.message != reason:
            log.warning("waiting", reason=reason)
        board.message = reason
        tick()
        time.sleep(WAIT_SECONDS)

    try:
        yield wait
    finally:
        board.message = ""


def copy_tables(
    servers: Servers,
    lease: Lease,
    stages: Stages,
    board: Board,
    states: Sequence[TableState],
    tick: Callable[[], Any],
    stop: Callable[[TableStopped], Any],
    *,
    readers: int,
    caller: Caller | None,
) -> None:
    """Copies tables for which `begin_copies` was called; `stop`s those that cannot go on.

    `tick` is called meanwhile; what it raises ends the copy, which goes on another time.
    """
    jobs = [
        Job(target, state) for target, state in zip(stages.targets(states), states, strict=True)
    ]
    copier = Copier(servers, lease, board, readers, stages.copied, caller)
    copier.start(jobs)
    passing("copy.begun")
    try:
        while not copier.ended.wait(TICK_SECONDS):
            tick()
    finally:
        try:
            copier.stop()
        except Exception as error:
            raise meaning(error) from error
        finally:
            for job in jobs:
                if job.stopped is not None:
                    stop(job.stopped)
