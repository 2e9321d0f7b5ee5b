"""Settings of the Celery application, and when a verification is due."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.config import Settings, load
from bridge.config.models import ScheduleSettings
from bridge.errors import ConfigError
from workers.app import LIMIT_SECONDS, VISIBILITY_SECONDS, make_app, options
from workers.due import is_due
from workers.names import COPY, FINISH, FOLLOW, START, SWEEP
from workers.tasks import TASK_SECONDS

FILE = """\
databases:
  legacy: {url: "mysql://u@h/shop"}
  main: {url: "postgresql://u@h/shop"}
pipeline: {source: legacy, target: main}
"""
BROKER = """\
celery:
  broker: "rediss://:${REDIS_PASSWORD}@r1/2"
  tls: {ca: redis.pem}
  schedule: {follow: 20}
"""


def settings(folder: Path, text: str) -> Settings:
    path = folder / "bridge.yaml"
    path.write_text(text)
    return load(path, {"REDIS_PASSWORD": "p@ss"})


def test_the_application(tmp_path: Path) -> None:
    app = make_app(settings(tmp_path, FILE + BROKER))
    conf = app.conf
    assert conf.broker_url == "rediss://:p%40ss@r1:6379/2"
    assert conf.broker_use_ssl["ssl_check_hostname"] is True
    assert (conf.task_serializer, conf.accept_content) == ("json", ["json"])
    assert conf.result_backend is None
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost) == (True, True)
    assert conf.worker_prefetch_multiplier == 1
    assert {SWEEP, FOLLOW, START, FINISH, COPY} <= set(app.tasks)
    assert [queue.name for queue in conf.task_queues] == [
        "dbbridge.shop",
        "dbbridge.shop.rounds",
        "dbbridge.shop.copy",
    ]
    assert conf.beat_schedule["follow"]["schedule"].total_seconds() == 20
    assert all(each["options"]["expires"] for each in conf.beat_schedule.values())


def test_no_task_outlives_the_time_after_which_its_message_comes_back() -> None:
    assert TASK_SECONDS < LIMIT_SECONDS < VISIBILITY_SECONDS


def test_without_a_broker(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no broker"):
        options(settings(tmp_path, FILE))


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


SUNDAYS = "0 3 * * sun"


@pytest.mark.parametrize(
    ("verify", "last", "now", "due"),
    [
        ("", None, "2026-03-01 03:00", False),
        ("6h", None, "2026-03-01 03:00", True),
        ("6h", "2026-03-01 03:00", "2026-03-01 08:59", False),
        ("6h", "2026-03-01 03:00", "2026-03-01 09:00", True),
        # A Saturday night; the worker is known since noon.
        (SUNDAYS, None, "2026-02-28 23:00", False),
        (SUNDAYS, None, "2026-03-01 03:01", True),
        (SUNDAYS, "2026-03-01 03:01", "2026-03-07 23:00", False),
        (SUNDAYS, "2026-03-01 03:01", "2026-03-08 03:00", True),
        # Nobody was there at the hour: it is made up for.
        (SUNDAYS, "2026-02-22 03:00", "2026-03-02 12:00", True),
    ],
)
def test_what_is_due(verify: str, last: str | None, now: str, due: bool) -> None:
    before = None if last is None else at(last)
    known_since = at("2026-02-28 12:00")
    assert is_due(ScheduleSettings(verify=verify), before, known_since, at(now)) is due
