"""A process that sets or takes off a fence and dies at one of its steps."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pymysql

from bridge.cutover.fences.base import Evidence

_LOOKING = ("SELECT", "SHOW", "SET SESSION", "SET AUTOCOMMIT", "SET NAMES")


class Filed:
    """Notes in a file, which outlives whoever wrote it."""

    def __init__(self, path: Path, step: Callable[[], None] = lambda: None) -> None:
        self._path, self._step = path, step

    def read(self) -> Evidence | None:
        found: Evidence | None = json.loads(self._path.read_text()) if self._path.exists() else None
        return found

    def write(self, evidence: Evidence) -> None:
        self._step()
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(evidence))
        new.replace(self._path)
        self._step()

    def clear(self) -> None:
        self._step()
        self._path.unlink(missing_ok=True)


def dies_at(number: int, path: Path, work: Callable[[Filed], None]) -> bool:
    """Does the work in a process of its own that dies at a step; whether it came so far.

    Steps are before and after each statement that changes something, and each note.
    """
    child = os.fork()
    if child == 0:
        _live(number, path, work)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def _live(number: int, path: Path, work: Callable[[Filed], None]) -> None:
    passed = 0

    def step() -> None:
        nonlocal passed
        passed += 1
        if passed == number:
            os.kill(os.getpid(), signal.SIGKILL)

    plain = pymysql.connections.Connection.query

    def query(self: Any, sql: Any, unbuffered: bool = False) -> int:
        looking = str(sql).upper().startswith(_LOOKING)
        if not looking:
            step()
        found: int = plain(self, sql, unbuffered)
        if not looking:
            step()
        return found

    code = 1
    try:
        with patch.object(pymysql.connections.Connection, "query", query):
            work(Filed(path, step))
        code = 0
    finally:
        os._exit(code)
