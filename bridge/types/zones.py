"""Wall-clock times that a time zone has twice or never.

At each change of a zone's offset, from `before` to `after`, the wall clock is set back (and a span
of times comes twice) or forward (and a span never comes). PostgreSQL reads a time in such a span,
like every other, with the smaller of the two offsets, which is the later instant
(DetermineTimeZoneOffset in datetime.c: before a gap the old, after a fold the new offset).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_FIRST = datetime(1850, 1, 1, tzinfo=UTC)
_LAST = datetime(2101, 1, 1, tzinfo=UTC)
"""Beyond these, PostgreSQL decides alone."""


@dataclass(frozen=True, slots=True)
class OddSpan:
    """Wall-clock times from `start` to before `end` that come twice (`fold`) or never.

    `earlier` and `later` are the UTC offsets that make the earlier or later instant of them.
    """

    start: datetime
    end: datetime
    earlier: timedelta
    later: timedelta
    fold: bool


def known(zone: str) -> bool:
    """Whether the zone's name is in the time zone database."""
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=32)
def odd_spans(zone: str) -> tuple[OddSpan, ...]:
    """All odd spans of the zone, in order, none overlapping another."""
    info = ZoneInfo(zone)
    spans: list[OddSpan] = []
    moment, before = _FIRST, _offset(info, _FIRST)
    while moment < _LAST:
        then = moment + timedelta(days=1)
        after = _offset(info, then)
        if after != before:
            change = _change(info, moment, then)
            start = change.replace(tzinfo=None) + min(before, after)
            end = change.replace(tzinfo=None) + max(before, after)
            if spans:
                start = max(start, spans[-1].end)
            if start < end:
                fold = after < before
                spans.append(OddSpan(start, end, max(before, after), min(before, after), fold))
        moment, before = then, after
    return tuple(spans)


def _offset(info: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(info).utcoffset() or timedelta()


def _change(info: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The second at which the offset of `low` ends; it is another one at `high`."""
    before = _offset(info, low)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=1) // 2)
        if _offset(info, middle) == before:
            low = middle
        else:
            high = middle
    return high


def offset_text(offset: timedelta) -> str:
    """A UTC offset as PostgreSQL reads it: ``+02:00``, ``-00:44:30``."""
    seconds = round(offset.total_seconds())
    sign = "-" if seconds < 0 else "+"
    hours, rest = divmod(abs(seconds), 3600)
    text = f"{sign}{hours:02d}:{rest // 60:02d}"
    return f"{text}:{rest % 60:02d}" if rest % 60 else text
