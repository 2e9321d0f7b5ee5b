"""DATE, and the calendar that every dated type shares.

MySQL stores dates that no calendar has: 0000-00-00, 2020-00-15, 2020-02-31 (ALLOW_INVALID_DATES),
and the year 0, which PostgreSQL does not know. They all follow the column's zero_date policy.

Debezium counts days since 1970 (or prints the date, with a Z behind it) and knows none of these
dates: it makes NULL of a zero date, 1970-01-01 where the column is NOT NULL, and fails at others.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Sequence
from datetime import date

from bridge.errors import BadValue
from bridge.types import layout
from bridge.types.base import NULL, ColumnPlan, Family, Proposal, SourceColumn, Wire
from bridge.types.copytext import literal, never_null, own
from bridge.types.events import EventSettings, EventValue, Form
from bridge.types.integers import mismatch
from bridge.types.target import refuse, refuse_policy, target_of

ZERO_DATE_POLICIES = ("quarantine", "as-null", "sentinel:")
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_DAY = date.max.toordinal() - _EPOCH_DAY
_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\dZ")
_SENTINEL = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?: ([01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?)?")


def impossible(q: str) -> str:
    """MySQL condition without warnings: the value's date is one that no calendar has.

    FROM_DAYS(TO_DAYS(…)) is only asked where it can matter and never for a partial date.
    """
    return (
        f"(MONTH({q}) = 0 OR DAYOFMONTH({q}) = 0 OR YEAR({q}) = 0"
        f" OR (DAYOFMONTH({q}) > 28 AND DAYOFMONTH(FROM_DAYS(TO_DAYS({q}))) <> DAYOFMONTH({q})))"
    )


def possible(year: int, month: int, day: int) -> bool:
    """Whether the calendar has the date, in the years 1 to 9999."""
    return 1 <= month <= 12 and year >= 1 and 1 <= day <= monthrange(year, month)[1]


def bad_date(text: bytes) -> BadValue:
    """The error for a date that no calendar has."""
    return BadValue("zero-date", text.decode())


def sentinel(plan: ColumnPlan) -> str:
    """The policy's replacement of impossible dates, '' if it has none."""
    word, _, value = plan.policy.zero_date.partition(":")
    return value.strip() if word == "sentinel" else ""


def refuse_zero_date(plan: ColumnPlan, *, with_time: bool, infinite: bool = True) -> str:
    """Why the zero_date policy does not work for the column, '' if it does."""
    text = target_of(plan).is_text
    why = refuse_policy(plan, "zero_date", (*ZERO_DATE_POLICIES, *(("as-text",) if text else ())))
    value = sentinel(plan)
    if why or not plan.policy.zero_date.startswith("sentinel:"):
        return why
    if value in ("infinity", "-infinity"):
        return "" if infinite else f"zero_date: {value} is no time of a zone"
    match = _SENTINEL.fullmatch(value)
    if not match or not possible(*(int(part) for part in match.groups()[:3])):
        return f"zero_date: “{value}” is no date; write it as sentinel:1970-01-01"
    if match[4] and not with_time:
        return f"zero_date: “{value}” has a time, the column has none"
    return ""


def replaced(plan: ColumnPlan, condition: str, text: str, value: str) -> str:
    """MySQL expression: `text`, or by the policy NULL or `value` where the condition holds."""
    if plan.policy.zero_date == "as-null":
        return f"IF({condition}, NULL, {text})"
    if value:
        return f"IF({condition}, {literal(value)}, {text})"
    return text


def quarantined(plan: ColumnPlan) -> bool:
    """Whether impossible dates go to quarantine: a text target holds them as they are."""
    return plan.policy.zero_date == "quarantine" and not target_of(plan).is_text


class DateTexts(dict[bytes, bytes]):
    """Three bytes of a DATE (day 5 bits, month 4, year 15, little-endian) → its COPY text."""

    def __init__(self, plan: ColumnPlan) -> None:
        super().__init__()
        self._plan = plan

    def __missing__(self, value: bytes) -> bytes:
        bits = int.from_bytes(value, "little")
        text = convert(self._plan, bits >> 9, bits >> 5 & 15, bits & 31)
        self[value] = text
        return text


class EventDays(dict[int, str]):
    """Days since 1970 → ``2024-01-31``, with `end` behind it; BadValue beyond the calendar."""

    def __init__(self, end: str = "") -> None:
        super().__init__()
        self._end = end

    def __missing__(self, day: int) -> str:
        if not -_EPOCH_DAY < day <= _LAST_DAY:
            raise BadValue("out-of-range", f"day {day} since 1970-01-01")
        text = date.fromordinal(_EPOCH_DAY + day).isoformat() + self._end
        self[day] = text
        return text


def iso_day(text: str) -> str:
    """The day of ``2024-01-31Z``; raises ValueError."""
    if not _ISO_DAY.fullmatch(text):
        raise ValueError(f"{text!r:.40} is no date")
    return text[:10]


def convert(plan: ColumnPlan, year: int, month: int, day: int) -> bytes:
    """COPY text of a date under the column's policy; raises BadValue."""
    text = b"%04d-%02d-%02d" % (year, month, day)
    if possible(year, month, day):
        return text
    if plan.policy.zero_date == "as-null":
        return NULL
    if sentinel(plan):
        return sentinel(plan).encode()
    if target_of(plan).is_text:
        return text
    raise bad_date(text)


class Dates(Family):
    """Days."""

    names = frozenset({"date"})

    def proposals(self, column: SourceColumn) -> Sequence[Proposal]:
        """See Family."""
        return (Proposal("date"), Proposal("text", "keeps dates that no calendar has"))

    def accepts(self, plan: ColumnPlan) -> str:
        """See Family."""
        target = target_of(plan)
        if target.base != "date" and not (target.is_text and (target.limit or 10) >= 10):
            return refuse(plan, "date, text")
        return refuse_zero_date(plan, with_time=False)

    def copy_text(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return replaced(plan, impossible(q), q, sentinel(plan))

    def bad(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return never_null(plan, impossible(q)) if quarantined(plan) else ""

    def raw(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return q

    def from_raw(self, plan: ColumnPlan, value: bytes) -> bytes:
        """See Family."""
        return convert(plan, *map(int, value.split(b"-")))

    def wire(self, plan: ColumnPlan, code: int, meta: int) -> Wire:
        """See Family."""
        if code not in (layout.DATE, layout.NEWDATE):
            raise mismatch(plan, code)
        name = own(plan, "date")
        return Wire("3s", "%b", f"{name}[{{v}}]", {name: DateTexts(plan)})

    def event(self, plan: ColumnPlan, settings: EventSettings) -> EventValue:
        """See Family."""
        name = own(plan, "date")
        if settings.time == "isostring":
            schemas = frozenset({"string:io.debezium.time.IsoDate"})
            return EventValue(str, f"{name}({{v}})", {name: iso_day}, schemas=schemas)
        known = (
            "org.apache.kafka.connect.data" if settings.time == "connect" else "io.debezium.time"
        )
        schemas = frozenset({f"int32:{known}.Date"})
        names: dict[str, object] = {name: EventDays()}
        return EventValue(int, f"{name}[{{v}}]", names, schemas=schemas, form=Form("day"))

    def digest_source(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return self.copy_text(plan, q)

    def digest_target(self, plan: ColumnPlan, q: str) -> str:
        """See Family."""
        return f"{q}::text"
