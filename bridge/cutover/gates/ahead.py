"""Gates about what the switch and the time after it need. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.cutover.gates.base import Gate, Problem, of_problems
from bridge.cutover.gates.facts import Facts, Limits, Statistics

_FRESH_ROWS = 1_000
_FRESH_SHARE = 0.2
"""Statistics are fresh until so many rows, and so large a part of them, changed. Autovacuum's own
rule is 50 rows and a tenth (manual, autovacuum_analyze_scale_factor), but it comes once a minute:
a table that is written to must not close the gate whenever its turn is near."""


def reverse(facts: Facts, _: Limits) -> Gate:
    """The way back can be made, and is permitted."""
    return _looked("reverse", facts.reverse)


def representable(facts: Facts, _: Limits) -> Gate:
    """MySQL could hold every row of the target."""
    return _looked("representable", facts.representable)


def fence(facts: Facts, _: Limits) -> Gate:
    """The group's fence is permitted."""
    return _looked("fence", facts.fence)


def _looked(name: str, problems: tuple[Problem, ...] | None) -> Gate:
    if problems is None:
        return Gate(name, None, {}, "nobody has looked", "dbbridge cutover plan")
    return of_problems(name, problems, {})


def planner(facts: Facts, _: Limits) -> Gate:
    """PostgreSQL's planner is ready: statistics are fresh, indexes there and valid."""
    evidence = {
        "tables": [
            {
                "table": str(s.table),
                "analyzed": s.analyzed,
                "rows_modified": s.modified,
                "invalid": list(s.invalid),
                "indexes_to_build": list(s.missing),
            }
            for s in facts.statistics
        ]
    }
    problems = [one for table in facts.statistics for one in _unready(table)]
    return of_problems("planner", problems, evidence)


def _unready(found: Statistics) -> Iterator[Problem]:
    for name in found.invalid:
        yield Problem(f"index {name} of {found.table} is invalid", f"REINDEX INDEX {name}")
    for name in found.missing:
        yield Problem(
            f"index {name} of {found.table} is not built",
            "dbbridge schema apply --phase indexes",
        )
    if not found.analyzed and found.rows:
        yield Problem(f"{found.table} was never analysed", f"ANALYZE {found.table.postgres}")
    elif found.modified > max(_FRESH_ROWS, _FRESH_SHARE * found.rows):
        yield Problem(
            f"{found.modified} rows of {found.table} changed since it was analysed",
            f"ANALYZE {found.table.postgres}",
        )


def span(facts: Facts, _: Limits) -> Gate:
    """Whether something ties the group to others; a warning, which holds nothing up."""
    evidence = {
        "spans": [
            {
                "kind": one.kind,
                "tables": list(one.tables),
                "groups": list(one.groups),
                "seen_at": one.example,
                "transactions_looks": one.count,
            }
            for one in facts.spans
        ]
    }
    if not facts.spans:
        return Gate("span", True, evidence)
    texts = [
        f"{one.kind.replace('-', ' ')} over {', '.join(one.tables)}"
        + (f" ({one.count} seen)" if one.kind == "transaction" else "")
        for one in facts.spans[:3]
    ]
    others = sorted({group for one in facts.spans for group in one.groups} - {facts.group})
    missing = f"{'; '.join(texts)}: what is in {', '.join(others)} stays on the other side"
    return Gate("span", True, evidence, missing, "dbbridge cutover plan --group …")
