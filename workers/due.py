"""When a verification is due by the settings' schedule."""

from __future__ import annotations

from datetime import UTC, datetime

from celery.schedules import crontab

from bridge.config.models import ScheduleSettings


def is_due(schedule: ScheduleSettings, last: float | None, known_since: float, now: float) -> bool:
    """Whether it is; all times are in seconds since 1970.

    `last`: when the last one began; None for the first: an interval is due at once, a crontab's
    hour when it has come since `known_since`, in UTC.
    """
    if schedule.every is not None:
        return last is None or now - last >= schedule.every
    if not schedule.verify:
        return False
    minute, hour, day, month, weekday = schedule.verify.split()
    at = crontab(
        minute=minute,
        hour=hour,
        day_of_month=day,
        month_of_year=month,
        day_of_week=weekday,
        nowfun=lambda: _utc(now),
    )
    since = known_since if last is None else last
    return bool(at.remaining_estimate(_utc(since)).total_seconds() <= 0)


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
