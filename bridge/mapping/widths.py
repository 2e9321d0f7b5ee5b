"""How wide the key of an index can get, against what PostgreSQL's B-tree takes."""

from __future__ import annotations

from bridge.types.base import SourceColumn

KEY_BYTES = 2704
"""Bytes of a B-tree entry, a third of a page (PostgreSQL's manual, "B-Tree Indexes"): an entry that
is longer even after compression is refused."""

_ASTRAL = frozenset({"utf8mb4", "utf16", "utf16le", "utf32", "gb18030"})
"""Charsets with characters that take four bytes in UTF-8; those of the others take three."""
_FIXED = 16
"""More than any number, date or time takes."""


def key_bytes(column: SourceColumn, prefix: int | None = None) -> int:
    """The most bytes that a value, or its first `prefix` characters, takes in a key."""
    if column.length is None or column.data_type == "bit":
        return max((len(label.encode()) for label in column.labels), default=_FIXED)
    length = column.length if prefix is None else min(prefix, column.length)
    if column.charset is None:
        return length
    if column.data_type.endswith("text") and prefix is None:
        return length  # counted in bytes already
    if column.charset == "ascii":
        return length
    return length * (4 if column.charset in _ASTRAL else 3)
