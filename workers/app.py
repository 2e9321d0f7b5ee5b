"""The Celery application of one pipeline, made from its settings.

Celery only says what is to be done next. What is done, and who is at it, stands in PostgreSQL, so
a message that is lost, doubled or late costs time and nothing else.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from celery import Celery
from kombu.entity import Queue

from bridge.config import Settings
from workers import tasks
from workers.bench import Bench
from workers.names import FOLLOW, START, copies_of, queue_of, rounds_of

LIMIT_SECONDS = 600
"""A task over a key that has not ended by then hangs, and its process is ended."""
VISIBILITY_SECONDS = 900
"""A message whose worker was lost comes back after so long: later than any task over a key ends, so
that none is done twice at a time. Whoever waits for the run sends a new one long before."""
TICK_SECONDS = 2.0
"""How often it is looked whether a run is due, or has lost a message."""
SOCKET_SECONDS = 10.0


def make_app(settings: Settings) -> Celery:
    """The application with its tasks; opens nothing. Raises ConfigError."""
    app = Celery(f"dbbridge {settings.name}", set_as_current=False)
    app.conf.update(options(settings))
    tasks.register(app, Bench(settings))
    return app


def options(settings: Settings) -> dict[str, Any]:
    """Celery's settings. Raises ConfigError where no broker is named."""
    broker = settings.broker()
    name = settings.name
    queues = (queue_of(name), rounds_of(name), copies_of(name))
    return {
        "broker_url": broker.url(),
        "broker_use_ssl": broker.ssl_options(),
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_SECONDS,
            "socket_timeout": SOCKET_SECONDS * 3,
            "socket_connect_timeout": SOCKET_SECONDS,
            "socket_keepalive": True,
        },
        "broker_connection_timeout": SOCKET_SECONDS,
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "result_backend": None,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_publish_retry": False,
        "task_time_limit": LIMIT_SECONDS,
        "task_queues": [Queue(queue, routing_key=queue) for queue in queues],
        "task_default_queue": queue_of(name),
        "task_create_missing_queues": False,
        "worker_prefetch_multiplier": 1,
        "worker_enable_remote_control": False,
        # What runs goes on: it is saved, and needs the broker for nothing.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_redirect_stdouts": False,
        "worker_hijack_root_logger": False,
        "enable_utc": True,
        "timezone": "UTC",
        # What is due is known from PostgreSQL, so beat keeps no file.
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_max_loop_interval": TICK_SECONDS,
        "beat_schedule": schedule(settings),
    }


def schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """What beat sends; a message that nobody took before the next one is dropped."""
    rounds, seconds = rounds_of(settings.name), settings.celery.schedule.follow

    def every(task: str, seconds: float, *args: Any) -> dict[str, Any]:
        return {
            "task": task,
            "schedule": timedelta(seconds=seconds),
            "args": args,
            "options": {"queue": rounds, "expires": seconds},
        }

    return {
        "start": every(START, TICK_SECONDS, time.time()),
        "follow": every(FOLLOW, seconds),
    }
