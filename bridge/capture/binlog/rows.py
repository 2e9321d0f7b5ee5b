"""Rows events decoded into COPY lines.

A decoder belongs to one table map and one plan. Rows whose NULL bitmap occurs often are read by
functions made for it (rowcode.py), others by functions for any row (anyrow.py), and those with
values that cannot be represented column by column (slowrow.py).
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, MutableMapping
from functools import cached_property

from bridge.capture.binlog.anyrow import any_image, any_key, any_skip
from bridge.capture.binlog.definition import changed, check_definition, wire_of
from bridge.capture.binlog.events import DELETE, INSERT, PARTIAL_UPDATE_ROWS, UPDATE, packed_int
from bridge.capture.binlog.rowcode import Field, RowCode, is_null
from bridge.capture.binlog.slowrow import ColumnReader
from bridge.capture.binlog.table_map import TableMap
from bridge.change.batch import Image
from bridge.errors import BadValue, SourceError, TableStopped
from bridge.mapping.plan import TablePlan
from bridge.types.layout import layout

ROW_LIMIT = 64 << 20
"""Bytes of a row image; a larger one goes to quarantine."""
_OFTEN = 24
"""Rows of a bitmap that are read as any row before a function is made for it."""
_FUNCTIONS = 256
"""Functions that are kept for one table and kind of change."""
_MALFORMED = (struct.error, IndexError, ValueError, KeyError, TypeError, ArithmeticError)

Rows = MutableMapping[bytes, Image | None]
_Function = Callable[..., tuple[int, int]]


def compile_decoder(plan: TablePlan, table_map: TableMap) -> RowDecoder:
    """The decoder of a table's rows events that refer to this table map.

    Raises TableStopped: 'definition-changed' if the map is not the table that the plan knows, or
    has a column of a type that is not known at all.
    """
    check_definition(plan, table_map)
    carried = {column.source.ordinal - 1: place for place, column in enumerate(plan.columns)}
    fields = []
    for index, mapped in enumerate(table_map.columns):
        try:
            size, prefix = layout(mapped.code, mapped.meta)
        except SourceError as error:
            raise changed(plan, error.message) from error
        place = carried.get(index)
        if place is None:
            fields.append(Field(size, prefix))
            continue
        column = plan.columns[place]
        wire = wire_of(plan, column, mapped)
        if struct.calcsize(f"<{wire.struct}") != size:
            raise changed(plan, f"column {column.source.name} takes {size} bytes in the binlog")
        fields.append(Field(size, prefix, wire, column, place, place < plan.key))
    return RowDecoder(plan, tuple(fields))


class RowDecoder:
    """Decodes the rows of one table version. Not thread-safe: it learns which bitmaps occur."""

    def __init__(self, plan: TablePlan, fields: tuple[Field, ...]) -> None:
        self.plan = plan
        self._fields = fields
        self._width = (len(fields) + 7) // 8
        self._code = RowCode(fields)
        self._heads: dict[int, bytes] = {}
        self._functions: tuple[dict[bytes, _Function], ...] = ({}, {}, {})
        self._guesses: dict[bytes, _Function] = {}
        self._images: dict[bytes, Callable[[bytes, int], tuple[bytes, int]]] = {}
        self._seen: dict[tuple[int, bytes], int] = {}

    @cached_property
    def _any_image(self) -> Callable[[bytes, int], tuple[bytes, bytes, int]]:
        return any_image(self._fields)

    @cached_property
    def _any_key(self) -> Callable[[bytes, int], tuple[bytes, int]]:
        return any_key(self._fields)

    @cached_property
    def _any_skip(self) -> Callable[[bytes, int], int]:
        return any_skip(self._fields)

    @cached_property
    def _columns(self) -> ColumnReader:
        return ColumnReader(self.plan, self._fields, ROW_LIMIT)

    def apply(self, kind: int, event: bytes, rows: Rows, at: str) -> int:
        """Puts an event's rows into `rows` by key: their lines, None for rows that are gone.

        The later of two changes of a key wins. Returns the number of rows. Raises TableStopped
        ('bad-key', 'partial-image', 'undecodable'), after which `rows` holds a part of the event.
        """
        try:
            pos = self._start(event)
            end = len(event)
            # The usual event: all its rows have one bitmap, which is known.
            known = self._guesses if kind == UPDATE else self._functions[kind]
            function = known.get(event[pos : pos + self._width])
            count = 0
            if function is not None and end <= ROW_LIMIT:
                pos, count = function(event, pos, end, rows)
                if pos == end:
                    return count
            return count + self._apply_rest(kind, event, pos, rows, at)
        except _MALFORMED as error:
            raise self._undecodable(error) from error

    def pairs(self, kind: int, event: bytes, at: str) -> list[tuple[Image | None, Image | None]]:
        """Each row before and after its change, as whole lines; raises like `apply`."""
        found: list[tuple[Image | None, Image | None]] = []
        try:
            pos = self._start(event)
            end = len(event)
            while pos < end:
                before: Image | None = None
                after: Image | None = None
                if kind != INSERT:
                    before, pos = self._line(event, pos, at)
                if kind != DELETE:
                    after, pos = self._line(event, pos, at)
                found.append((before, after))
            self._check_end(pos, end)
        except _MALFORMED as error:
            raise self._undecodable(error) from error
        return found

    # -- where rows begin ----------------------------------------------------------------------

    def _start(self, event: bytes) -> int:
        """Where an event's rows begin; raises TableStopped if its images are not whole."""
        head = self._heads.get(event[4])
        if head is not None and event.startswith(head, 27):
            return 27 + len(head)
        return self._parse_head(event)

    def _parse_head(self, event: bytes) -> int:
        code = event[4]
        at = start = 27
        if code >= 30:
            # Extra data, such as a partition's number; its length counts its own two bytes.
            at += int.from_bytes(event[at : at + 2], "little")
        plain = at == start + (2 if code >= 30 else 0)
        columns, at = packed_int(event, at)
        if columns != len(self._fields):
            raise ValueError(f"{columns} columns instead of {len(self._fields)}")
        everything = (1 << columns) - 1
        for _ in range(2 if code in (21, 24, 31, PARTIAL_UPDATE_ROWS) else 1):
            present = int.from_bytes(event[at : at + self._width], "little")
            at += self._width
            if present & everything != everything or code == PARTIAL_UPDATE_ROWS:
                raise self._partial()
        if plain:
            self._heads[code] = event[start:at]
        return at

    def _partial(self) -> TableStopped:
        return TableStopped(
            f"{self.plan.source}: the binlog has rows of which not all columns were logged",
            "set binlog_row_image=FULL and binlog_row_value_options='' on the source (in all its"
            f" sessions), then: dbbridge tables resync {self.plan.source.word}",
            code="partial-image",
        )

    def _undecodable(self, error: Exception) -> TableStopped:
        return TableStopped(
            f"{self.plan.source}: a rows event cannot be read ({type(error).__name__}: {error})",
            f"bring the mapping up to date with dbbridge init, then: dbbridge tables resync"
            f" {self.plan.source.word}",
            code="undecodable",
        )

    def _check_end(self, pos: int, end: int) -> None:
        if pos != end:
            raise ValueError(f"the last row ends at {pos}, the event at {end}")

    # -- rows into keys ------------------------------------------------------------------------

    def _apply_rest(self, kind: int, event: bytes, pos: int, rows: Rows, at: str) -> int:
        """Goes on where a function stopped (`pos` < 0: at a row with a bad value)."""
        count = 0
        end = len(event)
        while pos < end:
            if pos < 0 or end > ROW_LIMIT:
                pos = self._apply_slowly(kind, event, pos if pos >= 0 else -1 - pos, rows, at)
                done = 1
            elif (function := self._function(kind, event, pos)) is not None:
                pos, done = function(event, pos, end, rows)
                if not done and pos >= 0:
                    raise ValueError("the last row goes on behind the event's end")
            else:
                pos, done = self._apply_any(kind, event, pos, rows)
            count += done
        self._check_end(pos, end)
        return count

    def _function(self, kind: int, event: bytes, pos: int) -> _Function | None:
        """The function for the row at `pos`; None while its bitmaps have occurred rarely."""
        first = event[pos : pos + self._width]
        bitmaps = first
        if kind == UPDATE:
            after = self._any_skip(event, pos)
            bitmaps += event[after : after + self._width]
        functions = self._functions[kind]
        function = functions.get(bitmaps)
        if function is None and len(functions) < _FUNCTIONS and self._often(kind, bitmaps):
            if kind == UPDATE:
                function = self._code.update(first, bitmaps[self._width :])
            else:
                function = self._code.insert(first) if kind == INSERT else self._code.delete(first)
            functions[bitmaps] = function
        if kind == UPDATE and function is not None:
            self._guesses[first] = function
        return function

    def _often(self, kind: int, bitmaps: bytes) -> bool:
        """Counts a row; whether its bitmaps are worth a function (never with NULL in the key)."""
        if len(self._seen) > 16 * _FUNCTIONS:
            self._seen.clear()
        seen = self._seen[kind, bitmaps] = self._seen.get((kind, bitmaps), 0) + 1
        if seen <= _OFTEN:
            return False
        halves = (bitmaps[: self._width], bitmaps[-self._width :])
        return not any(
            each.key and is_null(half, index)
            for half in halves
            for index, each in enumerate(self._fields)
        )

    def _apply_any(self, kind: int, event: bytes, pos: int, rows: Rows) -> tuple[int, int]:
        """One row of any bitmap: (where the next begins, 1), or what a function gives."""
        start = pos
        old = None
        try:
            if kind != INSERT:
                old, pos = self._any_key(event, pos)
                if kind == DELETE:
                    rows[old] = None
                    return pos, 1
            key, line, pos = self._any_image(event, pos)
        except BadValue:
            return -1 - start, 0
        if old is not None and old != key:
            rows[old] = None
        rows[key] = line
        return pos, 1

    def _apply_slowly(self, kind: int, event: bytes, pos: int, rows: Rows, at: str) -> int:
        old = None
        if kind != INSERT:
            old, pos = self._columns.key_at(event, pos)
            if kind == DELETE:
                rows[old] = None
                return pos
        key, image, pos = self._columns.image_at(event, pos, at)
        if old is not None and old != key:
            rows[old] = None
        rows[key] = image
        return pos

    def _line(self, event: bytes, pos: int, at: str) -> tuple[Image, int]:
        """A whole row, and where the next image begins."""
        bitmap = event[pos : pos + self._width]
        function = self._images.get(bitmap)
        if function is None and len(self._images) < _FUNCTIONS and self._often(-1, bitmap):
            function = self._images[bitmap] = self._code.image(bitmap)
        if len(event) <= ROW_LIMIT:
            with contextlib.suppress(BadValue):
                if function is not None:
                    return function(event, pos)
                _, line, end = self._any_image(event, pos)
                return line, end
        _, image, end = self._columns.image_at(event, pos, at)
        return image, end
