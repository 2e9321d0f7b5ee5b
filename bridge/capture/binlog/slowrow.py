"""Rows read column by column: those with a value that cannot be represented, and huge ones."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from typing import Any

from bridge.capture.binlog.rowcode import Field, converter, is_null
from bridge.change.batch import BadRow, Image
from bridge.errors import BadValue, TableStopped
from bridge.mapping.plan import TablePlan
from bridge.types.base import NULL


class ColumnReader:
    """Reads one image at a time, and finds out which value of it is bad."""

    def __init__(self, plan: TablePlan, fields: tuple[Field, ...], limit: int) -> None:
        self._plan = plan
        self._fields = fields
        self._limit = limit
        self._width = (len(fields) + 7) // 8
        self._key = tuple(index for index, each in enumerate(fields) if each.key)
        self._converters: dict[int, Callable[[Any], bytes]] = {}

    def key_at(self, event: bytes, pos: int) -> tuple[bytes, int]:
        """The key of the image at `pos`, and where the next one begins.

        Raises TableStopped('bad-key').
        """
        values, end = self._values(event, pos, self._key)
        return self._key_text(values), end

    def image_at(self, event: bytes, pos: int, at: str) -> tuple[bytes, Image, int]:
        """(key, line or why there is none, where the next image begins); raises like `key_at`."""
        values, end = self._values(event, pos, range(len(self._fields)))
        key = self._key_text(values)
        if end - pos > self._limit:
            return key, BadRow(key, "row-too-large", "", f"{end - pos} bytes", b"", at), end
        texts = [NULL] * len(self._plan.columns)
        for index, value in values.items():
            if self._fields[index].wire is None:
                continue
            try:
                texts[self._fields[index].place] = self._text(index, value)
            except BadValue as bad:
                name = self._name(index)
                return key, BadRow(key, bad.code, name, bad.text, event[pos:end], at), end
        return key, b"\t".join(texts), end

    def _values(
        self, event: bytes, pos: int, wanted: Collection[int]
    ) -> tuple[dict[int, Any], int]:
        """Raw values of the wanted columns that are not NULL, and where the image ends."""
        bitmap = event[pos : pos + self._width]
        pos += self._width
        found: dict[int, Any] = {}
        for index, each in enumerate(self._fields):
            if is_null(bitmap, index):
                continue
            if each.prefix:
                length = int.from_bytes(event[pos : pos + each.prefix], "little")
                pos += each.prefix
                if index in wanted:
                    found[index] = event[pos : pos + length]
                pos += length
            else:
                if index in wanted and each.wire:
                    found[index] = struct.unpack_from(f"<{each.wire.struct}", event, pos)[0]
                pos += each.size
        return found, pos

    def _text(self, index: int, value: Any) -> bytes:
        convert = self._converters.get(index)
        if convert is None:
            wire = self._fields[index].wire
            assert wire is not None
            convert = self._converters[index] = converter(wire)
        return convert(value)

    def _key_text(self, values: dict[int, Any]) -> bytes:
        found = [b""] * self._plan.key
        for index in self._key:
            if index not in values:
                raise self._bad_key(index, "null", "NULL")
            try:
                found[self._fields[index].place] = self._text(index, values[index])
            except BadValue as bad:
                raise self._bad_key(index, bad.code, bad.text) from bad
        return b"\t".join(found)

    def _name(self, index: int) -> str:
        column = self._fields[index].plan
        return column.source.name if column else ""

    def _bad_key(self, index: int, code: str, text: str) -> TableStopped:
        column = self._fields[index].plan
        shown = "(masked)" if column and column.policy.mask else text
        return TableStopped(
            f"{self._plan.source}: the key column {self._name(index)} holds a value that the target"
            f" cannot ({code}: {shown})",
            "give the column a policy in the mapping, then:"
            f" dbbridge tables resync {self._plan.source.word}",
            code="bad-key",
        )
