"""PostgreSQL's logical replication messages (plugin pgoutput, protocol version 1) as values.

Source: PostgreSQL's manual, "Logical Replication Message Formats". Values come as text, printed
under the settings of the replication session. Messages of later protocol versions (streamed and
prepared transactions) are not known here, since they are never asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from struct import Struct, error
from typing import NamedTuple

from bridge.errors import BridgeError


class Unchanged(Enum):
    """The value of a large column (TOAST) that an update left alone: it was not sent."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED
Value = bytes | None | Unchanged
"""Text of a column; None is NULL."""
Values = list[Value]


class ProtocolError(BridgeError):
    """A message is cut off, too long, or of a kind that was not asked for."""


class Column(NamedTuple):
    """A column as a Relation message gives it; `key`: part of the replica identity."""

    name: str
    key: bool
    type_oid: int
    modifier: int


class Relation(NamedTuple):
    """A table as the rows behind this message are to be read.

    `identity` is pg_class.relreplident: 'd' primary key, 'f' the whole row, 'i' an index, 'n' none.
    """

    oid: int
    schema: str
    table: str
    identity: str
    columns: tuple[Column, ...]


class Begin(NamedTuple):
    """A transaction begins; `lsn` is where its commit record stands, `time` µs since 2000 UTC."""

    lsn: int
    time: int
    xid: int


class Commit(NamedTuple):
    """It ends; `end` is the position behind its commit record."""

    lsn: int
    end: int
    time: int


class Insert(NamedTuple):
    """A new row."""

    relation: int
    new: Values


class Update(NamedTuple):
    """A changed row.

    `old` is None where the identity did not change; with `old_is_key` only its key columns hold
    values (the others are None), else it is the whole old row.
    """

    relation: int
    old: Values | None
    old_is_key: bool
    new: Values


class Delete(NamedTuple):
    """A row that went; `old` as in Update."""

    relation: int
    old: Values
    old_is_key: bool


class Truncate(NamedTuple):
    """Tables emptied together; `options`: 1 CASCADE, 2 RESTART IDENTITY."""

    relations: tuple[int, ...]
    options: int


class Type(NamedTuple):
    """A type that is not built in, before the first row that holds one."""

    oid: int
    schema: str
    name: str


class Origin(NamedTuple):
    """Where the transaction came from, if it was replicated itself."""

    lsn: int
    name: str


