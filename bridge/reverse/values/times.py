"""Days, wall-clock times, instants, lengths of time."""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from bridge.reverse.values.base import Constant, Unheld, quoted
from bridge.types.base import ColumnPlan
from bridge.types.dates import sentinel
from bridge.types.datetimes import Moments
from bridge.types.target import target_of

_DAY = r"\d{4}-(?:0\d|1[0-2])-(?:[0-2]\d|3[01])"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_FIRST, _LAST = b"1970-01-01 00:00:01", b"2038-01-19 03:14:07.999999"
"""What a TIMESTAMP holds (manual, "The DATE, DATETIME, and TIMESTAMP Types")."""
_UTC = b"+00"
_LETTER_C, _DASH = b"C-"
_TODAY_DIGITS = 10
ZERO_DAY = b"0000-00-00"
ZERO_TIME = b"0000-00-00 00:00:00"
_LONGEST = b"838:59:59"


def zero(plan: ColumnPlan) -> bytes:
    """What a zero date is in the column."""
    return ZERO_DAY if plan.source.data_type == "date" else ZERO_TIME


def dates(plan: ColumnPlan) -> Constant:
    """DATE. The sentinel stands for the zero date."""
    if target_of(plan).is_text:
        return _matching(re.compile(_DAY.encode()))
    stand_in = sentinel(plan).encode()

    def constant(text: bytes) -> bytes:
        if text == stand_in:
            return quoted(ZERO_DAY)
        # Other lengths: infinity, years of five digits, BC.
        if len(text) != _TODAY_DIGITS:
            raise Unheld("out-of-range", text)
        return b"'%b'" % text

    return constant


def datetimes(plan: ColumnPlan) -> Constant:
    """DATETIME and TIMESTAMP."""
    target = target_of(plan)
    if target.is_text:
        return _printed(plan)
    moments = Moments(plan)
    if moments.zone:
        return _zoned(moments)
    zoned = target.base == "timestamptz"
    within = _within_timestamp if plan.source.data_type == "timestamp" else None
    stand_in = _shortest(moments.sentinel).encode()
    longest = _longest(plan)

    def constant(text: bytes) -> bytes:
        plain = text[:-3] if zoned and text.endswith(_UTC) else text
        if stand_in and plain == stand_in:
            return quoted(ZERO_TIME)
        if not _ordinary(plain, longest) or (within and not within(plain)):
            raise Unheld("out-of-range", text)
        return b"'%b'" % plain

    return constant


def times(plan: ColumnPlan) -> Constant:
    """TIME. Days, months and years of an interval are not hours."""
    fsp = plan.source.fsp
    target = target_of(plan)
    if target.is_text:
        fraction = f"\\.\\d{{{fsp}}}" if fsp else ""
    else:
        fraction = f"(?:\\.\\d{{1,{fsp}}})?" if fsp else ""
    hours = r"\d\d" if target.base == "time" else r"-?\d{2,3}"
    pattern = re.compile(f"{hours}:[0-5]\\d:[0-5]\\d{fraction}".encode())

    def constant(text: bytes) -> bytes:
        size = text.lstrip(b"-")
        if (
            pattern.fullmatch(text) is None
            or (len(size.partition(b":")[0]) == 3 and size.rstrip(b"0.") > _LONGEST)
            or (target.base == "time" and size >= b"24")
        ):
            raise Unheld("out-of-range", text)
        return b"'%b'" % text

    return constant


def _ordinary(text: bytes, longest: int) -> bool:
    """Whether PostgreSQL's text of a timestamp is of the years 1 to 9999, with so many digits.

    Others are infinity, years of five digits, and BC, which stands behind.
    """
    return 19 <= len(text) <= longest and text[4] == _DASH and text[-1] != _LETTER_C


def _longest(plan: ColumnPlan) -> int:
    return 20 + plan.source.fsp if plan.source.fsp else 19


def _shortest(value: str) -> str:
    """A sentinel as PostgreSQL prints it."""
    return value.rstrip("0").rstrip(".") if "." in value else value


def _within_timestamp(text: bytes) -> bool:
    return _FIRST <= text <= _LAST


def _printed(plan: ColumnPlan) -> Constant:
    """Text that has to be what MySQL prints."""
    fsp = plan.source.fsp
    fraction = f"\\.\\d{{{fsp}}}" if fsp else ""
    constant = _matching(re.compile(f"{_DAY} {_CLOCK}{fraction}".encode()))
    if plan.source.data_type == "datetime":
        return constant

    def timestamp(text: bytes) -> bytes:
        if not _within_timestamp(text) and text[:19] != ZERO_TIME:
            raise Unheld("out-of-range", text)
        return constant(text)

    return timestamp


def _zoned(moments: Moments) -> Constant:
    """An instant as the wall-clock time that would become it; the zone's odd times by policy."""
    zone = ZoneInfo(moments.zone)
    stand_in = moments.sentinel
    fsp = moments.fsp

    def constant(text: bytes) -> bytes:
        match = _INSTANT.fullmatch(text)
        if match is None or len(match[3] or b"") > fsp + bool(fsp):
            raise Unheld("out-of-range", text)
        year = 1 - int(match[1]) if match[4] else int(match[1])
        wall, offset = _wall_clock(year, match[2].decode(), zone)
        if wall is None:
            raise Unheld("out-of-range", text)
        index = bisect_right(moments.edges, int(re.sub(r"\D", "", wall)))
        if index & 1:
            span = moments.spans[index // 2]
            choice = moments.plan.policy.ambiguous
            if choice == "quarantine" or offset != getattr(span, choice):
                raise Unheld("ambiguous-time", text)
        if wall == stand_in[:19]:
            return quoted(ZERO_TIME)
        return b"'%b%b'" % (wall.encode(), match[3] or b"")

    return constant


_INSTANT = re.compile(rb"(\d{4,5})(-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d+)?\+00( BC)?")
_CYCLE = 400
"""Years after which the calendar repeats itself."""


def _wall_clock(year: int, rest: str, zone: ZoneInfo) -> tuple[str | None, timedelta | None]:
    """What the zone's clocks show (None: outside the years 1 to 9999), and their offset.

    Around the edges of Python's years it is computed a cycle away; zones are at rest there.
    """
    shift = _CYCLE if year < _CYCLE else -_CYCLE if year > _LAST_YEAR - _CYCLE else 0
    if not 0 <= year <= _LAST_YEAR + 1:
        return None, None
    instant = datetime.fromisoformat(f"{year + shift:04d}{rest}+00:00").astimezone(zone)
    wall = instant.year - shift
    if not 1 <= wall <= _LAST_YEAR:
        return None, None
    return f"{wall:04d}{instant:-%m-%d %H:%M:%S}", instant.utcoffset()


_LAST_YEAR = 9999


def _matching(pattern: re.Pattern[bytes]) -> Constant:
    def constant(text: bytes) -> bytes:
        if pattern.fullmatch(text) is None:
            raise Unheld("out-of-range", text)
        return b"'%b'" % text

    return constant
