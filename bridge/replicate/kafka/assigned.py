"""Which partitions the group says are this consumer's, and whether that may be believed."""

from __future__ import annotations

import time
from collections.abc import Iterable

from bridge.capture.topics import SESSION_SECONDS
from bridge.replicate.kafka.crew import Work
from bridge.replicate.kafka.post import Misplaced
from bridge.store.partitions import PartitionState, Place

UNASSIGNED_SECONDS = 8.0
"""How long partitions may be nobody's, while the group hears of topics and shares them out."""


class Assigned:
    """What the callbacks of the group told to `holder`; `static`: it has a static name there."""

    def __init__(self, holder: str, *, static: bool) -> None:
        self._holder = holder
        self._static = static
        self._since: dict[Place, float] = {}
        self._complete = time.monotonic()
        """When every partition was somebody's."""

    def give(self, places: Iterable[Place]) -> None:
        """They are ours from now on."""
        self._since |= dict.fromkeys(places, time.monotonic())

    def lose(self, places: Iterable[Place]) -> None:
        """They are ours no longer."""
        for place in places:
            self._since.pop(place, None)

    def doubt(self, places: Iterable[Place]) -> None:
        """Somebody else has taken them, who may be right.

        If the group still says the same when it must have heard of both, they are ours.
        """
        until = time.monotonic() + 1.5 * SESSION_SECONDS
        self._since |= dict.fromkeys(self._since.keys() & set(places), until)

    def ours(self, work: Work) -> dict[Place, PartitionState]:
        """Partitions of tables that are followed, which the group gave to us, and we believe it."""
        now = time.monotonic()
        return {
            place: state
            for place, state in work.places.items()
            if place in self._since
            and (self._since[place] <= now or state.holder in ("", self._holder))
        }

    def check(self, work: Work) -> None:
        """Raises Misplaced where the group has to share out its partitions again.

        Whoever comes back soon under a static name is given what its predecessor had. Topics that
        became visible in between are nobody's: the others had not seen them yet, and for this one
        they are not new. Joining without a name makes the group look.
        """
        nobodys = [
            place
            for place, state in work.places.items()
            if not state.holder and place not in self._since
        ]
        if not (nobodys and self._static):
            self._complete = time.monotonic()
        elif time.monotonic() - self._complete > UNASSIGNED_SECONDS:
            topic, number = nobodys[0]
            raise Misplaced(f"{topic}[{number}] is given to no consumer", "it joins the group anew")
