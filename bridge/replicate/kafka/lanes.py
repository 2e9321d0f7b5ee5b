"""What a consumer follows: partitions, and the tables that they are of (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.capture.debezium.envelope import Source
from bridge.capture.debezium.rows import Event, EventDecoder
from bridge.change.batch import Stretch, TableOps
from bridge.change.position import Position, file_number
from bridge.errors import TableStopped
from bridge.names import TableName
from bridge.store.partitions import Place

if TYPE_CHECKING:  # it may not be built
    from bridge.capture.debezium._events import Reader


STREAMED = "stream"
"""In place of a snapshot: the partition began with changes."""


@dataclass(slots=True, eq=False)
class Route:
    """A table and the decoder of its events; `partitions` is how many its topic has."""

    decoder: EventDecoder
    partitions: int
    schemas: bool
    ops: TableOps | None = None
    counts: list[int] = field(default_factory=lambda: [0, 0, 0])
    direct: bool = field(init=False)
    """Whether events need not be looked at as pairs of rows."""
    schema_bytes: int = 0

    def __post_init__(self) -> None:
        plan = self.decoder.plan
        self.direct = plan.key > 0 and plan.keep is None

    @property
    def name(self) -> TableName:
        """The source table."""
        return self.decoder.plan.source


@dataclass(slots=True, eq=False)
class Lane:
    """A partition that is followed: `start` is applied, `next` is taken in."""

    place: Place
    generation: int
    route: Route
    epoch: int
    base: Position | None
    past: bool
    snapshot: str
    start: int
    next: int
    reader: Reader | None = None
    """Once a change has been looked at: what takes those of which only the row is new."""

    def follow(self, route: Route) -> None:
        """Goes on with the table as it is compiled now."""
        self.route, self.reader = route, None

    def stretch(self) -> Stretch:
        """What has been taken in and not handed over."""
        topic, number = self.place
        return Stretch(
            topic,
            number,
            self.generation,
            self.epoch,
            self.start,
            self.next,
            self.past,
            self.snapshot,
        )

    def holds(self, source: Source) -> bool:
        """Whether the copy that the table began with has the change already."""
        return self.base is not None and not source.initial and covered(self.base, source)

    def heed_snapshot(self, event: Event) -> None:
        """Notes which snapshot the rows are of.

        Raises TableStopped('snapshot-restarted') for another one: the connector started over.
        """
        source = event.source
        if event.op != "r" or not source.initial:
            self.snapshot = self.snapshot or STREAMED
            return
        found = f"{source.file}:{source.pos}"
        if self.base is None and self.snapshot in ("", found):
            self.snapshot = found
            return
        name = self.route.name
        raise TableStopped(
            f"{name}: Debezium's connector took a new snapshot at {found}, and nobody knows what"
            " changed before it",
            f"copy the table again: dbbridge tables resync {name.word}",
            "snapshot-restarted",
        )


def covered(base: Position, source: Source) -> bool:
    """Whether a change lies before the position: by its GTID, or else by where it stands."""
    if source.gtid and base.kind != "file":
        return base.covers(Position(base.kind, source.gtid))
    return bool(base.file) and (file_number(source.file), source.pos) < base.coordinates
