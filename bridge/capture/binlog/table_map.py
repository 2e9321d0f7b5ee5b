"""What a TABLE_MAP event says about a table: types always, names and more if the source logs them.

Source: libs/mysql/binlog/event/rows_event.h, "Table_map_event" and its optional metadata.
"""

from __future__ import annotations

from dataclasses import dataclass

from bridge.capture.binlog.charsets import charset_of, decode
from bridge.capture.binlog.events import BODY, packed_int, reader
from bridge.names import TableName
from bridge.types import layout

_TWO_BYTES = frozenset({layout.VARCHAR, layout.VAR_STRING, layout.VARCHAR_COMPRESSED})
_ONE_BYTE = frozenset(
    {
        layout.FLOAT, layout.DOUBLE, layout.TIMESTAMP2, layout.DATETIME2, layout.TIME2,
        layout.TINY_BLOB, layout.BLOB, layout.MEDIUM_BLOB, layout.LONG_BLOB,
        layout.BLOB_COMPRESSED, layout.JSON, layout.GEOMETRY, layout.VECTOR,
    }
)  # fmt: skip
_NUMERIC = frozenset(
    {
        layout.TINY, layout.SHORT, layout.INT24, layout.LONG, layout.LONGLONG,
        layout.NEWDECIMAL, layout.FLOAT, layout.DOUBLE, layout.YEAR,
    }
)  # fmt: skip
"""Types that have a bit in the metadata's signedness (YEAR's is always set)."""
_TEXT = frozenset(
    {
        layout.VARCHAR, layout.VAR_STRING, layout.STRING, layout.TINY_BLOB, layout.BLOB,
        layout.MEDIUM_BLOB, layout.LONG_BLOB, layout.BLOB_COMPRESSED, layout.VARCHAR_COMPRESSED,
    }
)  # fmt: skip
"""Types that have an entry in the metadata's character sets (ENUM and SET have others)."""
_LABELLED = frozenset({layout.ENUM, layout.SET})

_SIGNEDNESS = 1
_DEFAULT_CHARSET = 2
_COLUMN_CHARSET = 3
_NAMES = 4
_SET_LABELS = 5
_ENUM_LABELS = 6
_SIMPLE_KEY = 8
_KEY_WITH_PREFIX = 9
_LABEL_DEFAULT_CHARSET = 10
_LABEL_COLUMN_CHARSET = 11
_VISIBILITY = 12


@dataclass(frozen=True, slots=True)
class MapColumn:
    """One column of a table map. What the source does not log is None.

    `code` and `meta` are resolved as bridge.types.layout has them. `unsigned` is told of numeric
    types only, `charset` of text, enum and set (MySQL's name), `labels` of enum and set as text
    (None also if their character set cannot be read).
    """

    code: int
    meta: int
    nullable: bool
    name: str | None = None
    unsigned: bool | None = None
    charset: str | None = None
    labels: tuple[str, ...] | None = None
    visible: bool | None = None


@dataclass(frozen=True, slots=True)
class TableMap:
    """A table as a TABLE_MAP event describes it.

    `primary_key` holds (column index from 0, prefix in characters or 0), or is None if not logged.
    """

    table_id: int
    name: TableName
    columns: tuple[MapColumn, ...]
    primary_key: tuple[tuple[int, int], ...] | None

    @property
    def names(self) -> tuple[str, ...] | None:
        """The columns' names; None where the source does not log them."""
        found = tuple(column.name for column in self.columns if column.name is not None)
        return found if len(found) == len(self.columns) else None


def table_name(event: bytes) -> TableName:
    """Only the name in a TABLE_MAP event, to see whether the table is of interest."""
    end = 28 + event[27]
    start = end + 2
    return TableName(
        event[28:end].decode("utf-8", "replace"),
        event[start : start + event[end + 1]].decode("utf-8", "replace"),
    )


