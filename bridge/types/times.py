"""TIME(0-6): -838:59:59 to 838:59:59, a length rather than a time of day.

In rows events TIME2 is a big-endian number, offset by half its range, of 1 bit, 10 bits hours,
6 minutes, 6 seconds and the fraction; negative values are its negative as a whole. Servers before
MySQL 5.6 send the number HHMMSS in three bytes, little-endian. Debezium sends microseconds
(nanoseconds, if told so); its other modes make NULL of all that is no time of day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from bridge.errors import BadValue
from bridge.types import layout
from bridge.types.base import NULL, ColumnPlan, Family, Proposal, SourceColumn, Wire
from bridge.types.copytext import never_null, own
from bridge.types.events import EventSettings, EventValue
from bridge.types.integers import lost, mismatch
from bridge.types.subseconds import Fractions, trimmed
from bridge.types.target import refuse, refuse_policy, target_of

_OUTSIDE = "({q} < TIME'00:00:00' OR {q} >= TIME'24:00:00')"
_UNITS = {
    "adaptive_time_microseconds": ("MicroTime", 1_000_000),
    "microseconds": ("MicroTime", 1_000_000),
    "nanoseconds": ("NanoTime", 1_000_000_000),
}
"""Modes of the connector that keep times of any length: schema and fractions of a second."""
_Raw = TypeVar("_Raw")
_Text = TypeVar("_Text")
_CACHED = 100_000
"""Values kept as text per column: more than a day has seconds."""


class Lengths:
    """How one column turns times into COPY text."""

    def __init__(self, plan: ColumnPlan) -> None:
        self.day = target_of(plan).base == "time"
        self.policy = plan.policy.out_of_range
        self.last = b"23:59:59" + (b"." + b"9" * plan.source.fsp if plan.source.fsp else b"")
        self.first = b"00:00:00" + (b"." + b"0" * plan.source.fsp if plan.source.fsp else b"")

    def text(self, negative: bool, hours: int, text: bytes) -> bytes:
        """COPY text of a time printed as `text`; raises BadValue."""
        if not self.day or not (negative or hours >= 24):
            return text
        if self.policy == "as-null":
            return NULL
        if self.policy == "clamp":
            return self.first if negative else self.last
        raise BadValue("out-of-range", text.decode())


class Times(Family):
    """Lengths of time."""

    names = frozenset({"time"})

    def proposals(self, column: SourceColumn) -> Sequence[Proposal]:
        """See Family."""
        return (
            Proposal("interval"),
            Proposal(f"time({column.fsp})", "if all values lie within a day"),
        )

    def accepts(self, plan: ColumnPlan) -> str:
        """See Family."""
        target = target_of(plan)
        fsp = plan.source.fsp
        if target.is_text:
            return refuse(plan, "text") if (target.limit or 17) < 10 + bool(fsp) + fsp else ""
        if target.base not in ("interval", "time"):
            return refuse(plan, "interval, time, text")
        if (target.args or (6,))[0] < fsp:
            return f"{plan.target_type} would cut fractions of {plan.source.column_type}"
        return refuse_policy(plan, "out_of_range", ("quarantine", "clamp", "as-null"))

    def copy_text(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        lengths = Lengths(plan)
        if lengths.day and lengths.policy == "as-null":
            return f"IF({_OUTSIDE.format(q=q)}, NULL, {q})"
        if lengths.day and lengths.policy == "clamp":
            return (
                f"CASE WHEN {q} < TIME'00:00:00' THEN '{lengths.first.decode()}'"
                f" WHEN {q} >= TIME'24:00:00' THEN '{lengths.last.decode()}' ELSE {q} END"
            )
        return q

    def bad(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        lengths = Lengths(plan)
        if lengths.day and lengths.policy == "quarantine":
            return never_null(plan, _OUTSIDE.format(q=q))
        return ""

    def raw(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return q

    def from_raw(self, plan: ColumnPlan, value: bytes) -> bytes:
        """See Family."""
        negative = value.startswith(b"-")
        hours = int(value.lstrip(b"-").partition(b":")[0])
        return Lengths(plan).text(negative, hours, value)

    def wire(self, plan: ColumnPlan, code: int, meta: int) -> Wire:
        """See Family."""
        lengths = Lengths(plan)
        name = own(plan, "time")
        if code == layout.TIME and not plan.source.fsp:
            return Wire("3s", "%b", f"{name}({{v}})", {name: _old_time(lengths)})
        if code != layout.TIME2 or meta != plan.source.fsp:
            raise mismatch(plan, code)
        decode = _new_time(lengths, Fractions(meta))
        if meta == 0:
            return Wire("3s", "%b", f"{name}[{{v}}]", {name: _Cached(decode)})
        return Wire(f"{3 + (meta + 1) // 2}s", "%b", f"{name}({{v}})", {name: decode})

    def event(self, plan: ColumnPlan, settings: EventSettings) -> EventValue:
        """See Family."""
        if settings.time not in _UNITS:
            raise lost(plan, f"time.precision.mode={settings.time} makes NULL of some times")
        schema, unit = _UNITS[settings.time]
        name = own(plan, "time")
        decode = _event_time(Lengths(plan), plan.source.fsp, unit)
        schemas = frozenset({f"int64:io.debezium.time.{schema}"})
        if plan.source.fsp:
            return EventValue(int, f"{name}({{v}})", {name: decode}, schemas=schemas)
        return EventValue(int, f"{name}[{{v}}]", {name: _Cached(decode)}, schemas=schemas)

    def digest_source(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        text = self.copy_text(plan, q)
        return text if target_of(plan).is_text else trimmed(text, plan.source.fsp)

    def digest_target(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return f"{q}::text"


class _Cached(dict[_Raw, _Text], Generic[_Raw, _Text]):
    """Remembers what `decode` made of a value, up to a number of values."""

    def __init__(self, decode: Callable[[_Raw], _Text]) -> None:
        super().__init__()
        self._decode = decode

    def __missing__(self, value: _Raw) -> _Text:
        text = self._decode(value)
        if len(self) < _CACHED:
            self[value] = text
        return text


def _new_time(lengths: Lengths, parts: Fractions) -> Callable[[bytes], bytes]:
    offset = 1 << (23 + parts.bits)

    def decode(value: bytes) -> bytes:
        bits = int.from_bytes(value, "big") - offset
        negative = bits < 0
        bits = abs(bits)
        whole = bits >> parts.bits
        text = b"%b%02d:%02d:%02d%b" % (
            b"-" if negative else b"",
            whole >> 12,
            whole >> 6 & 63,
            whole & 63,
            parts.text(bits & parts.mask),
        )
        return lengths.text(negative, whole >> 12, text)

    return decode


def _event_time(lengths: Lengths, fsp: int, unit: int) -> Callable[[int], str]:
    step = unit // 10**fsp

    def decode(value: int) -> str:
        seconds, rest = divmod(abs(value), unit)
        fraction, more = divmod(rest, step)
        if more:
            raise ValueError(f"{value} has more than {fsp} digits of a second")
        hours = seconds // 3600
        sign = b"-" if value < 0 else b""
        text = b"%b%02d:%02d:%02d" % (sign, hours, seconds // 60 % 60, seconds % 60)
        if fsp:
            text += b".%0*d" % (fsp, fraction)
        return lengths.text(value < 0, hours, text).decode()

    return decode


def _old_time(lengths: Lengths) -> Callable[[bytes], bytes]:
    def decode(value: bytes) -> bytes:
        number = int.from_bytes(value, "little", signed=True)
        hours, rest = divmod(abs(number), 10000)
        sign = b"-" if number < 0 else b""
        text = b"%b%02d:%02d:%02d" % (sign, hours, rest // 100, rest % 100)
        return lengths.text(number < 0, hours, text)

    return decode
