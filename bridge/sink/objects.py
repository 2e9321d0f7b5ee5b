"""What is missing in the target, as steps; and carrying steps out.

Steps come in three phases: tables (with primary keys) before anything is copied, indexes after a
table's copy, constraints when the target takes over. A step that was carried out is not planned
again, so applying twice does nothing the second time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import psycopg

from bridge.databases.postgres import target_error
from bridge.errors import BridgeError
from bridge.findings import Finding, finding
from bridge.mapping.expressions import Untranslatable
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, quote_postgres
from bridge.sink import ddl
from bridge.sink.constraints import Constraint, constraints
from bridge.sink.existing import Connection, Existing, Index, read_existing
from bridge.sink.shape import differences

Phase = Literal["tables", "indexes", "constraints"]
PHASES: tuple[Phase, ...] = ("tables", "indexes", "constraints")


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the target: SQL that is carried out in one transaction, and why."""

    phase: Phase
    name: str
    sql: str
    why: str


class TargetDiffers(BridgeError):
    """The target has something else where a step would make a table or an index."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        first = findings[0]
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        super().__init__(f"{first.table}: {first.message}{more}", first.hint)
        self.findings = tuple(findings)


def plan_schema(
    conn: Connection,
    plans: Sequence[TablePlan],
    phase: Phase = "tables",
    followed: Collection[TableName] = (),
) -> list[Step]:
    """The steps that are missing in the target for a phase, in the order to carry them out.

    Tables that the pipeline made (`followed`) by another plan than this are left as they are.
    The same plans and the same target give the same steps. Raises TargetDiffers, which holds all
    findings, and psycopg's errors.
    """
    ordered = sorted(plans, key=lambda plan: plan.target)
    existing = read_existing(conn, ordered)
    older = {p.target for p in ordered if p.target in followed and differences(existing, p)}
    return missing(existing, [p for p in ordered if p.target not in older], phase)


def missing(existing: Existing, plans: Sequence[TablePlan], phase: Phase) -> list[Step]:
    """`plan_schema` over what was read already, for tables that are none but the plans'."""
    found = [each for plan in plans for each in differences(existing, plan)]
    found += [finding("T032", message=clash) for clash in ddl.name_clashes(plans)]
    if phase != "tables":
        found += [_no_table(plan) for plan in plans if plan.target not in existing.relations]
    steps = list(_STEPS[phase](existing, plans)) if not found else []
    if found:
        raise TargetDiffers(found)
    return steps


def plan_hash(steps: Sequence[Step]) -> str:
    """Twelve hex digits over phases, names and SQL of the steps, in their order."""
    said = [(step.phase, step.name, step.sql) for step in steps]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:12]


def apply_steps(
    conn: Connection, steps: Sequence[Step], progress: Callable[[Step], None] = lambda _: None
) -> None:
    """Carries the steps out one after the other, each in its own transaction.

    `conn` is in autocommit mode; `progress` hears of each step that is done. Raises BridgeError,
    which names the step; those before it stay.
    """
    for step in steps:
        try:
            with conn.transaction():
                conn.execute(step.sql.encode())
        except psycopg.Error as error:
            known = target_error(error)
            message = f"{step.name}: {known.message}"
            raise type(known)(message, known.hint or "the steps before it are done") from error
        progress(step)


def absent(existing: Existing, plans: Sequence[TablePlan]) -> list[Constraint]:
    """Constraints and triggers that the target does not have, under any name."""
    return [wanted for wanted in constraints(plans)[0] if not _found(existing, wanted)[0]]


def _no_table(plan: TablePlan) -> Finding:
    return finding(
        "T030",
        table=str(plan.target),
        message="there is no such table in the target yet",
        hint="dbbridge schema apply",
    )


def _tables(existing: Existing, plans: Sequence[TablePlan]) -> Iterator[Step]:
    for schema in sorted({plan.target.schema for plan in plans} - existing.schemas):
        sql = f"CREATE SCHEMA {quote_postgres(schema)}"
        yield Step("tables", f"schema {schema}", sql, "the mapped tables go there")
    for plan in plans:
        if plan.target not in existing.relations:
            sql = ";\n".join([ddl.table_body(plan), *ddl.comments(plan)])
            yield Step("tables", f"table {plan.target}", sql, f"holds {plan.source}")


def _indexes(existing: Existing, plans: Sequence[TablePlan]) -> Iterator[Step]:
    for plan in plans:
        there = existing.indexes[plan.target]
        for index in plan.indexes:
            try:
                wanted = ddl.index_of(plan, index)
            except Untranslatable:
                continue
            columns = tuple(_target_name(plan, part.column) for part in index.parts)
            plain = not any(part.prefix or part.expression for part in index.parts)
            plain = plain and index.kind == "BTREE"
            if any(_serves(i, wanted.name, index.unique, columns if plain else ()) for i in there):
                continue
            broken = any(each.name == wanted.name for each in there)
            drop = f"DROP INDEX {TableName(plan.target.schema, wanted.name).postgres};\n"
            yield Step(
                "indexes",
                f"index {wanted.name}",
                (drop if broken else "") + wanted.create,
                f"{'unique ' if index.unique else ''}index {index.name} of {plan.source}",
            )


def _serves(there: Index, name: str, unique: bool, columns: tuple[str, ...]) -> bool:
    """Whether an index of the target is the wanted one: by name, or by what it is over."""
    if not there.valid or there.partial:
        return False
    if there.name == name:
        return there.unique == unique
    return bool(columns) and there.columns == columns and there.unique == unique


def _target_name(plan: TablePlan, source: str) -> str:
    columns = (*plan.columns, *(pair[0] for pair in plan.computed))
    return next((c.target_name for c in columns if c.source.name == source), "")


def _constraints(existing: Existing, plans: Sequence[TablePlan]) -> Iterator[Step]:
    made, _ = constraints(plans)
    validations: list[Step] = []
    for wanted in made:
        there, validated = _found(existing, wanted)
        name = f"{wanted.kind} {wanted.name} of {wanted.table}"
        if not there:
            yield Step("constraints", name, wanted.create, _WHY[wanted.kind])
        if wanted.validate and not validated:
            why = "looks at the rows that are there already"
            validations.append(Step("constraints", f"validate {name}", wanted.validate, why))
    yield from validations


def _found(existing: Existing, wanted: Constraint) -> tuple[bool, bool]:
    """Whether the constraint is there, and whether it is validated."""
    if wanted.kind == "trigger":
        there = wanted.name in existing.triggers[wanted.table]
        return there, there
    for key in existing.keys[wanted.table]:
        if key.name == wanted.name:
            return True, key.validated
        alike = (key.columns, key.parent, key.parent_columns) == wanted.same
        if key.kind == "f" and alike:
            # One of another name needs no validation of ours: its maker's NOT VALID is his.
            return True, True
    return False, False


_WHY = {
    "foreign key": "refers to its parent as in the source; not checked for old rows yet",
    "check": "accepts the same rows as in the source; not checked for old rows yet",
    "trigger": "ON UPDATE CURRENT_TIMESTAMP; disabled until the target takes over",
}
_STEPS: dict[Phase, Callable[[Existing, Sequence[TablePlan]], Iterator[Step]]] = {
    "tables": _tables,
    "indexes": _indexes,
    "constraints": _constraints,
}
