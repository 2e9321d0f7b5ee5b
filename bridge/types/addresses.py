"""UUID, INET6 and INET4 of MariaDB.

Rows events hold their bytes in the order of their text, without the zero bytes at the end. Copy and
stream print INET6 with all its digits, so that they agree byte by byte; PostgreSQL shortens it.
Debezium sends the server's text.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

from bridge.types import layout
from bridge.types.base import ColumnPlan, Family, Proposal, SourceColumn, Wire
from bridge.types.copytext import own
from bridge.types.events import EventSettings, EventValue
from bridge.types.integers import mismatch
from bridge.types.target import refuse, target_of

_SIZES = {"uuid": 16, "inet6": 16, "inet4": 4}
_SENT = {"inet6": "03800010", "inet4": "02200004"}
"""Family, bits, not a network, and length: what inet_send() puts before an address."""


class Addresses(Family):
    """Identifiers and network addresses of fixed length."""

    names = frozenset(_SIZES)

    def proposals(self, column: SourceColumn) -> Sequence[Proposal]:
        """See Family."""
        return (Proposal("uuid" if column.data_type == "uuid" else "inet"),)

    def accepts(self, plan: ColumnPlan) -> str:
        """See Family."""
        possible = "uuid" if plan.source.data_type == "uuid" else "inet"
        return "" if target_of(plan).base == possible else refuse(plan, possible)

    def copy_text(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        if plan.source.data_type != "inet6":
            return q
        groups = (f"SUBSTR(HEX({q}), {place}, 4)" for place in range(1, 33, 4))
        between = ", ':', "
        return f"CONCAT({between.join(groups)})"

    def bad(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return ""

    def raw(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return self.copy_text(plan, q)

    def from_raw(self, plan: ColumnPlan, value: bytes) -> bytes:
        """See Family."""
        return value

    def wire(self, plan: ColumnPlan, code: int, meta: int) -> Wire:
        """See Family."""
        size = _SIZES[plan.source.data_type]
        if code != layout.STRING or meta != size:
            raise mismatch(plan, code)
        name = own(plan, "address")
        text = f"{name}({{v}}.ljust({size}, b'\\0'))"
        return Wire("", "%b", text, {name: _TEXTS[plan.source.data_type]})

    def event(self, plan: ColumnPlan, settings: EventSettings) -> EventValue:
        """See Family."""
        name = own(plan, "address")
        read = _PARSERS[plan.source.data_type]
        form = _TEXTS[plan.source.data_type]
        names: dict[str, object] = {name: lambda v: form(read(v)).decode()}
        return EventValue(str, f"{name}({{v}})", names, schemas=frozenset({"string"}))

    def digest_source(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        sent = _SENT.get(plan.source.data_type)
        return f"CONCAT('{sent}', LOWER(HEX({q})))" if sent else q

    def digest_target(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return f"{q}::text" if plan.source.data_type == "uuid" else f"encode(inet_send({q}), 'hex')"


def _uuid(value: bytes) -> bytes:
    digits = hexlify(value)
    places = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return b"-".join(places)


def _inet6(value: bytes) -> bytes:
    return hexlify(value, b":", 2).upper()


def _inet4(value: bytes) -> bytes:
    return b"%d.%d.%d.%d" % tuple(value)


_TEXTS: dict[str, Callable[[bytes], bytes]] = {"uuid": _uuid, "inet6": _inet6, "inet4": _inet4}
_PARSERS: dict[str, Callable[[str], bytes]] = {
    "uuid": lambda text: UUID(text).bytes,
    "inet6": lambda text: IPv6Address(text).packed,
    "inet4": lambda text: IPv4Address(text).packed,
}
"""Text to bytes; ValueError."""
