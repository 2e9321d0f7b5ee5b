"""How long writers will wait, measured beforehand on the servers that it is about."""

from __future__ import annotations

import time
from typing import Any

import pymysql
from pymysql.constants import ER

from bridge.cutover import objects
from bridge.cutover.fences.permissions import DENIED
from bridge.cutover.plan import fence_statements
from bridge.cutover.work import POLL_SECONDS, Work
from bridge.replicate.ops import marker
from bridge.store.state import read_pipeline

PINGS = 3
PATIENCE_SECONDS = 2.0
STATEMENT_SECONDS = 0.002
"""What a statement on a catalogue takes beside its way there and back."""


def predict(work: Work, direction: str) -> float:
    """Seconds that writers of the group will be kept out.

    The stream's way is measured by markers that say nothing, the final check by a round of it; the
    statements of fence and schema are counted. Of several looks the shortest counts: writers, who
    make the others longer, wait meanwhile.
    """
    here, there = _source_trip(work), _target_trip(work)
    check = work.checker.foretell(back=direction == "reverse")
    drain = _stream_trip(work)
    on_source, on_target = _statements(work, direction)
    statements = on_source * (here + STATEMENT_SECONDS) + on_target * (there + STATEMENT_SECONDS)
    return drain + check + statements


def _statements(work: Work, direction: str) -> tuple[int, int]:
    """How many there are on the source and on the target."""
    generated = sum(c.source.auto_increment for plan in work.plans for c in plan.columns)
    constraints = len(objects.wanted(work.target, work.plans))
    if direction == "reverse":
        constraints = len(work.attempt.evidence.get("constraints", []))
        return 12 + 6 * generated, 12 + 2 * len(work.tables) + constraints
    fence = len(fence_statements(work))
    return 25 + fence + 2 * generated, 25 + 3 * generated + constraints


def _source_trip(work: Work) -> float:
    with work.source.cursor() as cursor:
        return _shortest(lambda: cursor.execute("SELECT 1"))


def _target_trip(work: Work) -> float:
    return _shortest(lambda: work.target.execute("SELECT 1"))


def _shortest(act: Any) -> float:
    times = []
    for _ in range(5):
        began = time.monotonic()
        act()
        times.append(time.monotonic() - began)
    return min(times)


def _stream_trip(work: Work) -> float:
    """From a commit on the source until the stream has passed it."""
    took = []
    for _ in range(PINGS):
        _ping(work)
        end = work.fence_position()
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE_SECONDS:
            state = read_pipeline(work.target, work.pipeline)
            if state and state.position and state.position.past(end):
                break
            time.sleep(POLL_SECONDS)
        took.append(time.monotonic() - began)
    return min(took)


def _ping(work: Work) -> None:
    """A marker that says nothing; none before its table was made, or without the right to it."""
    try:
        with work.source.cursor() as cursor:
            cursor.execute(*marker(work.database, "ping", ()))
    except pymysql.err.MySQLError as error:
        if error.args[0] not in (ER.NO_SUCH_TABLE, *DENIED):
            raise
