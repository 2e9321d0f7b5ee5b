"""What a message of the connector is: a change of a row, or one of the things around it.

Topics: one a table; the connector's own name for schema changes; ``NAME.transaction``;
``__debezium-heartbeat.NAME``. What is decided here is decided by the message, not by its topic,
which a transformation may have changed. With embedded schemas the message is
``{"schema": …, "payload": …}``, else the payload alone.

A changed primary key comes as a delete of the old row, a tombstone, and an insert of the new one;
each is whole in itself, so nothing has to be known of the other (they may be in two partitions).

Source: Debezium's documentation, MySQL connector, "Data change events", "Schema change topic",
"Transaction metadata"; events of 3.6.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from bridge.errors import TableStopped
from bridge.names import TableName

OPERATIONS = {"c": "insert", "u": "update", "d": "delete", "r": "snapshot", "t": "truncate"}
"""The operations of change events, and what they mean."""
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')

Place = tuple[str, int, int]
"""Topic, partition and offset of a message."""


class Source(Struct, frozen=True, gc=False):
    """Where in the source's log a change stands.

    (file, pos) alone is not unique: the rows of one event differ in `row` alone. `gtid` is None in
    a snapshot. `snapshot` is ``false`` for what was logged, ``incremental`` for a row of an
    incremental snapshot, else this is a row of the initial one, whose markers are ``first``,
    ``first_in_data_collection``, ``true``, ``last_in_data_collection`` and ``last``. `ts_ms` is
    the source's clock (ms since 1970).
    """

    db: str
    file: str
    pos: int
    ts_ms: int = 0
    table: str | None = None
    row: int | None = 0
    gtid: str | None = None
    snapshot: str | bool | None = "false"
    server_id: int = 0

    @property
    def initial(self) -> bool:
        """Whether the row was read by an initial snapshot."""
        return self.snapshot not in ("false", "incremental", False, None)

    @property
    def incremental(self) -> bool:
        """Whether the row was read by an incremental snapshot."""
        return self.snapshot == "incremental"

    @property
    def generation(self) -> tuple[str, int] | None:
        """What tells one initial snapshot from the next: the position where it began.

        All its rows carry it, on every partition. Rows of another generation than the one before
        mean that the connector started over; what the first one brought and the second did not is
        gone. (A second one at the same position reads the same rows.) None for all other events.
        """
        return (self.file, self.pos) if self.initial else None


class InTransaction(Struct, frozen=True, gc=False):
    """Which change of a transaction this is (provide.transaction.metadata); counted from 1.

    `id` is the GTID, or file and position where there are none.
    """

    id: str
    total_order: int
    data_collection_order: int


@dataclass(frozen=True, slots=True)
class RowChange:
    """A change of a row (or, with the operation t, of all rows); the decoders read the row."""

    op: str
    source: Source
    transaction: InTransaction | None = None


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A null after a delete, for the compaction of the topic."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The connector lives; its clock (ms since 1970)."""

    ts_ms: int


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """A statement that changed definitions; `tables` are those that the connector named.

    A rename is told as an ALTER of the new name alone. `source.snapshot` tells whether it is a
    definition that a snapshot found rather than a change.
    """

    database: str
    ddl: str
    tables: tuple[TableName, ...]
    source: Source


@dataclass(frozen=True, slots=True)
class TransactionMark:
    """Where a transaction begins or ends; an end tells how many changes each table had.

    `counts` are by ``database.table``, as the connector writes it.
    """

    begins: bool
    id: str
    events: int = 0
    counts: tuple[tuple[str, int], ...] = ()


Message = RowChange | Tombstone | Heartbeat | SchemaChange | TransactionMark


class _Collection(Struct, gc=False):
    data_collection: str
    event_count: int


class _About(Struct, gc=False):
    """A message with a source: a change of a row, or of a definition."""

    source: Source
    op: str | None = None
    transaction: InTransaction | None = None
    ddl: str | None = None
    databaseName: str | None = None  # noqa: N815
    tableChanges: list[dict[str, Any]] | None = None  # noqa: N815


class _Times(Struct, gc=False, forbid_unknown_fields=True):
    """A heartbeat, which says nothing else; a row of a table could."""

    ts_ms: int
    ts_us: int | None = None
    ts_ns: int | None = None


class _Mark(_Times, gc=False, forbid_unknown_fields=True, kw_only=True):
    status: Literal["BEGIN", "END"]
    id: str
    event_count: int | None
    data_collections: list[_Collection] | None


class _Wrapped(Struct, gc=False):
    schema: Raw
    payload: Raw


_ABOUT = msgspec.json.Decoder(_About)
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_TIMES = msgspec.json.Decoder(_Times)
_MARK = msgspec.json.Decoder(_Mark)
_WRAPPED = msgspec.json.Decoder(_Wrapped)
NULLS = (b"", b"null")


def classify(value: bytes | None, place: Place, *, schemas: bool) -> Message:
    """What a message is.

    Raises TableStopped ('unknown-event') for what is none of the connector's messages, which must
    not be passed over: it may be a change in a form that is not known.
    """
    if value is None or value in NULLS:
        return Tombstone()
    try:
        if schemas:
            value = bytes(_WRAPPED.decode(value).payload)
            if value in NULLS:
                return Tombstone()
        fields = _FIELDS.decode(value)
        if "source" in fields:
            return _with_source(_ABOUT.decode(value), place)
        if "status" in fields:
            mark = _MARK.decode(value)
            counts = tuple((c.data_collection, c.event_count) for c in mark.data_collections or ())
            return TransactionMark(mark.status == "BEGIN", mark.id, mark.event_count or 0, counts)
        return Heartbeat(_TIMES.decode(value).ts_ms)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise unknown(place, str(error)) from error


def _with_source(said: _About, place: Place) -> Message:
    if said.op in OPERATIONS:
        return RowChange(said.op, said.source, said.transaction)
    if said.op is None and said.databaseName is not None:
        tables = tuple(_table(str(change.get("id", ""))) for change in said.tableChanges or ())
        return SchemaChange(said.databaseName, said.ddl or "", tables, said.source)
    raise unknown(place, f"the operation {said.op} is not known")


def _table(quoted: str) -> TableName:
    """The table of ``"database"."table"``."""
    parts = [part.replace('""', '"') for part in _QUOTED.findall(quoted)]
    return TableName(parts[0], parts[-1]) if parts else TableName("", quoted)


def place_text(place: Place) -> str:
    """How a message is named: ``topic[partition]:offset``."""
    topic, partition, offset = place
    return f"{topic}[{partition}]:{offset}"


def unknown(place: Place, why: str) -> TableStopped:
    """The error for a message that is none of the connector's, or not as the settings say."""
    return TableStopped(
        f"{place_text(place)} is no message of Debezium's MySQL or MariaDB connector under these"
        f" settings: {why}",
        "compare the connector's configuration (converters, transforms) with the pipeline's:"
        " dbbridge check",
        code="unknown-event",
    )
