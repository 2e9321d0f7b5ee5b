"""What tasks and queues are called, for those who send and those who take."""

from __future__ import annotations

SWEEP = "dbbridge.sweep"
FOLLOW = "dbbridge.follow"
START = "dbbridge.start"
FINISH = "dbbridge.finish"
COPY = "dbbridge.copy"


def queue_of(pipeline: str) -> str:
    """Where the parts of its runs wait."""
    return f"dbbridge.{pipeline}"


def rounds_of(pipeline: str) -> str:
    """Where what comes round waits, so that it does not stand behind a thousand parts."""
    return f"dbbridge.{pipeline}.rounds"


def copies_of(pipeline: str) -> str:
    """Where calls to read chunks of a copy wait, so that they stand behind no verification."""
    return f"dbbridge.{pipeline}.copy"
