"""What ending a cutover for good would do, and what is done before there is no way back."""

from __future__ import annotations

import psycopg

from bridge.cutover import objects
from bridge.cutover.attempt import Attempt
from bridge.cutover.plan import Planned
from bridge.cutover.points import passing
from bridge.cutover.transitions import advance
from bridge.cutover.work import Work
from bridge.errors import BridgeError
from bridge.replicate.ops import put_away
from bridge.sink.objects import plan_schema


class NotValid(BridgeError):
    """Rows that were there before a constraint do not obey it; the way back stays."""


def planned(work: Work, *, keep_data: bool) -> list[Planned]:
    """The steps, in their order."""
    targets = [plan.target for plan in work.plans]
    validations = plan_schema(work.target, work.plans, "constraints", targets)
    renames = [put_away(name) for name in work.tables]
    steps = [
        Planned(
            "target-primary",
            "validates constraints for the rows that are there already; the way back stays",
            tuple(step.sql for step in validations),
        ),
        Planned("completing", "removes the way back"),
    ]
    if not keep_data:
        what = "renames the source's tables; nobody drops them but you"
        steps.append(Planned("completing", what, tuple(renames)))
    return steps


def prepare(work: Work, *, keep_data: bool) -> None:
    """Does what may fail while the way back is still there, and keeps what was agreed to.

    Said again while it is under way, the last word counts. Raises IllegalTransition, NotValid.
    """
    if work.attempt.state != "completing":
        advance(work.attempt.state, "complete")
        _validate(work)
        passing("completing.validated")
    decide(work.attempt, put_away=not keep_data)


def decide(attempt: Attempt, *, put_away: bool) -> None:
    """Keeps whether the source's tables are to be renamed, in place of what was said before."""
    with attempt.journal.conn.transaction():
        attempt.forget("put_away")
        attempt.note(put_away=put_away)


def _validate(work: Work) -> None:
    try:
        objects.validate(work.target, work.plans)
    except BridgeError as error:
        if not isinstance(error.__cause__, psycopg.IntegrityError):
            raise
        detail = error.__cause__.diag.message_detail
        raise NotValid(
            f"{error.message} ({detail})" if detail else error.message,
            "mend the rows in the target, then give the command again; the way back stays until"
            " then",
        ) from error
