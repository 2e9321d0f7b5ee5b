"""Rows of events read column by column: those that the compiled functions cannot take."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from bridge.capture.debezium.envelope import InTransaction, Place, Source, place_text, unknown
from bridge.capture.debezium.rowcode import Column, converter
from bridge.capture.debezium.schemas import changed, check_names
from bridge.change.batch import BadRow, Image
from bridge.errors import BadValue, TableStopped
from bridge.mapping.plan import TablePlan
from bridge.types.base import NULL, ColumnPlan

MALFORMED = (ValueError, KeyError, TypeError, IndexError, ArithmeticError, binascii.Error)
"""What a conversion raises for a value of another form than the settings say."""

Fields = dict[str, Raw]


class LooseEvent(Struct, gc=False):
    """A change event with rows of any columns."""

    op: str
    source: Source
    before: Fields | None = None
    after: Fields | None = None
    transaction: InTransaction | None = None


_LOOSE = msgspec.json.Decoder(LooseEvent)


class ColumnReader:
    """Finds out which value of a row is bad, or what else keeps an event from being read."""

    def __init__(
        self,
        plan: TablePlan,
        columns: Sequence[Column],
        unavailable: str,
        limit: int,
    ) -> None:
        self._plan = plan
        self._columns = columns
        self._unavailable = msgspec.json.encode(unavailable)
        self._limit = limit
        self._readers = [_reader(column) for column in columns]

    def event(self, body: bytes, place: Place) -> LooseEvent:
        """The event; raises TableStopped('unknown-event')."""
        try:
            return _LOOSE.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise unknown(place, str(error)) from error

    def old_key(self, event: LooseEvent, place: Place) -> bytes | None:
        """The key of the row before an update or a delete; None for other operations."""
        if event.op not in ("u", "d"):
            return None
        return self._key(self._row(event.before, place), place)

    def images(
        self, event: LooseEvent, raw: bytes, place: Place, *, both: bool = True
    ) -> tuple[tuple[bytes, Image] | None, tuple[bytes, Image] | None]:
        """(key, line or why there is none) of the row before the change, if asked for, and after.

        Raises TableStopped: 'partial-image', 'definition-changed', 'bad-key', 'undecodable'.
        """
        before = after = None
        if both and event.op in ("u", "d"):
            before = self._image(self._row(event.before, place), raw, place)
        if event.op in ("c", "r", "u"):
            after = self._image(self._row(event.after, place), raw, place)
        return before, after

    def _row(self, fields: Fields | None, place: Place) -> Fields:
        if fields is not None:
            return fields
        raise TableStopped(
            f"{self._plan.source}: the event at {place_text(place)} lacks a row",
            "set binlog_row_image=FULL on the source (in all its sessions), then: dbbridge tables"
            f" resync {self._plan.source}",
            code="partial-image",
        )

    def _key(self, fields: Fields, place: Place) -> bytes:
        missing = [c.source.name for c in self._plan.key_columns if c.source.name not in fields]
        if missing:
            raise changed(self._plan, f"its events lack {', '.join(missing)}")
        texts = []
        for index, column in enumerate(self._columns[: self._plan.key]):
            try:
                texts.append(self._text(index, fields, place))
            except BadValue as bad:
                raise self._bad_key(column.plan, bad, place) from bad
        return b"\t".join(texts)

    def _image(self, fields: Fields, raw: bytes, place: Place) -> tuple[bytes, Image]:
        check_names(self._plan, list(fields))
        key = self._key(fields, place)
        at = place_text(place)
        if len(raw) > self._limit:
            return key, BadRow(key, "row-too-large", "", f"{len(raw)} bytes", b"", at)
        texts = []
        for index, column in enumerate(self._columns):
            try:
                texts.append(self._text(index, fields, place))
            except BadValue as bad:
                return key, BadRow(key, bad.code, column.plan.source.name, bad.text, raw, at)
        return key, b"\t".join(texts)

    def _text(self, index: int, fields: Fields, place: Place) -> bytes:
        column = self._columns[index]
        raw = bytes(fields[column.plan.source.name])
        if raw == self._unavailable:
            raise BadValue("unavailable-value", "")
        if raw == b"null":
            if column.nullable:
                return NULL
            raise BadValue("null", "NULL")
        try:
            return self._readers[index](raw)
        except (msgspec.MsgspecError, *MALFORMED) as error:
            name = column.plan.source.name
            raise self._undecodable(
                f"column {name} ({type(error).__name__}: {error})", place
            ) from (error)

    def _bad_key(self, column: ColumnPlan, bad: BadValue, place: Place) -> TableStopped:
        return TableStopped(
            f"{self._plan.source}: the key column {column.source.name} holds a value that the"
            f" target cannot ({bad.code}: {column.shown(bad.text)}) at {place_text(place)}",
            "give the column a policy in the mapping, then:"
            f" dbbridge tables resync {self._plan.source.word}",
            code="bad-key",
        )

    def _undecodable(self, what: str, place: Place) -> TableStopped:
        return TableStopped(
            f"{self._plan.source}: {what} cannot be read at {place_text(place)}",
            "bring the mapping up to date with dbbridge init, compare the connector's settings,"
            f" then: dbbridge tables resync {self._plan.source.word}",
            code="undecodable",
        )


def _reader(column: Column) -> Callable[[bytes], bytes]:
    read: msgspec.json.Decoder[Any] = msgspec.json.Decoder(column.value.type)
    convert = converter(column.value)
    return lambda raw: convert(read.decode(raw))