class Logical(NamedTuple):
    """What pg_logical_emit_message wrote; `lsn` is its own place."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


Message = Relation | Begin | Commit | Insert | Update | Delete | Truncate | Type | Origin | Logical

_U32 = Struct(">I")
_length = _U32.unpack_from
_BEGIN = Struct(">QqI")
_COMMIT = Struct(">BQQq")
_LOGICAL = Struct(">BQ")
_TEXT, _NULL, _UNCHANGED = b"tnu"
_NEW, _OLD, _KEY = b"NOK"


def decode(data: bytes, at: int = 0) -> Message:
    """The message that stands in `data` from `at` to its end; raises ProtocolError."""
    kind = data[at : at + 1]
    read = _READERS.get(kind)
    if read is None:
        raise ProtocolError(
            f"PostgreSQL sent a message of the unknown kind {kind!r}" if kind
            else "PostgreSQL sent an empty message",
            "is the target a PostgreSQL of version 14 to 18?",
        )  # fmt: skip
    try:
        message, end = read(data, at + 1)
    except (IndexError, error, UnicodeDecodeError, ValueError) as reason:
        raise _broken(kind, data, f"at its end: {reason}") from reason
    if end != len(data):
        raise _broken(kind, data, f"{end - len(data)} bytes are missing")
    return message


def _broken(kind: bytes, data: bytes, what: str) -> ProtocolError:
    return ProtocolError(
        f"a message of PostgreSQL is damaged: kind {kind.decode()}, {len(data)} bytes, {what}",
        "the connection, or something between here and the server, is broken",
    )


def _values(data: bytes, at: int) -> tuple[Values, int]:
    """A row; the caller sees by the end whether its last value was cut off."""
    count = data[at] << 8 | data[at + 1]
    at += 2
    found: Values = []
    add = found.append
    for _ in range(count):
        kind = data[at]
        if kind == _TEXT:
            start = at + 5
            at = start + _length(data, at + 1)[0]
            add(data[start:at])
        elif kind == _NULL:
            add(None)
            at += 1
        elif kind == _UNCHANGED:
            add(UNCHANGED)
            at += 1
        else:
            raise ValueError(f"a value of the unknown kind {chr(kind)!r}")
    return found, at


def _insert(data: bytes, at: int) -> tuple[Insert, int]:
    (relation,) = _length(data, at)
    _expect(data, at + 4, _NEW)
    values, end = _values(data, at + 5)
    return Insert(relation, values), end


def _update(data: bytes, at: int) -> tuple[Update, int]:
    (relation,) = _length(data, at)
    at += 4
    old, is_key = None, data[at] == _KEY
    if is_key or data[at] == _OLD:
        old, at = _values(data, at + 1)
    _expect(data, at, _NEW)
    new, end = _values(data, at + 1)
    return Update(relation, old, is_key, new), end


def _delete(data: bytes, at: int) -> tuple[Delete, int]:
    (relation,) = _length(data, at)
    is_key = data[at + 4] == _KEY
    if not is_key:
        _expect(data, at + 4, _OLD)
    values, end = _values(data, at + 5)
    return Delete(relation, values, is_key), end


def _expect(data: bytes, at: int, wanted: int) -> None:
    if data[at] != wanted:
        raise ValueError(f"{chr(data[at])!r} in the place of {chr(wanted)!r}")


def _relation(data: bytes, at: int) -> tuple[Relation, int]:
    (oid,) = _length(data, at)
    schema, at = _string(data, at + 4)
    table, at = _string(data, at)
    identity = chr(data[at])
    count = data[at + 1] << 8 | data[at + 2]
    at += 3
    columns = []
    for _ in range(count):
        flags = data[at]
        name, at = _string(data, at + 1)
        type_oid, modifier = _RELATION_COLUMN.unpack_from(data, at)
        at += _RELATION_COLUMN.size
        columns.append(Column(name, bool(flags & 1), type_oid, modifier))
    # The system's own schema is sent as an empty name.
    return Relation(oid, schema or "pg_catalog", table, identity, tuple(columns)), at


_RELATION_COLUMN = Struct(">Ii")


def _begin(data: bytes, at: int) -> tuple[Begin, int]:
    return Begin(*_BEGIN.unpack_from(data, at)), at + _BEGIN.size


def _commit(data: bytes, at: int) -> tuple[Commit, int]:
    _, lsn, end, time = _COMMIT.unpack_from(data, at)
    return Commit(lsn, end, time), at + _COMMIT.size


def _truncate(data: bytes, at: int) -> tuple[Truncate, int]:
    (count,) = _length(data, at)
    options = data[at + 4]
    at += 5
    end = at + 4 * count
    if end > len(data):
        raise ValueError(f"{count} tables do not fit")
    return Truncate(tuple(_length(data, place)[0] for place in range(at, end, 4)), options), end


def _type(data: bytes, at: int) -> tuple[Type, int]:
    (oid,) = _length(data, at)
    schema, at = _string(data, at + 4)
    name, at = _string(data, at)
    return Type(oid, schema or "pg_catalog", name), at


def _origin(data: bytes, at: int) -> tuple[Origin, int]:
    lsn = int.from_bytes(data[at : at + 8], "big")
    name, at = _string(data, at + 8)
    return Origin(lsn, name), at


def _logical(data: bytes, at: int) -> tuple[Logical, int]:
    flags, lsn = _LOGICAL.unpack_from(data, at)
    prefix, at = _string(data, at + _LOGICAL.size)
    start = at + 4
    end = start + _length(data, at)[0]
    return Logical(bool(flags & 1), lsn, prefix, data[start:end]), end


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(), end + 1


_READERS: Mapping[bytes, Callable[[bytes, int], tuple[Message, int]]] = {
    b"I": _insert,
    b"U": _update,
    b"D": _delete,
    b"B": _begin,
    b"C": _commit,
    b"R": _relation,
    b"T": _truncate,
    b"Y": _type,
    b"O": _origin,
    b"M": _logical,
}


def format_lsn(lsn: int) -> str:
    """As PostgreSQL prints it: ``16/B374D848``."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """The number of a printed position; raises ValueError. Positions compare as numbers only."""
    high, slash, low = text.partition("/")
    if not slash:
        raise ValueError(f"{text!r} is no position of PostgreSQL")
    return int(high, 16) << 32 | int(low, 16)
