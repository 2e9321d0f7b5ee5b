"""DATETIME(0-6), which has no zone, and TIMESTAMP(0-6), which is an instant.

Source and target sessions are in UTC. A DATETIME becomes timestamp, or timestamptz when the mapping
says in which zone it was meant: then PostgreSQL itself converts the wall-clock time, which goes to
it with the zone's name behind it; times that the zone has twice or never follow the policy
`ambiguous`.

In rows events (big-endian): DATETIME2 is 1 bit sign, 17 bits year * 13 + month, 5 day, 5 hour,
6 minute, 6 second; TIMESTAMP2 four bytes of seconds since 1970; then 0 to 3 bytes of fraction
(hundredths, ten-thousandths, microseconds). Servers before MySQL 5.6 send DATETIME as the number
YYYYMMDDHHMMSS and TIMESTAMP as four bytes, little-endian.

Debezium counts milli-, micro- or nanoseconds of the wall-clock time since 1970 for a DATETIME, as
if it were in UTC, or prints it with a Z that means nothing; a TIMESTAMP it always prints, in UTC.
Of zero dates it makes NULL, or a default, or 1970-01-01: they cannot be told afterwards.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import date

from bridge.errors import BadValue
from bridge.names import literal_postgres
from bridge.types import layout, zones
from bridge.types.base import NULL, ColumnPlan, Family, Proposal, SourceColumn, Wire
from bridge.types.copytext import literal, never_null, own
from bridge.types.dates import (
    EventDays,
    bad_date,
    impossible,
    possible,
    quarantined,
    refuse_zero_date,
    replaced,
    sentinel,
)
from bridge.types.events import CALL, EventSettings, EventValue, Form
from bridge.types.integers import lost, mismatch
from bridge.types.subseconds import Fractions, fraction_expression, trimmed
from bridge.types.target import refuse, refuse_policy, target_of

_ISO = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MILLISECONDS = 3
"""Digits up to which the connector's adaptive mode counts milliseconds."""
_TABLED = 3
"""Digits of fractions that are looked up in a table."""


class DayTexts(dict[int, bytes]):
    """The upper 23 bits of a DATETIME2 → ``2024-01-31 ``; BadValue for an impossible date."""

    def __missing__(self, bits: int) -> bytes:
        year, month, day = packed_date(bits)
        text = b"%04d-%02d-%02d " % (year, month, day)
        if not possible(year, month, day):
            raise bad_date(text.strip())
        self[bits] = text
        return text


class EpochDayTexts(dict[int, bytes]):
    """Days since 1970 → ``2024-01-31 ``."""

    def __missing__(self, day: int) -> bytes:
        text = date.fromordinal(_EPOCH_DAY + day).isoformat().encode() + b" "
        self[day] = text
        return text


class ClockTexts(dict[int, bytes]):
    """Hour, minute and second in 5, 6 and 6 bits → ``23:59:59``."""

    def __missing__(self, bits: int) -> bytes:
        text = b"%02d:%02d:%02d" % (bits >> 12, bits >> 6 & 63, bits & 63)
        self[bits] = text
        return text


