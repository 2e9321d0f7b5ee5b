"""What the log says besides the rows that are followed.

The bridge's own tables say it, and writes to tables of which the target has authority.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set

from bridge.capture.binlog.table_map import table_map
from bridge.change.batch import Handover, Op
from bridge.change.position import Progress
from bridge.names import TableName
from bridge.replicate.ops import (
    MARKERS_TABLE,
    OPS_TABLE,
    compile_own,
    inserted_markers,
    inserted_ops,
)
from bridge.reverse.position import REVERSE_TABLE

Heed = Callable[[int, bytes], None]
"""Takes in an event of rows, with its kind."""


def place(progress: Progress, event: bytes) -> str:
    """The event's coordinates, for messages."""
    return f"{progress.file}:{int.from_bytes(event[13:17], 'little')}"


class Signs:
    """Gathers them for one batch after the other.

    `own`: whether the bridge's own tables are heeded. `switched`: tables that are watched, not
    followed, until a marker says otherwise. `progress` is the builder's, and both are mutable.
    """

    def __init__(self, progress: Progress, *, own: bool, switched: Iterable[TableName]) -> None:
        self._progress = progress
        self._own = own
        self.switched = set(switched)
        self.markers: list[Handover] = []
        """Of the transaction that is open."""
        self.echo = False
        """Whether it is one of the reverse stream's."""
        self._ops: list[Op] = []
        self._handovers: list[Handover] = []
        self._violations: dict[TableName, int] = {}

    def heed(self, name: TableName, event: bytes) -> Heed | None:
        """What to do with rows of a table that is not followed, by its table map."""
        if not self._own:
            return None
        if name.table == REVERSE_TABLE:
            return self._echo
        if name.table not in (OPS_TABLE, MARKERS_TABLE):
            return None
        decoder = compile_own(table_map(event))

        def ops(kind: int, event: bytes) -> None:
            self._ops += inserted_ops(decoder, kind, event, place(self._progress, event))

        def markers(kind: int, event: bytes) -> None:
            self.markers += inserted_markers(decoder, kind, event, place(self._progress, event))

        return ops if name.table == OPS_TABLE else markers

    def _echo(self, _kind: int, _event: bytes) -> None:
        self.echo = True

    def watch(self, name: TableName) -> Heed:
        """A table of which the target has authority: only the reverse stream writes here."""

        def tripped(_kind: int, _event: bytes) -> None:
            if not self.echo:
                self.violate(name)

        return tripped

    def violate(self, name: TableName) -> None:
        """Somebody else changed such a table."""
        self._violations[name] = self._violations.get(name, 0) + 1

    def hand_over(self, followed: Set[TableName]) -> None:
        """Behind this commit the markers hold."""
        for marker in self.markers:
            mine = followed & set(marker.tables)
            (self.switched.difference_update if marker.live else self.switched.update)(mine)
        self._handovers += self.markers
        self.markers.clear()

    def take(self) -> tuple[tuple[Op, ...], tuple[Handover, ...], dict[TableName, int]]:
        """Operations, handovers and violations for a batch, which the next one has no more."""
        taken = tuple(self._ops), tuple(self._handovers), self._violations
        self._ops.clear()
        self._handovers.clear()
        self._violations = {}
        return taken
