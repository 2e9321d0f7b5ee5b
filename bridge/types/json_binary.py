"""MySQL's binary JSON, as tables and rows events hold it, turned into the text that MySQL prints.

A value is a type byte and its bytes. Objects and arrays hold their number of members and their
size, then for objects an entry (offset, length) for each key, then an entry (type, offset or the
value itself where it is small enough) for each value; offsets count from the container's first
byte. All these numbers have two bytes in the small form and four in the large one (key lengths
always two). Strings have a length of seven bits a byte. Source: sql-common/json_binary.h.
"""

from __future__ import annotations

import re
import struct
from base64 import b64encode
from collections.abc import Callable
from struct import Struct
from typing import Any

from bridge.errors import BadValue
from bridge.types import layout
from bridge.types.decimals import decoder
from bridge.types.floats import mysql_double

_SMALL_OBJECT, _LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY = 0, 1, 2, 3
_LITERAL, _INT16, _UINT16, _INT32, _UINT32, _INT64, _UINT64, _DOUBLE = 4, 5, 6, 7, 8, 9, 10, 11
_STRING, _OPAQUE = 12, 15
_LITERALS = (b"null", b"true", b"false")
_LINE = 76
"""Characters of a line of MySQL's base64."""
_CACHED = 10_000
"""Shapes of objects, and entry structs, that are remembered."""

_find_special = re.compile(rb'[\x00-\x1f"\\]').search
_ESCAPES = {code: b"\\u%04x" % code for code in range(32)} | {
    8: b"\\b",
    9: b"\\t",
    10: b"\\n",
    12: b"\\f",
    13: b"\\r",
    34: b'\\"',
    92: b"\\\\",
}

_int32 = Struct("<i").unpack_from
_uint32 = Struct("<I").unpack_from
_int64 = Struct("<q").unpack_from
_uint64 = Struct("<Q").unpack_from
_double = Struct("<d").unpack_from
_large_header = Struct("<II").unpack_from


def json_text(data: bytes) -> bytes:
    """The text of a document as MySQL prints it; raises BadValue for bytes that are no document.

    No bytes at all are the literal null, as MySQL reads them.
    """
    if not data:
        return b"null"
    try:
        return _read(data[0], data, 1)
    except (LookupError, ValueError, TypeError, RecursionError, struct.error) as error:
        raise BadValue("invalid-json", f"{data[:40]!r}: {error}") from error


def quoted(text: bytes) -> bytes:
    """A JSON string."""
    if _find_special(text):
        text = b"".join(_ESCAPES.get(code) or bytes((code,)) for code in text)
    return b'"%b"' % text


def json_double(value: float) -> bytes:
    """A double as MySQL prints it in JSON: whole numbers keep a point, if they have no exponent."""
    text = mysql_double(value)
    return (text if "." in text or "e" in text else text + ".0").encode()


def _read(kind: int, data: bytes, at: int) -> bytes:
    if kind == _STRING:
        size = data[at]
        at += 1
        if size > 127:
            size, at = _length(data, at - 1)
        text = data[at : at + size]
        if len(text) != size:
            raise ValueError("cut")
        return quoted(text) if _find_special(text) else b'"%b"' % text
    return _READERS[kind](data, at)


def _length(data: bytes, at: int) -> tuple[int, int]:
    size = shift = 0
    while True:
        byte = data[at]
        at += 1
        size |= (byte & 127) << shift
        if byte < 128:
            return size, at
        shift += 7


class _Entries(dict[int, Callable[..., tuple[Any, ...]]]):
    """Number of members → unpack_from of their entries."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._form = form

    def __missing__(self, count: int) -> Callable[..., tuple[Any, ...]]:
        unpack = Struct("<" + self._form * count).unpack_from
        if len(self) < _CACHED:
            self[count] = unpack
        return unpack


_small_values, _large_values = _Entries("BH"), _Entries("BI")
_small_keys, _large_keys = _Entries("HH"), _Entries("IH")
_shapes: dict[bytes, bytes] = {}
"""Key entries and keys → the object's text with a place for each value."""


def _small_object(data: bytes, base: int) -> bytes:
    count = data[base] | data[base + 1] << 8
    if not count:
        return b"{}"
    entries = base + 4 + 4 * count
    last = data[entries - 4] | data[entries - 3] << 8
    end = base + last + (data[entries - 2] | data[entries - 1] << 8)
    shape = data[base + 4 : entries] + data[entries + 3 * count : end]
    form = _shapes.get(shape) or _shape(shape, _small_keys[count](data, base + 4), data, base)
    return form % _small_members(data, base, _small_values[count](data, entries))


def _small_array(data: bytes, base: int) -> bytes:
    count = data[base] | data[base + 1] << 8
    return b"[%b]" % b", ".join(_small_members(data, base, _small_values[count](data, base + 4)))


def _large_count(data: bytes, base: int) -> int:
    """Members, of at least five bytes each: no format is made for a number that cannot be."""
    count: int = _large_header(data, base)[0]
    if 5 * count > len(data):
        raise ValueError("cut")
    return count


