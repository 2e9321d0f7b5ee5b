"""What ending a cutover for good would do."""

from __future__ import annotations

from bridge.cutover.plan import Planned
from bridge.cutover.work import Work
from bridge.replicate.ops import put_away
from bridge.sink.objects import plan_schema


def planned(work: Work, *, keep_data: bool) -> list[Planned]:
    """The steps, in their order."""
    targets = [plan.target for plan in work.plans]
    validations = plan_schema(work.target, work.plans, "constraints", targets)
    renames = [put_away(name) for name in work.tables]
    steps = [
        Planned(
            "completing",
            "validates constraints for the rows that are there already, then removes the way back",
            tuple(step.sql for step in validations),
        )
    ]
    if not keep_data:
        what = "renames the source's tables; nobody drops them but you"
        steps.append(Planned("completing", what, tuple(renames)))
    return steps
