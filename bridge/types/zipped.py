"""Values of MariaDB's COMPRESSED columns, as rows events hold them.

The first byte has the method in its upper four bits (0: stored as it is, 8: deflate), whether a
zlib header is left out in bit 3, and in its lower three bits how many bytes of big-endian length of
the original follow (sql/field_comp.cc).
"""

from __future__ import annotations

import zlib

from bridge.errors import SourceError

_STORED, _DEFLATED = 0, 8


def unzipped(value: bytes) -> bytes:
    """The original bytes; raises SourceError for a method that is not known."""
    if not value:
        return b""
    method = value[0] >> 4
    if method == _STORED:
        return value[1:]
    if method != _DEFLATED:
        raise SourceError(
            f"the binlog holds a column compressed by the unknown method {method}",
            "remove the attribute COMPRESSED from the column",
        )
    window = -zlib.MAX_WBITS if value[0] & 8 else zlib.MAX_WBITS
    return zlib.decompress(value[1 + (value[0] & 7) :], window)
