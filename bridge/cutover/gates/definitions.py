"""Whether the tables on both sides are those that the pipeline works with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bridge.cutover.gates.base import Problem
from bridge.cutover.gates.facts import Definitions
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.sink.existing import Existing
from bridge.sink.objects import TargetDiffers, missing
from bridge.sink.shape import differences
from bridge.verify.tables import Followed, Unfit


def definitions(tables: Iterable[Followed | Unfit], existing: Existing) -> Definitions:
    """The source's definitions as they are now, and what does not fit them."""
    found = list(tables)
    prints = {t.name: t.plan.table.fingerprint for t in found if isinstance(t, Followed)}
    return Definitions(prints, tuple(_problems(found, existing)))


def _problems(tables: Sequence[Followed | Unfit], existing: Existing) -> Iterator[Problem]:
    for table in tables:
        if isinstance(table, Unfit):
            yield Problem(f"{table.name}: {table.verdict.reason}", table.verdict.hint)
            continue
        if table.mapping != table.state.version:
            yield Problem(
                f"{table.name}: its mapping file says otherwise than what was applied",
                f"dbbridge tables resync {table.name.word}, or change the file back",
            )
        if table.plan.target not in existing.relations:
            yield Problem(f"the target has no table {table.plan.target}", "dbbridge schema apply")
        for one in differences(existing, table.plan):
            column = f".{one.column}" if one.column else ""
            yield Problem(f"{one.table}{column}: {one.message}", one.hint)


def missing_indexes(existing: Existing, plans: Sequence[TablePlan]) -> dict[TableName, list[str]]:
    """Indexes of the mapping that the target does not have, by the target's tables."""
    found: dict[TableName, list[str]] = {}
    for plan in plans:
        try:
            steps = missing(existing, [plan], "indexes")
        except TargetDiffers:
            continue  # the gate `schema` tells
        if steps:
            found[plan.target] = [step.name for step in steps]
    return found
