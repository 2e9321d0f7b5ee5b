"""GTID sets as COM_BINLOG_DUMP_GTID takes them (pure).

Source: sql/rpl_gtid_set.cc, Gtid_set::encode. Without tags: a count of server UUIDs (8 bytes),
then for each the 16 bytes of the UUID, a count of intervals, and each interval's first number and
the one after its last. With tags (MySQL 8.3 and later): the highest and the lowest byte of the
count are 1, the count is between them, and after each UUID stands the tag, its length before it.
"""

from __future__ import annotations

from struct import Struct
from uuid import UUID

from bridge.change.position import Position

_U64 = Struct("<Q")
_PAIR = Struct("<QQ")
_TAGGED_FORMAT = 1


def encode_gtid_set(position: Position) -> bytes:
    """The bytes of a MySQL position's set."""
    sets = position.sets
    tagged = any(":" in sid for sid in sets)
    parts = []
    for sid, spans in sets.items():
        uuid, _, tag = sid.partition(":")
        parts.append(UUID(uuid).bytes)
        if tagged:
            # The length is a variable integer of the serialization library; tags have 32 characters
            # at most, so it is one byte whose lowest bit is 0.
            parts.append(bytes([len(tag) << 1]) + tag.encode("ascii"))
        parts.append(_U64.pack(len(spans)))
        parts += [_PAIR.pack(first, last + 1) for first, last in spans]
    return _count(len(sets), tagged) + b"".join(parts)


def _count(sids: int, tagged: bool) -> bytes:
    if not tagged:
        return _U64.pack(sids)
    return _U64.pack(_TAGGED_FORMAT << 56 | sids << 8 | _TAGGED_FORMAT)
