"""Changes on their way into the target: coalesced per key, ordered where order matters.

A batch holds whole source transactions, or a part of one that is too large for memory. It is a list
of segments which are applied one after the other; inside a segment only the last image of a key
counts. In a segment the applier carries out, in this order: `cascades`, then for each table
truncation, deletes, upserts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from bridge.change.position import Position
from bridge.names import TableName


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row image that the target cannot hold; it goes to quarantine under its key.

    `key` is COPY text of the key's columns, `raw` the row image as the source sent it (the bytes of
    the rows event, NULL bitmap included), `at` where it was met (``file:offset``, or a chunk's
    name).
    """

    key: bytes
    code: str
    column: str
    text: str
    raw: bytes
    at: str


Image = bytes | BadRow
"""A whole row as a COPY line without its newline, or why there is none."""


def copied_key(image: Image, columns: int) -> bytes:
    """COPY text of a row's key, which is its first `columns` columns."""
    if isinstance(image, BadRow):
        return image.key
    return b"\t".join(image.split(b"\t", columns)[:columns])


@dataclass(slots=True, eq=False)
class TableOps:
    """Pending changes of one table in one segment.

    `rows` (tables with a key): COPY text of the key → the row's line, None for a delete, or BadRow.
    `counts` (tables without a key): line → how many more (or fewer) of it there shall be.
    `truncate`: all rows go first.
    """

    rows: dict[bytes, Image | None] = field(default_factory=dict)
    counts: dict[bytes, int] = field(default_factory=dict)
    truncate: bool = False


@dataclass(frozen=True, slots=True)
class Cascade:
    """What the source did to child rows without logging it, because a parent row went or changed.

    `old` and `new` are COPY lines over the referenced columns `columns` (source names, in order) of
    `parent`; `new` is None for a delete.
    """

    parent: TableName
    columns: tuple[str, ...]
    old: bytes
    new: bytes | None


@dataclass(slots=True, eq=False)
class Segment:
    """Changes whose order among each other no longer matters."""

    cascades: list[Cascade] = field(default_factory=list)
    tables: dict[TableName, TableOps] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stretch:
    """The messages of one of Kafka's partitions that a batch has taken in: `start` up to `end`.

    `end` is not among them; `generation` is the table's. `past`: messages that the copy holds
    already lie behind. `snapshot` names the initial snapshot that the partition's rows come from
    ('' for none).
    """

    topic: str
    partition: int
    generation: int
    epoch: int
    start: int
    end: int
    past: bool
    snapshot: str


@dataclass(frozen=True, slots=True)
class Op:
    """An operation of the dual-write layer that the source's log holds.

    `op_id` names it, `seq` is its number there, which only later operations exceed by much.
    """

    op_id: UUID
    seq: int


@dataclass(frozen=True, slots=True)
class Handover:
    """A marker in the source's log: who has authority over `tables` behind it.

    `number` is the marker's; `live`: their changes are applied again, or no longer.
    """

    number: int
    tables: tuple[TableName, ...]
    live: bool


@dataclass(slots=True, eq=False)
class Batch:
    """Segments and the position, or the offsets, that they lead to.

    `position` is None when the batch ends inside a source transaction: it is applied without
    commit. `offsets` are Kafka's, which has no position of its own. `counts` counts row events
    (inserts, updates, deletes) per table; `transactions` whole ones; `source_time` is the source's
    clock (seconds since 1970) at the last commit. `ops` are claimed before any row is written.
    `handovers` are in the log's order; `violations` counts, per table, row changes that nobody may
    make while the target has authority.
    """

    segments: list[Segment]
    position: Position | None
    transactions: int = 0
    source_time: float = 0.0
    counts: Mapping[TableName, tuple[int, int, int]] = field(default_factory=dict)
    offsets: tuple[Stretch, ...] = ()
    ops: tuple[Op, ...] = ()
    handovers: tuple[Handover, ...] = ()
    violations: Mapping[TableName, int] = field(default_factory=dict)

    @property
    def ends(self) -> bool:
        """Whether it is committed when it is applied."""
        return self.position is not None or bool(self.offsets)
