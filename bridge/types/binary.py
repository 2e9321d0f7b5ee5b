"""BINARY, VARBINARY and the BLOBs.

Rows events leave out the zero bytes at the end of BINARY(n); they belong to the value and are put
back. COPY text of bytea is ``\\x`` and hexadecimal digits, its backslash escaped (upper case as
MySQL's HEX() prints them, so that copy and stream agree byte by byte). In a Debezium event they are
base64, or what the connector's binary.handling.mode says.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from binascii import hexlify
from collections.abc import Callable, Sequence

from bridge.types import layout
from bridge.types.base import ColumnPlan, Family, Proposal, SourceColumn, Wire
from bridge.types.copytext import literal, own
from bridge.types.events import EventSettings, EventValue
from bridge.types.integers import mismatch
from bridge.types.target import refuse, target_of
from bridge.types.zipped import unzipped

_START = b"\\\\x"
_CODES = {
    "binary": frozenset({layout.STRING}),
    "varbinary": frozenset({layout.VARCHAR, layout.VARCHAR_COMPRESSED}),
}
_BLOBS = frozenset({layout.BLOB, layout.BLOB_COMPRESSED})
_SHORT = 32
"""Bytes up to which a digest holds the value itself; else its SHA-256."""


def url_safe(text: str) -> bytes:
    """The bytes of base64 with - and _, whose padding may be missing; raises ValueError."""
    return b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)


_PRINTED: dict[str, tuple[Callable[[bytes], str], Callable[[str], bytes]]] = {
    "hex": (bytes.hex, bytes.fromhex),
    "base64-url-safe": (lambda raw: urlsafe_b64encode(raw).decode(), url_safe),
}
"""Modes of the connector that are not base64: bytes to text and back (ValueError)."""


class Binaries(Family):
    """Byte strings."""

    names = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})

    def proposals(self, column: SourceColumn) -> Sequence[Proposal]:
        """See Family."""
        bytea = Proposal("bytea")
        if column.data_type == "binary" and column.length == 16:
            return (bytea, Proposal("uuid", "if it holds UUIDs with their time parts in order"))
        return (bytea,)

    def accepts(self, plan: ColumnPlan) -> str:
        """See Family."""
        target = target_of(plan)
        sixteen = plan.source.data_type == "binary" and plan.source.length == 16
        if target.base == "bytea" or (target.base == "uuid" and sixteen):
            return ""
        return refuse(plan, "bytea, uuid" if sixteen else "bytea")

    def copy_text(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        if target_of(plan).base == "uuid":
            return f"HEX({q})"
        return f"CONCAT({literal(_START)}, HEX({q}))"

    def bad(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return ""

    def raw(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return q

    def from_raw(self, plan: ColumnPlan, value: bytes) -> bytes:
        """See Family."""
        start = b"" if target_of(plan).base == "uuid" else _START
        return start + hexlify(value).upper()

    def wire(self, plan: ColumnPlan, code: int, meta: int) -> Wire:
        """See Family."""
        if code not in _CODES.get(plan.source.data_type, _BLOBS):
            raise mismatch(plan, code)
        hexadecimal = own(plan, "hex")
        names: dict[str, object] = {hexadecimal: hexlify}
        value = "{v}"
        if plan.source.data_type == "binary":
            value = f"{{v}}.ljust({plan.source.length}, b'\\0')"
        if code in (layout.VARCHAR_COMPRESSED, layout.BLOB_COMPRESSED):
            value = f"{own(plan, 'unzipped')}({{v}})"
            names[own(plan, "unzipped")] = unzipped
        text = f"{hexadecimal}({value}).upper()"
        if target_of(plan).base != "uuid":
            text = f"({_START!r} + {text})"
        return Wire("", "%b", text, names)

    def event(self, plan: ColumnPlan, settings: EventSettings) -> EventValue:
        """See Family."""
        fixed = plan.source.length or 0 if plan.source.data_type == "binary" else 0
        names: dict[str, object] = {}
        raw = settings.placeholder.encode()
        missing: str | bytes = raw
        kind: type = bytes
        value, parse = "{v}", own(plan, "parse")
        if settings.binary in _PRINTED:
            encode, names[parse] = _PRINTED[settings.binary]
            kind, missing, value = str, encode(raw), f"{parse}({{v}})"
        padded = f".ljust({fixed}, b'\\0')" if fixed else ""
        text = f"{value}{padded}.hex().upper()"
        if target_of(plan).base != "uuid":
            text = f"({_START.decode()!r} + {text})"
        schemas = frozenset({"bytes" if settings.binary == "bytes" else "string"})
        return EventValue(kind, text, names, unavailable=missing, schemas=schemas)

    def digest_source(self, plan: ColumnPlan, q: str) -> str:
        """See Family. SHA-256 of what is long: hexadecimal digits would double it."""
        return f"LOWER(HEX({q}))" if _short(plan) else f"SHA2({q}, 256)"

    def digest_target(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        if target_of(plan).base == "uuid":
            return f"encode(uuid_send({q}), 'hex')"
        return f"encode({q}, 'hex')" if _short(plan) else f"encode(sha256({q}), 'hex')"


def _short(plan: ColumnPlan) -> bool:
    return (plan.source.length or _SHORT + 1) <= _SHORT
