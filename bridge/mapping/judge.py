"""Findings seen in the light of the mapping: what it settles, and what is wrong with itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from bridge.findings import Finding, finding
from bridge.mapping.columns import lossy
from bridge.mapping.keys import columns_of, stands_in
from bridge.mapping.model import TableMapping
from bridge.mapping.plan import TablePlan
from bridge.types.base import ColumnPlan

_BIGINT_MAX = 2**63 - 1
_DECIDED_BY_DROPPING = ("T", "D")
"""Findings about a column that is not carried concern nobody."""
_TEXTS = ("json", "text", "varchar", "citext")


def mapping_findings(mapping: TableMapping, plan: TablePlan) -> Iterator[Finding]:
    """What is wrong with a mapping that compiles."""
    where = {"table": str(plan.source)}
    plans = {column.source.name: column for column in plan.columns}
    for index in plan.indexes:
        for name in columns_of(index) if index.unique else ():
            policy = lossy(plans[name]) if name in plans else ""
            # Values that become NULL are not equal to each other in a unique index.
            if policy and not policy.endswith("as-null"):
                message = f"{policy}, and unique index {index.name}"
                yield finding("M004", column=name, message=message, **where)
    key = tuple(column.source.name for column in plan.key_columns)
    for index in plan.table.indexes:
        mentioned = index.name in mapping.indexes or index.name in mapping.not_carried
        if not mentioned and not stands_in(plan.table, key, index):
            yield finding("M005", message=f"index {index.name}", **where)


def settle(found: Finding, mapping: TableMapping, plan: TablePlan | None) -> Finding | None:
    """The finding as it stands under the mapping; None if the mapping makes it pointless.

    Rows that would go to quarantine are worth a warning; rows for which the mapping has a policy or
    a type are not.
    """
    entry = mapping.column(found.column) if found.column else None
    if entry is not None and entry.dropped and found.code[0] in _DECIDED_BY_DROPPING:
        return None
    if any(found.message == f"index {name}" for name in mapping.not_carried):
        return None
    columns = plan.columns if plan else ()
    column = next((c for c in columns if c.source.name == found.column), None)
    rule = _RULES.get(found.code)
    if rule is None or column is None:
        return found
    decision = rule(found, column)
    if decision:
        return replace(found, severity="info", hint="", message=f"{found.message} ({decision})")
    return replace(found, severity="warning")


def _policy(name: str) -> Callable[[Finding, ColumnPlan], str]:
    def decided(_found: Finding, column: ColumnPlan) -> str:
        value = str(getattr(column.policy, name))
        return f"{name}: {value}" if value != "quarantine" else ""

    return decided


def _nul_in_json(found: Finding, column: ColumnPlan) -> str:
    holds = column.target_type.partition("(")[0] in _TEXTS
    return f"target {column.target_type}" if holds else _policy("nul")(found, column)


def _held(found: Finding, column: ColumnPlan) -> str:
    """Whether the target's type holds all that was found."""
    base = column.target_type.partition("(")[0]
    beyond = {
        "D011": base == "bigint" and (found.fact or 0) > _BIGINT_MAX,
        "D012": base == "boolean" and bool(found.count),
        "D014": base == "time" and bool(found.count),
    }
    held = f"target {column.target_type}"
    return held if not beyond[found.code] else _policy("out_of_range")(found, column)


_RULES: Mapping[str, Callable[[Finding, ColumnPlan], str]] = {
    "D011": _held,
    "D012": _held,
    "D014": _held,
    "D015": _policy("nul"),
    "D016": _nul_in_json,
    "D017": _policy("zero_date"),
}
"""Why the rows found are no trouble; '' if they are."""
