"""What tasks and queues are called, for those who send and those who take."""

from __future__ import annotations

SWEEP = "dbbridge.sweep"
FOLLOW = "dbbridge.follow"
START = "dbbridge.start"
FINISH = "dbbridge.finish"


def queue_of(pipeline: str) -> str:
    """Where the parts of its runs wait."""
    return f"dbbridge.{pipeline}"


def rounds_of(pipeline: str) -> str:
    """Where what comes round waits, so that it does not stand behind a thousand parts."""
    return f"dbbridge.{pipeline}.rounds"
