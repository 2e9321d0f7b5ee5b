"""What about a table forbids that changes come back to it, and what it would lose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bridge.mapping.plan import TablePlan
from bridge.types.base import Policy

_DEFAULT = Policy()
_LOSSY = ("zero_date", "out_of_range", "nul", "invalid")


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing, and what to do; with `refuses` a switch must not be made."""

    message: str
    hint: str
    refuses: bool = True


def obstacles(plan: TablePlan) -> Iterator[Obstacle]:
    """All of a table."""
    source = plan.source
    if plan.table.engine.lower() != "innodb":
        yield Obstacle(
            f"{source} is a table of {plan.table.engine}, which keeps no transactions",
            f"ALTER TABLE {source.mysql} ENGINE=InnoDB",
        )
    if plan.where:
        yield Obstacle(
            f"{source} is carried in part: a new row of the target could have the key of one that"
            " stayed behind",
            "carry all of its rows, or leave the table out of the group",
        )
    yield from _columns_of_source(plan)
    for column in plan.columns:
        changed = [name for name in _LOSSY if getattr(column.policy, name) != "quarantine"]
        if changed and column.policy != _DEFAULT:
            yield Obstacle(
                f"{source}: {column.source.name} is carried with {', '.join(changed)}: a row that"
                " is changed in the target comes back with what stands there for such values",
                "fix these values in the source before the switch",
                refuses=False,
            )


def _columns_of_source(plan: TablePlan) -> Iterator[Obstacle]:
    carried = {column.source.name for column in plan.columns}
    for column in plan.key_columns:
        if column.source.generated:
            yield Obstacle(
                f"{plan.source}: the key's column {column.source.name} is generated",
                "leave the table out of the group",
            )
    for only in plan.table.columns:
        if only.name in carried or only.generated or only.auto_increment:
            continue
        if not only.nullable and only.default is None:
            yield Obstacle(
                f"{plan.source}: column {only.name} is not carried, and has no default for new"
                " rows",
                f"give {only.name} a default in the source, or carry it",
            )
