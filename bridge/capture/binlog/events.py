"""What binlog events say: type codes, and readers for everything but rows and table maps.

An event here is the bytes of one whole event, 19 bytes of header included, without its checksum.
Source: MySQL Internals, "Binlog Event" (libs/mysql/binlog/event); MariaDB knowledge base,
"Replication Protocol".

Readers of the events that come with every transaction return plain values and check little; the
others raise SourceError for bytes that are not such an event.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from struct import Struct
from typing import Final, ParamSpec, TypeVar
from uuid import UUID

from bridge.capture.binlog.charsets import charset_of, decode
from bridge.errors import SourceError

HEADER = Struct("<IBIIIH")
"""Seconds since 1970, type, server id, size (checksum included), end position (32 bits), flags."""
BODY: Final = 19
"""Where an event's body begins."""

QUERY: Final = 2
STOP: Final = 3
ROTATE: Final = 4
FORMAT_DESCRIPTION: Final = 15
XID: Final = 16
EXECUTE_LOAD_QUERY: Final = 18
"""LOAD DATA of a session that logs statements; bridge.capture.binlog.expand makes it a QUERY."""
TABLE_MAP: Final = 19
INCIDENT: Final = 26
HEARTBEAT: Final = 27
IGNORABLE: Final = 28
ROWS_QUERY: Final = 29
GTID: Final = 33
ANONYMOUS_GTID: Final = 34
PREVIOUS_GTIDS: Final = 35
TRANSACTION_CONTEXT: Final = 36
VIEW_CHANGE: Final = 37
XA_PREPARE: Final = 38
PARTIAL_UPDATE_ROWS: Final = 39
TRANSACTION_PAYLOAD: Final = 40
HEARTBEAT_V2: Final = 41
GTID_TAGGED: Final = 42

MARIADB_ANNOTATE_ROWS: Final = 160
MARIADB_CHECKPOINT: Final = 161
MARIADB_GTID: Final = 162
MARIADB_GTID_LIST: Final = 163
MARIADB_START_ENCRYPTION: Final = 164
MARIADB_QUERY_COMPRESSED: Final = 165
MARIADB_ROWS_COMPRESSED: Final = {166: 23, 167: 24, 168: 25, 169: 30, 170: 31, 171: 32}
"""Compressed rows events and the plain type that each one becomes."""

INSERT: Final = 0
UPDATE: Final = 1
DELETE: Final = 2
ROW_KIND: Final = {
    20: INSERT, 23: INSERT, 30: INSERT,
    21: UPDATE, 24: UPDATE, 31: UPDATE, PARTIAL_UPDATE_ROWS: UPDATE,
    22: DELETE, 25: DELETE, 32: DELETE,
}  # fmt: skip
"""Type code of a rows event (versions 0, 1 and 2) → what happened to its rows."""

ARTIFICIAL: Final = 0x20
"""Header flag: made up for this connection, not in the file (the ROTATE that names the file)."""
IGNORABLE_FLAG: Final = 0x80
"""Header flag: who does not know the event may pass over it."""

STATEMENT_END: Final = 0x1
"""Flag of a rows event: the last one of its statement."""
NO_FOREIGN_KEY_CHECKS: Final = 0x2
"""Flag of a rows event: foreign_key_checks was off, so nothing cascaded."""
SQL_LAYER_FOREIGN_KEYS: Final = 0x10
"""Flag of a rows event (MySQL 9.6): cascades are in the log as rows events of their own."""

ANSI_QUOTES: Final = 0x4
NO_BACKSLASH_ESCAPES: Final = 0x100000
"""Bits of the sql_mode in a query event."""

MARIADB_STANDALONE: Final = 1
"""Flag of MariaDB's GTID: a group of one event, which no COMMIT ends."""
MARIADB_DDL: Final = 32
MARIADB_PREPARED_XA: Final = 64
MARIADB_COMPLETED_XA: Final = 128

_U32 = Struct("<I")
_U64 = Struct("<Q")
_I64 = Struct("<q")
_MARIADB_GTID = Struct("<QIB")
_UUIDS: dict[bytes, str] = {}

