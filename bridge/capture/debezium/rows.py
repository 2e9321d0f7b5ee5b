"""Change events of one table decoded into COPY lines.

A decoder belongs to one plan and the connector's settings. It reads an event with functions made
for the table (rowcode.py), of which there are two: nearly all events hold no backslash, so no
string of theirs has a character that COPY text escapes, or a NUL (JSON escapes all of them). Rows
that cannot be taken so are read column by column (slowrow.py).

Where a compiled reader was built, callers offer the events of a table with a key to it (`reader`)
before all that; what it does not take comes here, so it decides nothing but the speed.

With embedded schemas an event is several kilobytes of schema, always the same, before its payload:
only the first is looked at, and what begins with the same bytes has the same schema.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from functools import cached_property
from typing import Any, Literal, Protocol

import msgspec

from bridge.capture.debezium.compiled import reader_of
from bridge.capture.debezium.envelope import OPERATIONS, InTransaction, Place, Source, unknown
from bridge.capture.debezium.rowcode import Column, key_of, key_type, line_of, plain, row_type
from bridge.capture.debezium.schemas import check_schema
from bridge.capture.debezium.slowrow import MALFORMED, ColumnReader, LooseEvent
from bridge.change.batch import Image
from bridge.errors import BadValue, TableStopped
from bridge.mapping.plan import TablePlan
from bridge.types import family_of
from bridge.types.events import EventSettings

ROW_LIMIT = 64 << 20
"""Bytes of an event; a larger one's row goes to quarantine."""
_BACKSLASH = 0x5C
"""As a number: `bytes in bytes` costs more."""
_PAYLOAD = b',"payload":'
_UNREADABLE = (msgspec.MsgspecError, BadValue, AttributeError, *MALFORMED)
"""AttributeError: a row is null."""

Rows = MutableMapping[bytes, Image | None]


class Event(Protocol):
    """What a decoder tells of an event besides its row."""

    @property
    def op(self) -> str:
        """c, u, d, r or t."""
        ...

    @property
    def source(self) -> Source:
        """Where it comes from."""
        ...

    @property
    def before(self) -> Any:
        """The row before the change, as the decoder reads it."""
        ...

    @property
    def after(self) -> Any:
        """The row after the change, as the decoder reads it."""
        ...

    @property
    def transaction(self) -> InTransaction | None:
        """Its place in its transaction, if the connector tells it."""
        ...


def compile_events(plan: TablePlan, settings: EventSettings) -> EventDecoder:
    """The decoder of a table's events under these settings of the connector.

    Raises TableStopped: 'connector-loses-values' if they do not keep the values of a column,
    'unknown-type' for a column that cannot be carried.
    """
    columns = []
    for place, column in enumerate(plan.columns):
        family = family_of(column.source)
        if family is None:
            raise TableStopped(
                f"{plan.source}: column {column.source.name} is {column.source.column_type}",
                "write it as {type: dropped, reason: …} in the mapping file",
                code="unknown-type",
            )
        nullable = column.source.nullable and place >= plan.key
        columns.append(Column(column, family.event(column, settings), nullable))
    return EventDecoder(plan, tuple(columns), settings)


