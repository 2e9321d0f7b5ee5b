"""Which rows changed: the source's log read for keys alone, from one position to another.

What is verified stays verified until it changes; the log says what did. So a proof is kept up at
the cost of the changes, not of the size. Rows that a cascade changed without a trace in the log are
known by the value that they refer to; what cannot be known by a key (a truncated table, a cascade
over several tables) loses its table's proof, which a new sweep gives back.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

from bridge.change.position import Position
from bridge.errors import PositionPurged, SourceError, TableStopped
from bridge.names import TableName
from bridge.sink.target import Target

if TYPE_CHECKING:
    from bridge.capture.binlog.connection import BinlogConnection
    from bridge.verify.changed import Reader

Texts = tuple[str | None, ...]
"""Values as PostgreSQL reads them."""


@dataclass(frozen=True, slots=True)
class Dump:
    """A log that is being sent.

    `server`: whose it is, asked over the log's own connection. `exact`: sent from the position's
    coordinates on, and so not from the beginning of a file.
    """

    log: BinlogConnection
    server: str
    exact: bool


@dataclass(slots=True)
class Touched:
    """What changed in one table.

    `rows`: COPY lines of the keys, or of whole rows where the table has no key. `references`:
    values of foreign keys whose child rows a cascade may have changed. `lost`: why no key tells.
    """

    rows: set[bytes] = field(default_factory=set)
    references: dict[tuple[str, ...], set[Texts]] = field(default_factory=dict)
    lost: str = ""


@dataclass(slots=True)
class Changes:
    """Everything that changed up to `position` since the changes before.

    `server`: the one to whose log the position's coordinates belong; '' if they may be other ones
    than the GTIDs'.
    """

    position: Position
    server: str = ""
    tables: dict[TableName, Touched] = field(default_factory=dict)

    def of(self, table: TableName) -> Touched:
        """The table's; made when it is first asked for."""
        return self.tables.setdefault(table, Touched())

    @property
    def size(self) -> int:
        """Keys and references."""
        return sum(
            len(touched.rows) + sum(map(len, touched.references.values()))
            for touched in self.tables.values()
        )


def read_changes(
    open_log: Callable[[Position, str], Dump],
    targets: Sequence[Target],
    start: Position,
    server: str,
    until: Position,
    halt: Event,
) -> Generator[Changes, None, None]:
    """The changes of `targets` after `start` up to `until` (an upper bound), in pieces.

    `server`: whose the coordinates of `start` are ('': not known). Where they are refused, the log
    is opened once more by GTID: a file may be gone of which nothing is needed. Ends early when
    `halt` is set. A table that the log says nothing more about (its definition changed, say) is
    lost; the others go on. A log that does not reach back loses all. Raises SourceError,
    ServerUnreachable.
    """
    if start.kind == until.kind and start.covers(until):
        # To find a position, the server would read its log from the file's beginning.
        yield Changes(start, server)
        return
    # Where nothing was written nobody waits for the import of what takes the log apart.
    from bridge.verify.changed import Reader

    reader = Reader(targets, start)
    while True:
        try:
            dump = open_log(reader.position, server)
            with closing(_sent(dump, reader, until, halt)) as pieces:
                for changes in pieces:
                    server = changes.server
                    yield changes
            return
        except TableStopped as stop:
            if stop.table is None:
                raise
            reader.lose(stop.table, stop.table.left_out_of(stop.message))
        except SourceError as refused:
            if server and start.kind != "file":
                server = ""
            elif isinstance(refused, PositionPurged):
                yield _lost(reader)
                return
            else:
                raise


def _sent(dump: Dump, reader: Reader, until: Position, halt: Event) -> Generator[Changes]:
    """The changes, with the server's name where the log was read up to their coordinates."""
    start = reader.position
    with dump.log as log:
        for changes in reader.read(log, until, halt):
            if dump.exact or changes.position.text != start.text:
                changes.server = dump.server
            yield changes


def _lost(reader: Reader) -> Changes:
    for name in list(reader.targets):
        reader.lose(name, "the source's log no longer reaches back to the sweep")
    return reader.found
