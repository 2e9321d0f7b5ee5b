"""Proofs of groups that the target has are kept up by the daemon.

So a reverse finds little to compare under its fence, however long ago the switch was, and the log
of the source is read before the source forgets it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
import pymysql
import structlog

from bridge.config import Settings
from bridge.cutover.journal import Journal
from bridge.cutover.opening import checker
from bridge.errors import BridgeError

ROUND_SECONDS = 30.0

log = structlog.get_logger("dbbridge.sync")


class Upkeep:
    """A round of each such group's final check, again and again; a thread of its own."""

    def __init__(
        self, settings: Settings, open_target: Callable[[], psycopg.Connection[Any]]
    ) -> None:
        self._settings = settings
        self._open_target = open_target
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proofs", daemon=True)

    def start(self) -> None:
        """Begins, after a while."""
        self._thread.start()

    def stop(self) -> None:
        """Asks it to end; a round under way ends with the process, and nothing is lost by that."""
        self._halt.set()

    def _run(self) -> None:
        while not self._halt.wait(ROUND_SECONDS):
            try:
                groups = self._due()
            except (psycopg.Error, pymysql.Error, BridgeError, OSError) as error:
                log.warning("proofs-wait", reason=str(error))
                continue
            for group in groups:
                self._round(group)

    def _due(self) -> list[str]:
        with closing(self._open_target()) as conn:
            states = Journal(conn, self._settings.name).states()
        return [group for group, state in states.items() if state == "target-primary"]

    def _round(self, group: str) -> None:
        """One group's; what goes wrong with it keeps no other's proofs from being kept up."""
        try:
            checker(self._settings, group).round()
        except (psycopg.Error, pymysql.Error, BridgeError, OSError) as error:
            log.warning("proofs-wait", group=group, reason=str(error))