class SecondTexts(dict[int, bytes]):
    """Seconds since midnight → ``23:59:59``."""

    def __missing__(self, second: int) -> bytes:
        text = b"%02d:%02d:%02d" % (second // 3600, second // 60 % 60, second % 60)
        self[second] = text
        return text


class EventClocks(dict[int, str]):
    """Units since midnight, so many a second → ``23:59:59``; ValueError between two seconds."""

    def __init__(self, unit: int) -> None:
        super().__init__()
        self._unit = unit

    def __missing__(self, value: int) -> str:
        second, rest = divmod(value, self._unit)
        if rest:
            raise ValueError(f"{value} is no whole second, and the column has no fractions")
        text = self[value] = _SECONDS[second].decode()
        return text


_DAYS, _EPOCH_DAYS, _CLOCKS, _SECONDS = DayTexts(), EpochDayTexts(), ClockTexts(), SecondTexts()
_EVENT_DAYS = EventDays(" ")


def packed_date(bits: int) -> tuple[int, int, int]:
    """Year, month and day from the upper bits of a DATETIME2."""
    months = bits >> 5 & 0x1FFFF
    return months // 13, months % 13, bits & 31


class Moments:
    """How one column turns dates with times into COPY text; its zone's odd spans included."""

    def __init__(self, plan: ColumnPlan) -> None:
        self.plan = plan
        self.fsp = plan.source.fsp
        self.zone = plan.policy.zone if plan.source.data_type == "datetime" else ""
        self.spans = zones.odd_spans(self.zone) if self.zone else ()
        self.edges = [int(f"{edge:%Y%m%d%H%M%S}") for s in self.spans for edge in (s.start, s.end)]
        self.sentinel = _padded(sentinel(plan), self.fsp)

    def impossible(self, q: str) -> str:
        """MySQL condition for impossible dates; of these, a TIMESTAMP can only hold zero."""
        return impossible(q) if self.plan.source.data_type == "datetime" else f"(YEAR({q}) = 0)"

    @property
    def plain(self) -> bool:
        """Whether the text is the source's own, and impossible dates go to quarantine."""
        return not self.zone and quarantined(self.plan)

    def text(self, year: int, month: int, day: int, clock: bytes) -> bytes:
        """COPY text of a date and ``HH:MM:SS.ffffff``; raises BadValue."""
        whole = b"%04d-%02d-%02d %b" % (year, month, day, clock)
        if not possible(year, month, day):
            if self.plan.policy.zero_date == "as-null":
                return NULL
            if not self.sentinel and target_of(self.plan).is_text:
                return whole
            if not self.sentinel:
                raise bad_date(whole)
            whole = self.sentinel.encode()
        return self.zoned(whole) if self.zone else whole

    def zoned(self, whole: bytes) -> bytes:
        """The wall-clock time with its zone or offset; raises BadValue for an odd one."""
        digits = int(whole[:19].translate(None, b"-: "))
        index = bisect_right(self.edges, digits)
        if index & 1 and self.plan.policy.ambiguous == "quarantine":
            raise BadValue("ambiguous-time", f"{whole.decode()} in {self.zone}")
        return whole + self.suffixes[index].encode()

    @property
    def suffixes(self) -> list[str]:
        """What stands behind the wall-clock time, by the number of edges that are not after it."""
        named = f" {self.zone}"
        earlier = self.plan.policy.ambiguous == "earlier"
        odd = [zones.offset_text(s.earlier) if earlier else named for s in self.spans]
        return [named] + [suffix for text in odd for suffix in (text, named)]

    def index(self, q: str) -> str:
        """MySQL expression: how many edges are not after the value; odd inside an odd span.

        INTERVAL() searches its constants by halves; -1 for NULL.
        """
        number = f"FLOOR({q} + 0)" if self.fsp else f"({q} + 0)"
        return f"INTERVAL({number}, {', '.join(map(str, self.edges))})"


def _padded(value: str, fsp: int) -> str:
    """A sentinel as the column would print it."""
    if not value or "infinity" in value:
        return value
    day, _, clock = value.partition(" ")
    clock, _, fraction = (clock or "00:00:00").partition(".")
    return f"{day} {clock}" + (f".{fraction:0<{fsp}}"[: fsp + 1] if fsp else "")


class Datetimes(Family):
    """Dates with times."""

    names = frozenset({"datetime", "timestamp"})

    def proposals(self, column: SourceColumn) -> Sequence[Proposal]:
        """See Family."""
        zoned = Proposal(f"timestamptz({column.fsp})", "needs `zone`: where the times were meant")
        if column.data_type == "timestamp":
            return (
                Proposal(f"timestamptz({column.fsp})"),
                Proposal(f"timestamp({column.fsp})", "in UTC"),
            )
        return (Proposal(f"timestamp({column.fsp})"), zoned)

    def accepts(self, plan: ColumnPlan) -> str:
        """See Family."""
        target = target_of(plan)
        zone = plan.policy.zone
        local = plan.source.data_type == "datetime"
        if target.is_text:
            if (target.limit or 26) < 19 + bool(plan.source.fsp) + plan.source.fsp:
                return refuse(plan, "text")
        elif target.base not in ("timestamp", "timestamptz"):
            return refuse(plan, "timestamp, timestamptz, text")
        elif (target.args or (6,))[0] < plan.source.fsp:
            return f"{plan.target_type} would cut fractions of {plan.source.column_type}"
        if local and target.base == "timestamptz" and not zone:
            return "zone: say in which zone the times were meant (zone: Europe/Berlin)"
        if local and zone and target.base != "timestamptz":
            return f"zone: only for timestamptz, not {plan.target_type}"
        if local and zone and not zones.known(zone):
            return f"zone: “{zone}” is not in the time zone database"
        return refuse_zero_date(plan, with_time=True, infinite=not zone) or refuse_policy(
            plan, "ambiguous", ("quarantine", "earlier", "later")
        )

    def copy_text(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        moments = Moments(plan)
        text = replaced(plan, moments.impossible(q), q, moments.sentinel)
        if not moments.zone:
            return text
        suffix = literal(f" {moments.zone}")
        if moments.spans and plan.policy.ambiguous == "earlier":
            suffixes = ", ".join(map(literal, moments.suffixes))
            suffix = f"ELT(1 + {moments.index(q)}, {suffixes})"
        return f"CONCAT({text}, {suffix})"

    def bad(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        moments = Moments(plan)
        conditions = [moments.impossible(q)] if quarantined(plan) else []
        if moments.spans and plan.policy.ambiguous == "quarantine":
            conditions.append(f"MOD({moments.index(q)}, 2) = 1")
        return never_null(plan, " OR ".join(conditions)) if conditions else ""

    def raw(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return q

    def from_raw(self, plan: ColumnPlan, value: bytes) -> bytes:
        """See Family."""
        day, _, clock = value.partition(b" ")
        year, month, date_ = map(int, day.split(b"-"))
        return Moments(plan).text(year, month, date_, clock)

    def wire(self, plan: ColumnPlan, code: int, meta: int) -> Wire:
        """See Family."""
        moments = Moments(plan)
        if plan.source.data_type == "timestamp":
            return _timestamp_wire(moments, code, meta)
        return _datetime_wire(moments, code, meta)

    def event(self, plan: ColumnPlan, settings: EventSettings) -> EventValue:
        """See Family."""
        moments = Moments(plan)
        if plan.source.data_type == "timestamp":
            return _printed(plan, _printed_text(moments), "ZonedTimestamp")
        if settings.time == "isostring":
            return _printed(plan, _printed_text(moments), "IsoTimestamp")
        return _counted(moments, settings)

    def digest_source(self, plan: ColumnPlan, q: str) -> str:
        """See Family. In the target's session text, without zeros at the end of a fraction."""
        moments = Moments(plan)
        target = target_of(plan)
        if target.is_text:
            return self.copy_text(plan, q)
        text = trimmed(q, moments.fsp)
        value = moments.sentinel.rstrip("0").rstrip(".") if moments.fsp else moments.sentinel
        if moments.zone:
            text = _zoned_digest(moments, q, text)
        elif target.base == "timestamptz":
            text = f"CONCAT({text}, '+00')"
            value += "+00" if value and "infinity" not in value else ""
        return replaced(plan, moments.impossible(q), text, value)

    def digest_target(self, plan: ColumnPlan, q: str) -> str:
        """See Family. A star marks the earlier instant of a wall-clock time that comes twice."""
        zone = Moments(plan).zone
        if not zone:
            return f"{q}::text"
        name = literal_postgres(zone)
        wall = f"({q} AT TIME ZONE {name})"
        return f"{wall}::text || CASE WHEN {wall} AT TIME ZONE {name} = {q} THEN '' ELSE '*' END"


def _zoned_digest(moments: Moments, q: str, text: str) -> str:
    """The wall-clock time that the chosen instant has in the zone, with the target's star.

    A time that never comes is shifted by the width of its gap, to where the chosen instant lies.
    """
    choice = moments.plan.policy.ambiguous
    if not moments.spans or choice == "quarantine":
        return text
    shifts, stars = ["0"], ["''"]
    for span in moments.spans:
        width = round((span.earlier - span.later).total_seconds())
        shift = 0 if span.fold else -width if choice == "earlier" else width
        shifts += [str(shift), "0"]
        stars += ["'*'" if span.fold and choice == "earlier" else "''", "''"]
    index = f"1 + {moments.index(q)}"
    moved = trimmed(
        f"DATE_ADD({q}, INTERVAL CAST(ELT({index}, {', '.join(shifts)}) AS SIGNED) SECOND)",
        moments.fsp,
    )
    odd = f"CONCAT({moved}, ELT({index}, {', '.join(stars)}))"
    return f"IF(MOD({moments.index(q)}, 2) = 1, {odd}, {text})"


def _datetime_wire(moments: Moments, code: int, meta: int) -> Wire:
    plan = moments.plan
    if code == layout.DATETIME and not moments.fsp:
        name = own(plan, "moment")
        return Wire("q", "%b", f"{name}({{v}})", {name: _old_datetime(moments)})
    if code != layout.DATETIME2 or meta != moments.fsp:
        raise mismatch(plan, code)
    parts = Fractions(meta)
    if moments.plain:
        n, parse, days, clocks = (own(plan, word) for word in ("n", "parse", "days", "clocks"))
        day = f"{days}[({n} := {parse}({{v}}, 'big')) >> {17 + parts.bits}]"
        clock = f"{clocks}[{n} >> {parts.bits} & 131071]"
        names = {parse: int.from_bytes, days: _DAYS, clocks: _CLOCKS}
        return _joined(plan, 5, parts, day, clock, n, names)
    name = own(plan, "moment")
    return Wire(f"{5 + parts.size}s", "%b", f"{name}({{v}})", {name: _new_datetime(moments, parts)})


def _timestamp_wire(moments: Moments, code: int, meta: int) -> Wire:
    plan = moments.plan
    name = own(plan, "moment")
    zero = moments.text
    if code == layout.TIMESTAMP and not moments.fsp:

        def old(seconds: int) -> bytes:
            if not seconds:
                return zero(0, 0, 0, b"00:00:00")
            return _EPOCH_DAYS[seconds // 86400] + _SECONDS[seconds % 86400]

        return Wire("I", "%b", f"{name}({{v}})", {name: old})
    if code != layout.TIMESTAMP2 or meta != moments.fsp:
        raise mismatch(plan, code)
    parts = Fractions(meta)
    n, parse, days, clocks = (own(plan, word) for word in ("n", "parse", "days", "clocks"))
    day = f"{days}[({n} := {parse}({{v}}, 'big')) // {86400 << parts.bits}]"
    clock = f"{clocks}[({n} >> {parts.bits}) % 86400]"
    names: dict[str, object] = {parse: int.from_bytes, days: _EPOCH_DAYS, clocks: _SECONDS}
    wire = _joined(plan, 4, parts, day, clock, n, names)
    nothing = own(plan, "zero")
    zeros = bytes(4 + parts.size)
    empty = b"00:00:00" + parts.text(0)
    return Wire(
        wire.struct,
        "%b",
        f"({wire.expression} if {{v}} != {nothing} else {name}(0, 0, 0, {nothing}_text))",
        {**wire.names, nothing: zeros, f"{nothing}_text": empty, name: zero},
    )


def _joined(
    plan: ColumnPlan,
    size: int,
    parts: Fractions,
    day: str,
    clock: str,
    n: str,
    names: dict[str, object],
) -> Wire:
    """Date, time and fraction looked up and put together."""
    fraction, more = fraction_expression(plan, parts, n)
    return Wire(f"{size + parts.size}s", "%b", f"({day} + {clock}{fraction})", {**names, **more})


def _new_datetime(moments: Moments, parts: Fractions) -> Callable[[bytes], bytes]:
    def decode(value: bytes) -> bytes:
        bits = int.from_bytes(value, "big")
        clock = _CLOCKS[bits >> parts.bits & 131071] + parts.text(bits & parts.mask)
        return moments.text(*packed_date(bits >> (17 + parts.bits)), clock=clock)

    return decode


def _old_datetime(moments: Moments) -> Callable[[int], bytes]:
    def decode(value: int) -> bytes:
        day, clock = divmod(value, 1_000_000)
        text = b"%02d:%02d:%02d" % (clock // 10000, clock // 100 % 100, clock % 100)
        return moments.text(day // 10000, day // 100 % 100, day % 100, clock=text)

    return decode


def _printed(plan: ColumnPlan, convert: Callable[[str], str], schema: str) -> EventValue:
    name = own(plan, "moment")
    schemas = frozenset({f"string:io.debezium.time.{schema}"})
    text = plain = careful = f"{name}({{v}})"
    form = CALL
    if not Moments(plan).zone:
        # Nearly all are of this form: no digit of the fraction is a trailing zero.
        length = 20 + bool(plan.source.fsp) + plan.source.fsp
        usual = f"len({{v}}) == {length} and {{v}}[10] == 'T' and {{v}}[{length - 1}] == 'Z'"
        apart = f"{{v}}[:10] + ' ' + {{v}}[11:{length - 1}]"
        plain = f"({apart} if {usual} else {text})"
        safe = "{v}.isprintable() and '\\\\' not in {v}"
        careful = f"({apart} if {usual} and {safe} else {text})"
        form = Form("utc", length)
    return EventValue(str, plain, {name: convert}, careful, schemas=schemas, form=form)


def _printed_text(moments: Moments) -> Callable[[str], str]:
    """A function from ``2024-01-31T12:00:00.5Z`` to COPY text; raises ValueError."""
    fsp = moments.fsp

    def convert(value: str) -> str:
        match = _ISO.fullmatch(value)
        if not match:
            raise ValueError(f"{value!r:.40} is no time in UTC")
        # How many zeros end a fraction differs between snapshot and stream.
        fraction = (match[3] or "").rstrip("0")
        if len(fraction) > fsp:
            raise ValueError(f"{value!r:.40} has more than {fsp} digits of a second")
        text = f"{match[1]} {match[2]}"
        if fsp:
            text += f".{fraction:0<{fsp}}"
        return moments.zoned(text.encode()).decode() if moments.zone else text

    return convert


def _counted(moments: Moments, settings: EventSettings) -> EventValue:
    """A DATETIME as a number since 1970."""
    plan, fsp = moments.plan, moments.fsp
    schema, unit = _unit(plan, settings)
    names: dict[str, object]
    days, clocks = own(plan, "days"), own(plan, "clocks")
    step = unit // 10**fsp
    names = {days: _EVENT_DAYS, clocks: EventClocks(1 if fsp else unit)}
    text = f"{days}[{{v}} // {86400 * unit}]"
    if not fsp:
        text += f" + {clocks}[{{v}} % {86400 * unit}]"
    else:
        text += f" + {clocks}[{{v}} // {unit} % 86400]"
        part = f"{{v}} % {unit} // {step}" if step > 1 else f"{{v}} % {unit}"
        if fsp <= _TABLED:
            fractions = own(plan, "fractions")
            names[fractions] = tuple(f".{part:0{fsp}d}" for part in range(10**fsp))
            text += f" + {fractions}[{part}]"
        else:
            text += f" + '.%0{fsp}d' % ({part})"
    if moments.zone:
        name = own(plan, "moment")
        names[name] = moments.zoned
        text = f"{name}(({text}).encode()).decode()"
    form = CALL if moments.zone else Form("since", unit, fsp)
    return EventValue(int, f"({text})", names, schemas=frozenset({schema}), form=form)


def _unit(plan: ColumnPlan, settings: EventSettings) -> tuple[str, int]:
    """Type in embedded schemas, and units a second."""
    fine = plan.source.fsp > _MILLISECONDS
    if settings.time == "connect":
        if fine:
            raise lost(plan, "time.precision.mode=connect cuts it to milliseconds")
        return "int64:org.apache.kafka.connect.data.Timestamp", 1000
    if settings.time == "nanoseconds":
        return "int64:io.debezium.time.NanoTimestamp", 1_000_000_000
    if settings.time == "microseconds" or fine:
        return "int64:io.debezium.time.MicroTimestamp", 1_000_000
    return "int64:io.debezium.time.Timestamp", 1000
