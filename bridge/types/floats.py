"""FLOAT and DOUBLE, with or without display width.

Values print as MySQL and MariaDB print a double, the shortest digits that read back the same; a
FLOAT prints as the double of the same value (the server's own text of a FLOAT keeps six digits).
Digests compare the eight bytes of the double, with -0 as 0. Debezium prints the shortest digits of
a FLOAT; its snapshots hold no more than the six digits that the server prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from bridge.types import layout
from bridge.types.base import ColumnPlan, Family, Proposal, SourceColumn, Wire
from bridge.types.copytext import own
from bridge.types.events import EventSettings, EventValue
from bridge.types.integers import mismatch
from bridge.types.target import refuse, target_of


def mysql_double(value: float) -> str:
    """The text of a double in MySQL and MariaDB (my_gcvt in strings/dtoa.cc with ample width).

    Plain digits from 1e-15 up to fifteen digits before the point, or where there are digits behind
    it; else an exponent without plus sign and without zeros in front.
    """
    text = repr(value)
    if 1e-4 <= value < 1e15 or -1e15 < value <= -1e-4 or value == 0:
        return text.removesuffix(".0")
    sign, digits, point = _digits(text)
    if point >= -14 and (point <= 15 or len(digits) > point):
        if point <= 0:
            return f"{sign}0.{'0' * -point}{digits}"
        return f"{sign}{digits[:point]}.{digits[point:]}"
    tail = "." + digits[1:] if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1}"


_SINGLE = Struct("<f")


def single(value: float) -> str:
    """MySQL's text of a FLOAT's value, given the double that is nearest to its shortest digits."""
    return mysql_double(_SINGLE.unpack(_SINGLE.pack(value))[0])


def _digits(text: str) -> tuple[str, str, int]:
    """Sign, significant digits, and the place of the point before the first of them."""
    sign = "-" if text[0] == "-" else ""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(digits) - len(fraction) + int(exponent or 0)
    return sign, digits.rstrip("0"), point


class Floats(Family):
    """Binary floating point numbers."""

    names = frozenset({"float", "double"})

    def proposals(self, column: SourceColumn) -> Sequence[Proposal]:
        """See Family."""
        if column.data_type == "float":
            return (Proposal("real"), Proposal("double precision", "room for later values"))
        return (Proposal("double precision"),)

    def accepts(self, plan: ColumnPlan) -> str:
        """See Family."""
        target = target_of(plan)
        single = plan.source.data_type == "float"
        if target.base == "double precision" or (target.base == "real" and single):
            return ""
        if target.is_text:
            return refuse(plan, "text") if (target.limit or 24) < 24 else ""
        return refuse(plan, ("real, " if single else "") + "double precision, text")

    def copy_text(self, plan: ColumnPlan, q: str) -> str:
        """See Family. Times one keeps -0, which adding 0 would lose."""
        rounded = plan.source.data_type == "float" or "(" in plan.source.column_type
        return f"({q} * 1e0)" if rounded else q

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
        single = plan.source.data_type == "float"
        if code != (layout.FLOAT if single else layout.DOUBLE):
            raise mismatch(plan, code)
        name = own(plan, "number")
        return Wire("f" if single else "d", "%b", f"{name}({{v}}).encode()", {name: mysql_double})

    def event(self, plan: ColumnPlan, settings: EventSettings) -> EventValue:
        """See Family. A FLOAT with a display width comes as a double."""
        name = own(plan, "number")
        one = plan.source.data_type == "float"
        schemas = frozenset({"float", "double"} if one else {"double"})
        convert = single if one else mysql_double
        return EventValue(float, f"{name}({{v}})", {name: convert}, schemas=schemas)

    def digest_source(self, plan: ColumnPlan, q: str) -> str:
        """See Family. A point's well-known binary form holds the eight bytes behind five others."""
        if target_of(plan).is_text:
            return self.copy_text(plan, q)
        return f"LOWER(HEX(REVERSE(SUBSTR(ST_AsWKB(POINT({q} + 0e0, 0)), 6, 8))))"

    def digest_target(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        if target_of(plan).is_text:
            return f"{q}::text"
        return f"encode(float8send({q}::float8 + 0.0::float8), 'hex')"