def _large_object(data: bytes, base: int) -> bytes:
    count = _large_count(data, base)
    entries = base + 8 + 6 * count
    keys = _large_keys[count](data, base + 8)
    form = _shape(b"", keys, data, base)
    return form % _large_members(data, base, _large_values[count](data, entries))


def _large_array(data: bytes, base: int) -> bytes:
    count = _large_count(data, base)
    return b"[%b]" % b", ".join(_large_members(data, base, _large_values[count](data, base + 8)))


def _shape(shape: bytes, keys: tuple[Any, ...], data: bytes, base: int) -> bytes:
    """An object's text with ``%b`` for each value; remembered if `shape` is given."""
    places = zip(keys[::2], keys[1::2], strict=True)
    names = (quoted(data[base + offset : base + offset + size]) for offset, size in places)
    form = b"{%b}" % b", ".join(name.replace(b"%", b"%%") + b": %b" for name in names)
    if shape and len(_shapes) < _CACHED:
        _shapes[shape] = form
    return form


def _small_members(data: bytes, base: int, entries: tuple[Any, ...]) -> tuple[bytes, ...]:
    found = []
    for place in range(0, len(entries), 2):
        kind = entries[place]
        word = entries[place + 1]
        if kind == _STRING:
            at = base + word + 1
            size = data[at - 1]
            if size < 128:
                text = data[at : at + size]
                found.append(quoted(text) if _find_special(text) else b'"%b"' % text)
            else:
                found.append(_read(kind, data, at - 1))
        elif kind == _INT16:
            found.append(b"%d" % (word if word < 0x8000 else word - 0x10000))
        elif kind == _LITERAL:
            found.append(_LITERALS[word])
        elif kind == _UINT16:
            found.append(b"%d" % word)
        else:
            found.append(_READERS[kind](data, base + word))
    return tuple(found)


def _large_members(data: bytes, base: int, entries: tuple[Any, ...]) -> tuple[bytes, ...]:
    found = []
    for kind, word in zip(entries[::2], entries[1::2], strict=True):
        if kind in (_INT16, _UINT16, _INT32, _UINT32):
            signed = kind in (_INT16, _INT32) and word >= 0x80000000
            found.append(b"%d" % (word - 0x100000000 if signed else word))
        elif kind == _LITERAL:
            found.append(_LITERALS[word])
        else:
            found.append(_read(kind, data, base + word))
    return tuple(found)


def _opaque(data: bytes, at: int) -> bytes:
    """Values of SQL types that JSON lacks: decimals and times have a text, all else is base64."""
    kind = data[at]
    size, at = _length(data, at + 1)
    value = data[at : at + size]
    if kind == layout.NEWDECIMAL:
        return decoder(value[0], value[1])(value[2:])
    if kind in (layout.DATE, layout.DATETIME, layout.TIMESTAMP, layout.TIME):
        return b'"%b"' % _time_text(kind, int.from_bytes(value, "little", signed=True))
    digits = b64encode(value)
    lines = [digits[place : place + _LINE] for place in range(0, len(digits), _LINE)]
    return b'"base64:type%d:%b"' % (kind, b"\\n".join(lines))


def _time_text(kind: int, packed: int) -> bytes:
    sign = b"-" if packed < 0 else b""
    whole, fraction = divmod(abs(packed), 1 << 24)
    clock = whole & 0x1FFFF
    text = b"%02d:%02d.%06d" % (clock >> 6 & 63, clock & 63, fraction)
    if kind == layout.TIME:
        return b"%b%02d:%b" % (sign, whole >> 12 & 1023, text)
    months, day = whole >> 22, whole >> 17 & 31
    date = b"%04d-%02d-%02d" % (months // 13, months % 13, day)
    return date if kind == layout.DATE else b"%b %02d:%b" % (date, clock >> 12, text)


_READERS: dict[int, Callable[[bytes, int], bytes]] = {
    _SMALL_OBJECT: _small_object,
    _LARGE_OBJECT: _large_object,
    _SMALL_ARRAY: _small_array,
    _LARGE_ARRAY: _large_array,
    _LITERAL: lambda data, at: _LITERALS[data[at]],
    _INT16: lambda data, at: b"%d" % int.from_bytes(data[at : at + 2], "little", signed=True),
    _UINT16: lambda data, at: b"%d" % int.from_bytes(data[at : at + 2], "little"),
    _INT32: lambda data, at: b"%d" % _int32(data, at)[0],
    _UINT32: lambda data, at: b"%d" % _uint32(data, at)[0],
    _INT64: lambda data, at: b"%d" % _int64(data, at)[0],
    _UINT64: lambda data, at: b"%d" % _uint64(data, at)[0],
    _DOUBLE: lambda data, at: json_double(_double(data, at)[0]),
    _STRING: lambda data, at: _read(_STRING, data, at),
    _OPAQUE: _opaque,
}
