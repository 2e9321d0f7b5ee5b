"""How the service and both sides do."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from bridge.dualwrite.authority import Authority
from bridge.dualwrite.http.problems import Problem
from bridge.dualwrite.http.tables import Tables
from bridge.dualwrite.layer import DualWrite
from bridge.errors import BridgeError

KEEP_SECONDS = 1.0
"""How old an answer may be: probes need no token, and must not be a way to load the servers."""
_SIDES = ("source", "target", "authority")
_UNASKED = {"status": "not ready", **dict.fromkeys(_SIDES, "not asked yet")}
_UNCONFIRMED = text(
    "SELECT count(*) FROM dbbridge.applied_ops WHERE pipeline = :pipeline AND NOT confirmed"
)


class Probe:
    """Asks both sides."""

    def __init__(self, dual: DualWrite, tables: Tables, pipeline: str) -> None:
        self._dual = dual
        self._tables = tables
        self._pipeline = pipeline
        self._ready = float("-inf"), dict(_UNASKED)
        self._asking = threading.Lock()

    def ready(self) -> dict[str, str]:
        """``status`` 'ok', or what is wrong.

        While one caller asks, the others get the answer before it: sides that say nothing hold up
        one thread.
        """
        at, found = self._ready
        if time.monotonic() - at <= KEEP_SECONDS or not self._asking.acquire(blocking=False):
            return found
        try:
            found = {
                "source": _asked(self._dual.source),
                "target": _asked(self._dual.target),
                "authority": self._authority_known(),
            }
            found["status"] = "ok" if set(found.values()) == {"ok"} else "not ready"
            self._ready = time.monotonic(), found
        finally:
            self._asking.release()
        return found

    def authority(self, group: str) -> Authority:
        """Who has it over a group; raises Problem."""
        found = self._dual.authorities().get(group)
        if found is not None:
            return found
        if group not in self._tables.groups:
            raise Problem(
                404,
                "unknown-group",
                f"there is no group “{group}”",
                "there are: " + ", ".join(self._tables.groups[:20]),
            )
        return Authority(group, 0)

    def outcomes(self) -> Mapping[str, int]:
        """Operations of this process by what became of them."""
        with self._dual.early.counts.lock:
            return dict(self._dual.early.counts.by)

    def unconfirmed(self) -> int | None:
        """Operations in the target that the stream has not confirmed; None if it is away."""
        try:
            with self._dual.target.connect() as conn:
                return int(conn.execute(_UNCONFIRMED, {"pipeline": self._pipeline}).scalar_one())
        except (SQLAlchemyError, BridgeError):
            return None

    def _authority_known(self) -> str:
        try:
            known = self._dual.authorities()
        except BridgeError:
            return "nobody can be asked"
        return "ok" if known else "not set up: dbbridge cutover mode"


def _asked(engine: Engine) -> str:
    try:
        with engine.connect() as conn:
            conn.execute(text("SELECT 1"))
    except (SQLAlchemyError, BridgeError):
        return "away"
    return "ok"