P = ParamSpec("P")
R = TypeVar("R")


def reader(what: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Turns what Python raises over truncated or unknown bytes into a SourceError."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except (struct.error, IndexError, ValueError, KeyError) as error:
                raise SourceError(
                    f"the source's binlog holds {what} that cannot be read ({error})",
                    "is the server newer than this version of dbbridge knows?",
                ) from error

        return guarded

    return decorate


def packed_int(data: bytes, at: int) -> tuple[int, int]:
    """MySQL's length-encoded integer: (value, where the next field begins)."""
    first = data[at]
    if first < 251:
        return first, at + 1
    if first < 252:
        raise ValueError("251 is no length")
    width = {252: 2, 253: 3, 254: 8}[first]
    return int.from_bytes(data[at + 1 : at + 1 + width], "little"), at + 1 + width


def widen(low: int, previous: int) -> int:
    """A position from its low 32 bits, given the position before it in the same file."""
    position = (previous & ~0xFFFFFFFF) | low
    return position if position >= previous else position + (1 << 32)


def gtid(event: bytes) -> tuple[str, int]:
    """(server UUID, number) of a GTID event."""
    raw = event[20:36]
    sid = _UUIDS.get(raw)
    if sid is None:
        sid = _UUIDS[raw] = str(UUID(bytes=raw))
    return sid, int.from_bytes(event[36:44], "little")


def commit_micros(event: bytes) -> int:
    """When the source committed the transaction of a GTID or ANONYMOUS_GTID event.

    In microseconds since 1970 by that server's clock; 0 before MySQL 8.0.1.
    """
    return int.from_bytes(event[61:68], "little") & 0x7FFFFFFFFFFFFF if len(event) >= 68 else 0


def mariadb_gtid(event: bytes) -> tuple[int, int, int, int]:
    """(domain, server, sequence number, flags) of MariaDB's GTID event."""
    sequence, domain, flags = _MARIADB_GTID.unpack_from(event, BODY)
    return domain, int.from_bytes(event[5:9], "little"), sequence, flags


def xid(event: bytes) -> int:
    """The number of a XID event (a transaction's commit)."""
    number: int = _U64.unpack_from(event, BODY)[0]
    return number


def is_begin(event: bytes) -> bool:
    """Whether a QUERY event is the plain BEGIN that opens a transaction."""
    return event.endswith(b"\0BEGIN") and len(event) == 38 + event[27] + event[30] + 256 * event[31]


def rows_table(event: bytes) -> int:
    """The table id of a rows event or table map."""
    return int.from_bytes(event[19:25], "little")


def rows_flags(event: bytes) -> int:
    """The flags of a rows event."""
    return event[25] | event[26] << 8


@dataclass(frozen=True, slots=True)
class FormatDescription:
    """The first event of a file: who wrote it, and whether events end with a CRC32."""

    server_version: str
    checksum: bool


@dataclass(frozen=True, slots=True)
class TaggedGtid:
    """A GTID event of MySQL 8.3 and later; `sid` is ``uuid:tag``, or the UUID without a tag."""

    sid: str
    number: int
    commit_micros: int
    transaction_bytes: int


@dataclass(frozen=True, slots=True)
class Query:
    """A statement in the log. `charset` is the client's collation number (None: not told).

    U+FFFD stands in `statement` where its bytes are no text in that character set.
    """

    thread: int
    database: str
    statement: str
    sql_mode: int
    charset: int | None
    error_code: int


@dataclass(frozen=True, slots=True)
class XaPrepare:
    """The end of a prepared XA transaction (`one_phase`: it is committed at once)."""

    one_phase: bool
    format: int
    global_id: bytes
    branch: bytes

    @property
    def sql(self) -> str:
        """The transaction as XA statements in the log name it."""
        return f"X'{self.global_id.hex()}',X'{self.branch.hex()}',{self.format}"


@reader("a format description")
def format_description(event: bytes) -> FormatDescription:
    """Reads FORMAT_DESCRIPTION; its own checksum must have been cut off.

    Servers since MySQL 5.6 and MariaDB 5.3 end it with the algorithm (0: none, 1: CRC32).
    """
    version = event[BODY + 2 : BODY + 52].rstrip(b"\0").decode("ascii")
    if event[-1] > 1:
        raise ValueError(f"checksum algorithm {event[-1]}")
    return FormatDescription(version, event[-1] == 1)


@reader("a rotate event")
def rotate(event: bytes) -> tuple[str, int]:
    """(next file, position in it)."""
    return event[BODY + 8 :].decode(), int(_U64.unpack_from(event, BODY)[0])


@reader("a heartbeat")
def heartbeat(event: bytes) -> tuple[str, int]:
    """(file, offset) that an idle source has reached.

    MySQL's HEARTBEAT has 32 bits of the offset; HEARTBEAT_V2 has all, and so has MariaDB's, which
    puts larger ones in front of the file's name (sql/sql_repl.cc, send_heartbeat_event).
    """
    if event[4] == HEARTBEAT_V2:
        fields = dict(_tagged_fields(event, BODY)[0])
        return fields[1].decode(), packed_int(fields[2], 0)[0]
    offset = int(_U32.unpack_from(event, 13)[0])
    if offset == 0 and 0 in event[BODY : BODY + 8]:
        return event[BODY + 8 :].decode(), int(_U64.unpack_from(event, BODY)[0])
    return event[BODY:].decode(), offset


@reader("a query event")
def query(event: bytes) -> Query:
    """Reads QUERY (for the plain BEGIN, `is_begin` is faster)."""
    thread = _U32.unpack_from(event, BODY)[0]
    database_length = event[27]
    status_end = 32 + int.from_bytes(event[30:32], "little")
    sql_mode, charset = _status(event, 32, status_end)
    database_end = status_end + database_length
    if event[database_end] != 0:
        raise ValueError("no end of the database's name")
    raw = event[database_end + 1 :]
    name = charset_of(charset) if charset is not None else None
    # A client without character set sends names as they are stored.
    text = decode(raw, "utf8mb4" if name in (None, "binary") else name)
    return Query(
        thread=thread,
        database=event[status_end:database_end].decode(),
        statement=raw.decode("utf-8", "replace") if text is None else text,
        sql_mode=sql_mode,
        charset=charset,
        error_code=event[28] | event[29] << 8,
    )


@reader("a GTID with a tag")
def tagged_gtid(event: bytes) -> TaggedGtid:
    """Reads GTID_TAGGED, which MySQL's serialization library wrote (libs/mysql/serialization)."""
    fields = _serialized_gtid(event)
    sid, tag = fields["uuid"], fields["tag"]
    assert isinstance(sid, str)
    assert isinstance(tag, str)
    numbers = {name: value for name, value in fields.items() if isinstance(value, int)}
    return TaggedGtid(
        sid=f"{sid}:{tag}" if tag else sid,
        number=numbers["number"],
        commit_micros=numbers.get("commit", 0),
        transaction_bytes=numbers.get("bytes", 0),
    )


@reader("an XA prepare")
def xa_prepare(event: bytes) -> XaPrepare:
    """Reads XA_PREPARE."""
    one_phase, format_id, length, branch_length = Struct("<BiII").unpack_from(event, BODY)
    data = event[BODY + 13 : BODY + 13 + length + branch_length]
    if len(data) != length + branch_length:
        raise ValueError("truncated")
    return XaPrepare(bool(one_phase), format_id, data[:length], data[length:])


@reader("a list of GTIDs")
def mariadb_gtid_list(event: bytes) -> list[tuple[int, int, int]]:
    """(domain, server, sequence number) of what MariaDB wrote before this point."""
    count = _U32.unpack_from(event, BODY)[0] & 0x0FFFFFFF
    one = Struct("<IIQ")
    return [one.unpack_from(event, BODY + 4 + 16 * index) for index in range(count)]


@reader("a checkpoint")
def mariadb_checkpoint(event: bytes) -> str:
    """The oldest file that crash recovery of the source would need."""
    return event[BODY + 4 : BODY + 4 + _U32.unpack_from(event, BODY)[0]].decode()


@reader("an incident")
def incident(event: bytes) -> str:
    """What the source says of changes that it may have lost."""
    return event[BODY + 3 : BODY + 3 + event[BODY + 2]].decode("utf-8", "replace")


def rows_query(event: bytes) -> str:
    """The statement behind the rows events that follow (ROWS_QUERY, MariaDB's ANNOTATE_ROWS)."""
    start = BODY if event[4] == MARIADB_ANNOTATE_ROWS else BODY + 1
    return event[start:].decode("utf-8", "replace")


def _tagged_fields(data: bytes, at: int) -> tuple[list[tuple[int, bytes]], int]:
    """Fields (type, length, value) up to the end mark 0, and where what follows begins."""
    fields = []
    while at < len(data):
        kind, at = packed_int(data, at)
        if kind == 0:
            break
        length, at = packed_int(data, at)
        fields.append((kind, data[at : at + length]))
        at += length
    return fields, at


def payload(event: bytes) -> tuple[bytes, int, int]:
    """(payload, its compression: 0 zstd or 255 none, its plain size) of TRANSACTION_PAYLOAD."""
    fields, at = _tagged_fields(event, BODY)
    numbers = {kind: packed_int(value, 0)[0] for kind, value in fields}
    body = event[at : at + numbers[1]]
    if len(body) != numbers[1]:
        raise ValueError("truncated payload")
    return body, numbers.get(2, 255), numbers.get(3, len(body))


_STATUS_WIDTH = {0: 4, 3: 4, 7: 2, 8: 2, 9: 8, 10: 4, 13: 3, 16: 1, 17: 8, 18: 2, 19: 1, 20: 1}
_STATUS_SQL_MODE = 1
_STATUS_CHARSET = 4


def _status(data: bytes, at: int, end: int) -> tuple[int, int | None]:
    """(sql_mode, client collation) from a query's status variables.

    Servers write them in the order of their codes, with few exceptions, and what is wanted comes
    first; reading stops at a code that is not known.
    """
    sql_mode = 0
    charset: int | None = None
    while at < end:
        code = data[at]
        at += 1
        if code == _STATUS_SQL_MODE:
            sql_mode = _U64.unpack_from(data, at)[0]
            at += 8
        elif code == _STATUS_CHARSET:
            charset = int.from_bytes(data[at : at + 2], "little")
            at += 6
        elif code in _STATUS_WIDTH:
            at += _STATUS_WIDTH[code]
        elif code in (5, 6):
            at += 1 + data[at]
        elif code == 2:
            at += 2 + data[at]
        else:
            break
    return sql_mode, charset


def _serial_int(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned integer whose first byte ends in as many 1 bits as bytes follow it."""
    first = data[at]
    extra = (~first & (first + 1)).bit_length() - 1 if first != 0xFF else 8
    value = int.from_bytes(data[at : at + 1 + extra], "little") >> (extra + 1)
    if extra == 8:
        value = int.from_bytes(data[at + 1 : at + 9], "little")
    return value, at + 1 + extra


def _serialized_gtid(event: bytes) -> dict[str, int | str]:
    """Fields of a tagged GTID by name; they are numbered, in order, and may be left out."""
    names = {
        0: "flags", 1: "uuid", 2: "number", 3: "tag", 4: "last", 5: "sequence", 6: "commit",
        7: "original_commit", 8: "bytes", 9: "version", 10: "original_version", 11: "ticket",
    }  # fmt: skip
    at = BODY
    for _ in range(3):  # format version, size, last field that must be understood
        _, at = _serial_int(event, at)
    found: dict[str, int | str] = {}
    while at < len(event):
        field, at = _serial_int(event, at)
        name = names[field]
        if name == "uuid":
            octets = []
            for _ in range(16):
                octet, at = _serial_int(event, at)
                octets.append(octet)
            found[name] = str(UUID(bytes=bytes(octets)))
        elif name == "tag":
            length, at = _serial_int(event, at)
            found[name] = event[at : at + length].decode("ascii")
            at += length
        else:
            value, at = _serial_int(event, at)
            found[name] = value >> 1 if name in ("number", "last", "sequence") else value
    return found
