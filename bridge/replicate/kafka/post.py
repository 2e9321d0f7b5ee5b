"""What a consumer of the group is about, and what it tells."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bridge.databases.kafka import KafkaEndpoint
from bridge.errors import BridgeError
from bridge.replicate.plans import Planner
from bridge.store.state import Connection
from bridge.types.events import EventSettings

TOLD_SECONDS = 15.0
"""librdkafka tries again, and fails again, at least every ten."""


@dataclass(frozen=True, slots=True)
class Post:
    """What a consumer is about.

    `holder` names this process among all in the control schema; `host` makes its static name in the
    group. `open_target` opens sessions in autocommit mode.
    """

    pipeline: str
    group: str
    endpoint: KafkaEndpoint
    events: EventSettings
    open_target: Callable[[], Connection]
    planner: Planner
    host: str
    holder: str


@dataclass(slots=True)
class Facts:
    """What a consumer tells: rows that it has applied, and what it waits for."""

    rows: int = 0
    _message: str = ""
    _told: float = 0.0

    def tell(self, message: str) -> None:
        """It waits for this; the client says so again as long as it lasts."""
        self._message, self._told = message, time.monotonic()

    @property
    def message(self) -> str:
        """What it waits for; '': nothing."""
        return self._message if time.monotonic() - self._told < TOLD_SECONDS else ""


class Misplaced(BridgeError):
    """The group serves nobody under this member's name as it should: it joins without one."""

    transient = True
