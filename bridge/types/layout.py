"""How many bytes a value takes in a rows event, by the type code and metadata of the TABLE_MAP.

`code` is the column's real type: the TABLE_MAP sends ENUM and SET as STRING with the real type in
the metadata's first byte, so it is resolved before. `meta` is then one number: for ENUM, SET and
STRING the length in bytes, for VARCHAR the greatest length in bytes, for BLOB, JSON, GEOMETRY and
VECTOR the width of the length prefix, for NEWDECIMAL precision << 8 | scale, for BIT the number of
bits, for TIMESTAMP2, DATETIME2 and TIME2 the digits of fractional seconds, for FLOAT and DOUBLE
their size.

Source: MySQL Internals, "Rows_event" and "Table_map_event" (libbinlogevents/rows_event.h).
"""

from __future__ import annotations

from bridge.errors import SourceError

TINY = 1
SHORT = 2
LONG = 3
FLOAT = 4
DOUBLE = 5
NULL = 6
TIMESTAMP = 7
LONGLONG = 8
INT24 = 9
DATE = 10
TIME = 11
DATETIME = 12
YEAR = 13
NEWDATE = 14
VARCHAR = 15
BIT = 16
TIMESTAMP2 = 17
DATETIME2 = 18
TIME2 = 19
BLOB_COMPRESSED = 140
"""MariaDB, a column with the attribute COMPRESSED."""
VARCHAR_COMPRESSED = 141
"""MariaDB, a column with the attribute COMPRESSED."""
VECTOR = 242
JSON = 245
NEWDECIMAL = 246
ENUM = 247
SET = 248
TINY_BLOB = 249
MEDIUM_BLOB = 250
LONG_BLOB = 251
BLOB = 252
VAR_STRING = 253
STRING = 254
GEOMETRY = 255

_FIXED = {
    TINY: 1,
    SHORT: 2,
    INT24: 3,
    LONG: 4,
    LONGLONG: 8,
    FLOAT: 4,
    DOUBLE: 8,
    NULL: 0,
    YEAR: 1,
    DATE: 3,
    NEWDATE: 3,
    TIME: 3,
    TIMESTAMP: 4,
    DATETIME: 8,
}
_FRACTIONAL = {TIMESTAMP2: 4, DATETIME2: 5, TIME2: 3}
_STRINGS = frozenset({VARCHAR, VAR_STRING, VARCHAR_COMPRESSED, STRING})
_BLOBS = frozenset(
    {BLOB, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB_COMPRESSED, JSON, GEOMETRY, VECTOR}
)
_DECIMAL_TAIL = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""Bytes that 0 to 9 decimal digits take in NEWDECIMAL."""


def decimal_size(precision: int, scale: int) -> int:
    """Bytes of a NEWDECIMAL: four for each nine digits, fewer for the rest, on either side."""
    whole = precision - scale
    return whole // 9 * 4 + _DECIMAL_TAIL[whole % 9] + scale // 9 * 4 + _DECIMAL_TAIL[scale % 9]


def layout(code: int, meta: int) -> tuple[int, int]:
    """(fixed size in bytes, 0) or (0, width of the little-endian length prefix).

    Raises SourceError for a type code that is not known.
    """
    if code in _FIXED:
        return _FIXED[code], 0
    if code in _STRINGS:
        return 0, 1 if meta < 256 else 2
    if code in _BLOBS:
        return 0, meta
    if code in _FRACTIONAL:
        return _FRACTIONAL[code] + (meta + 1) // 2, 0
    if code == NEWDECIMAL:
        return decimal_size(meta >> 8, meta & 0xFF), 0
    if code == BIT:
        return (meta + 7) // 8, 0
    if code in (ENUM, SET):
        return meta, 0
    raise SourceError(
        f"the binlog holds a column of the unknown type {code}",
        "exclude the table, or change the column to a type of MySQL 5.6 to 9",
    )
