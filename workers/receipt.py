"""What becomes of a message whose end cannot be told to the broker.

Celery logs it and goes on. Yet while all processes of a worker are busy, nothing listens to the
broker, so nobody else notices that it is gone; each message that stays open keeps its place among
those that may be under way, and a worker whose places are all lost never takes anything again.
"""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request


class Receipt(Request):  # type: ignore[misc]
    """The request of a task; an error while it is acknowledged or rejected ends the connection.

    The consumer then begins a new one, with all its places.
    """

    def __init__(self, message: Any, **options: Any) -> None:
        # These are the errors that would be logged and forgotten.
        super().__init__(message, **{**options, "connection_errors": ()})