class EventDecoder:
    """Decodes the events of one table version. Not thread-safe: it learns the embedded schema."""

    def __init__(
        self, plan: TablePlan, columns: tuple[Column, ...], settings: EventSettings
    ) -> None:
        self.plan = plan
        self._columns = columns
        self._settings = settings
        self._head = b""
        self._plain_names = all(map(plain, (column.name for column in plan.table.columns)))
        self._decode = self._decoder(columns[: plan.key])
        # By whether an event must be taken with care.
        both = (False, True)
        self._lines = tuple(line_of(columns, plan.key, careful=careful) for careful in both)
        self._keys = tuple(key_of(columns[: plan.key], careful=careful) for careful in both)
        self._slow = ColumnReader(plan, columns, settings.placeholder, ROW_LIMIT)
        self.reader = reader_of(plan, columns, settings, ROW_LIMIT)

    @property
    def schema_bytes(self) -> int:
        """How many bytes of each event are its schema, of which nothing is kept."""
        return len(self._head)

    @cached_property
    def _decode_pair(self) -> Callable[[bytes], Any]:
        return self._decoder(None)

    def apply(self, value: bytes, rows: Rows, place: Place) -> Event:
        """Puts an event's row into `rows` by key: its line, None for a row that is gone.

        For tables with a key. A truncation (operation t) changes nothing here: the caller knows
        what becomes of `rows`. Raises TableStopped: 'unknown-event', 'definition-changed',
        'partial-image', 'bad-key', 'undecodable'.
        """
        body = self._body(value, place)
        try:
            event: Event = self._decode(body)
            careful = _careful(body)
            op = event.op
            if op == "u":
                old = self._keys[careful](event.before)
                key, line = self._lines[careful](event.after)
                if old != key:
                    rows[old] = None
                rows[key] = line
            elif op == "d":
                rows[self._keys[careful](event.before)] = None
            elif op != "t":
                key, line = self._lines[careful](event.after)
                rows[key] = line
        except _UNREADABLE:
            return self._apply_slowly(body, rows, place)
        return event

    def pair(self, value: bytes, place: Place) -> tuple[Event, Image | None, Image | None]:
        """An event's row before and after its change, as whole lines; raises like `apply`."""
        body = self._body(value, place)
        try:
            event: Event = self._decode_pair(body)
            line_of_row = self._lines[_careful(body)]
            before = line_of_row(event.before)[1] if event.op in ("u", "d") else None
            after = line_of_row(event.after)[1] if event.op in ("c", "r", "u") else None
        except _UNREADABLE:
            loose = self._loose(body, place)
            old, new = self._slow.images(loose, body, place)
            return loose, old and old[1], new and new[1]
        return event, before, after

    def _apply_slowly(self, body: bytes, rows: Rows, place: Place) -> Event:
        event = self._loose(body, place)
        old = self._slow.old_key(event, place)
        _, new = self._slow.images(event, body, place, both=False)
        if old is not None:
            rows[old] = None
        if new is not None:
            rows[new[0]] = new[1]
        return event

    def _loose(self, body: bytes, place: Place) -> LooseEvent:
        """The event, if it is one of this table; else raises TableStopped('unknown-event')."""
        event = self._slow.event(body, place)
        found = (event.source.db, event.source.table)
        if found != (self.plan.source.schema, self.plan.source.table):
            raise unknown(place, f"it tells of {found[0]}.{found[1]}, not of {self.plan.source}")
        if event.op not in OPERATIONS:
            raise unknown(place, f"the operation {event.op} is not known")
        return event

    def _body(self, value: bytes, place: Place) -> bytes:
        """The payload."""
        if not self._settings.schemas:
            return value
        head = self._head
        if not head or not value.startswith(head):
            head = self._learned(value, place)
        return value[len(head) : -1]

    def _learned(self, value: bytes, place: Place) -> bytes:
        """What stands before the payload, with a schema that fits the plan."""
        end = value.find(_PAYLOAD)
        try:
            check_schema(self.plan, self._columns, value[: end + len(_PAYLOAD)])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise unknown(place, f"its schema cannot be read ({error})") from error
        self._head = value[: end + len(_PAYLOAD)]
        if self.reader is not None:
            self.reader.head = self._head
        return self._head

    def _decoder(self, key: Sequence[Column] | None) -> Callable[[bytes], Any]:
        """Reads events of this table; of rows before a change only the key, or (None) all."""
        if not self._plain_names:
            return _refused
        carried = {column.plan.source.name for column in self._columns}
        others = [column for column in self.plan.table.columns if column.name not in carried]
        row = row_type(self._columns, others)
        name = self.plan.source
        places: list[Any] = [("db", Literal[name.schema]), ("table", Literal[name.table])]
        source = msgspec.defstruct(
            "TableSource", places, bases=(Source,), kw_only=True, frozen=True, gc=False
        )
        fields: list[Any] = [
            ("op", Literal[tuple(OPERATIONS)]),
            ("source", source),
            ("after", row | None, None),
            ("before", (row if key is None else key_type(key)) | None, None),
            ("transaction", InTransaction | None, None),
        ]
        return msgspec.json.Decoder(msgspec.defstruct("ChangeEvent", fields, gc=False)).decode


def _refused(_: bytes) -> Any:
    raise ValueError("a column's name has an escape in JSON")


def _careful(body: bytes) -> bool:
    """Whether a string may hold what COPY text escapes; raises BadValue for a huge event."""
    if len(body) > ROW_LIMIT:
        raise BadValue("row-too-large", "")
    return _BACKSLASH in body