@reader("a table map")
def table_map(event: bytes) -> TableMap:
    """Reads TABLE_MAP; raises SourceError for what it does not know."""
    name = table_name(event)
    at = 28 + event[27] + 1
    at += 1 + event[at] + 1
    count, at = packed_int(event, at)
    types = event[at : at + count]
    length, at = packed_int(event, at + count)
    forms = _metadata(types, event[at : at + length])
    at += length
    nulls = event[at : at + (count + 7) // 8]
    at += (count + 7) // 8
    if len(nulls) != (count + 7) // 8:
        raise ValueError("truncated")
    optional = _optional(event, at)
    codes = [code for code, _ in forms]
    names = _names(optional.get(_NAMES))
    unsigned = _signedness(codes, optional.get(_SIGNEDNESS))
    charsets = _charsets(codes, optional)
    labels = _all_labels(codes, charsets, optional)
    visible = optional.get(_VISIBILITY)
    if names and len(names) != count:
        raise ValueError(f"{len(names)} names for {count} columns")
    columns = tuple(
        MapColumn(
            code=code,
            meta=meta,
            nullable=bool(nulls[index >> 3] >> (index & 7) & 1),
            name=names[index] if names else None,
            unsigned=unsigned.get(index),
            charset=charsets.get(index),
            labels=labels.get(index),
            visible=None if visible is None else _bit(visible, index),
        )
        for index, (code, meta) in enumerate(forms)
    )
    return TableMap(int.from_bytes(event[BODY : BODY + 6], "little"), name, columns, _key(optional))


def _metadata(types: bytes, data: bytes) -> list[tuple[int, int]]:
    """(real type, meta) of each column, as bridge.types.layout defines them."""
    at = 0
    forms = []
    for logged in types:
        code, meta = logged, 0
        if code in _ONE_BYTE:
            meta = data[at]
            at += 1
        elif code in _TWO_BYTES:
            meta = data[at] | data[at + 1] << 8
            at += 2
        elif code == layout.BIT:
            meta = data[at] + 8 * data[at + 1]
            at += 2
        elif code == layout.NEWDECIMAL:
            meta = data[at] << 8 | data[at + 1]
            at += 2
        elif code in (layout.STRING, layout.ENUM, layout.SET):
            code, meta = _string(data[at], data[at + 1])
            at += 2
        forms.append((code, meta))
    if at != len(data):
        raise ValueError("metadata of unknown column types")
    return forms


def _string(first: int, second: int) -> tuple[int, int]:
    """Real type and length of a STRING; lengths over 255 hide two bits in the type's byte."""
    if first & 0x30 != 0x30:
        return first | 0x30, second | ((first & 0x30) ^ 0x30) << 4
    return first, second


def _optional(event: bytes, at: int) -> dict[int, bytes]:
    fields = {}
    while at < len(event):
        kind = event[at]
        length, at = packed_int(event, at + 1)
        fields[kind] = event[at : at + length]
        if len(fields[kind]) != length:
            raise ValueError("truncated")
        at += length
    return fields


def _bit(bits: bytes, index: int) -> bool:
    """Bit `index`, counted from the highest of the first byte."""
    return bool(bits[index >> 3] >> (7 - (index & 7)) & 1)


def _integers(data: bytes) -> list[int]:
    at = 0
    found = []
    while at < len(data):
        value, at = packed_int(data, at)
        found.append(value)
    return found


def _strings(data: bytes, at: int, count: int) -> tuple[list[bytes], int]:
    found = []
    for _ in range(count):
        length, at = packed_int(data, at)
        if at + length > len(data):
            raise ValueError("truncated")
        found.append(data[at : at + length])
        at += length
    return found, at


def _names(data: bytes | None) -> list[str]:
    names = []
    at = 0
    while data and at < len(data):
        (raw,), at = _strings(data, at, 1)
        names.append(raw.decode())
    return names


def _signedness(codes: list[int], bits: bytes | None) -> dict[int, bool]:
    numeric = [index for index, code in enumerate(codes) if code in _NUMERIC]
    if bits is None:
        return {}
    return {index: _bit(bits, place) for place, index in enumerate(numeric)}


def _charsets(codes: list[int], optional: dict[int, bytes]) -> dict[int, str | None]:
    found: dict[int, str | None] = {}
    for members, default, each in (
        (_TEXT, _DEFAULT_CHARSET, _COLUMN_CHARSET),
        (_LABELLED, _LABEL_DEFAULT_CHARSET, _LABEL_COLUMN_CHARSET),
    ):
        places = [index for index, code in enumerate(codes) if code in members]
        if default in optional:
            # The default, then pairs of (place among these columns, another collation).
            usual, *others = _integers(optional[default])
            numbers = dict.fromkeys(range(len(places)), usual)
            numbers.update(zip(others[::2], others[1::2], strict=True))
        elif each in optional:
            numbers = dict(enumerate(_integers(optional[each])))
        else:
            continue
        found.update({index: charset_of(numbers[place]) for place, index in enumerate(places)})
    return found


def _all_labels(
    codes: list[int], charsets: dict[int, str | None], optional: dict[int, bytes]
) -> dict[int, tuple[str, ...] | None]:
    found: dict[int, tuple[str, ...] | None] = {}
    for code, field in ((layout.ENUM, _ENUM_LABELS), (layout.SET, _SET_LABELS)):
        data = optional.get(field)
        if data is None:
            continue
        at = 0
        for index in (index for index, each in enumerate(codes) if each == code):
            count, at = packed_int(data, at)
            raw, at = _strings(data, at, count)
            labels = [decode(label, charsets.get(index)) for label in raw]
            known = tuple(label for label in labels if label is not None)
            found[index] = known if len(known) == len(labels) else None
    return found


def _key(optional: dict[int, bytes]) -> tuple[tuple[int, int], ...] | None:
    if _SIMPLE_KEY in optional:
        return tuple((column, 0) for column in _integers(optional[_SIMPLE_KEY]))
    if _KEY_WITH_PREFIX in optional:
        pairs = _integers(optional[_KEY_WITH_PREFIX])
        return tuple(zip(pairs[::2], pairs[1::2], strict=True))
    return () if _NAMES in optional else None
