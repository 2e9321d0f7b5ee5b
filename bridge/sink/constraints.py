"""Foreign keys, checks and ON UPDATE triggers as SQL text, for when the target takes over.

None of them may act while rows are streamed in: foreign keys see rows in another order than the
application wrote them, and triggers would change rows that are right already.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bridge.mapping.expressions import Untranslatable, condition
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, fit_postgres, quote_postgres
from bridge.sink.ddl import Loss
from bridge.sink.defaults import now
from bridge.types.base import ColumnPlan
from bridge.types.table import ForeignKey
from bridge.types.target import target_of

_FSP = re.compile(r"CURRENT_TIMESTAMP(?:\((\d)\))?")
_ACTIONS = {"CASCADE", "SET NULL", "SET DEFAULT"}
_ALIKE = (
    frozenset({"text", "varchar", "citext"}),
    frozenset({"smallint", "integer", "bigint"}),
    frozenset({"numeric"}),
)
"""Types that PostgreSQL compares by an index of either."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """One constraint or trigger of a table.

    `create` makes it without looking at the rows there; `validate` ('' if there is nothing to do)
    then looks at them all, without locking writers out. `same` are the columns of a foreign
    key, its parent, and the parent's columns, by which one of another name is known.
    """

    kind: str
    """'foreign key', 'check' or 'trigger'."""
    name: str
    table: TableName
    create: str
    validate: str = ""
    same: tuple[tuple[str, ...], TableName, tuple[str, ...]] | None = None


def constraints(
    plans: Sequence[TablePlan],
) -> tuple[list[Constraint], list[tuple[TablePlan, Loss]]]:
    """All constraints of the plans' tables, and those that have no equal in the target.

    Checks and triggers come first, foreign keys last. Triggers are made disabled.
    """
    made: list[Constraint] = []
    lost: list[tuple[TablePlan, Loss]] = []
    for plan in plans:
        checks, gone = _checks(plan)
        triggers, silent = _triggers(plan)
        made += [*checks, *triggers]
        lost += [(plan, loss) for loss in (*gone, *silent)]
    by_source = {plan.source: plan for plan in plans}
    for plan in plans:
        for key in plan.table.foreign_keys:
            try:
                made.append(_foreign_key(plan, key, by_source))
            except Untranslatable as why:
                lost.append((plan, Loss("T022", "", f"foreign key {key.name}: {why}")))
    return made, lost


def _add(kind: str, plan: TablePlan, name: str, definition: str) -> Constraint:
    quoted = quote_postgres(fit_postgres(name))
    table = plan.target.postgres
    return Constraint(
        kind,
        fit_postgres(name),
        plan.target,
        f"ALTER TABLE {table} ADD CONSTRAINT {quoted} {definition} NOT VALID",
        f"ALTER TABLE {table} VALIDATE CONSTRAINT {quoted}",
    )


def _checks(plan: TablePlan) -> tuple[list[Constraint], list[Loss]]:
    columns = {column.source.name: column for column in plan.columns}
    columns |= {column.source.name: column for column, _ in plan.computed}
    made, lost = [], []
    for check in plan.table.checks:
        try:
            sql = condition(check.condition, columns)
        except Untranslatable as why:
            lost.append(Loss("T020", "", f"check {check.name}: {why}"))
        else:
            made.append(_add("check", plan, check.name, f"CHECK ({sql})"))
    return made, lost


def _triggers(plan: TablePlan) -> tuple[list[Constraint], list[Loss]]:
    """One trigger for all ON UPDATE columns of the table."""
    sets, lost = [], []
    for column in plan.columns:
        match = _FSP.fullmatch(column.source.on_update)
        if not column.source.on_update:
            continue
        try:
            if match is None:
                raise Untranslatable(f"ON UPDATE {column.source.on_update}")
            sets.append((quote_postgres(column.target_name), now(column, int(match[1] or 0))))
        except Untranslatable as why:
            lost.append(Loss("T014", column.source.name, f"ON UPDATE: {why}"))
    return ([_trigger(plan, sets)] if sets else []), lost


def _trigger(plan: TablePlan, sets: Sequence[tuple[str, str]]) -> Constraint:
    """MySQL sets the time where the statement changed the row and did not set the column itself."""
    name = fit_postgres(f"{plan.target.table}_on_update")
    function = TableName(plan.target.schema, name).postgres
    table, quoted = plan.target.postgres, quote_postgres(name)
    body = "".join(
        f"        IF NEW.{column} IS NOT DISTINCT FROM OLD.{column} THEN\n"
        f"            NEW.{column} := {value};\n"
        "        END IF;\n"
        for column, value in sets
    )
    # *<> compares any type, also those that have no equality of their own (json). What PostgreSQL
    # computes is not there yet when the trigger fires, so the columns are written out.
    names = [quote_postgres(column.target_name) for column in plan.columns]
    new, old = (", ".join(f"{row}.{name}" for name in names) for row in ("NEW", "OLD"))
    changed = f"ROW({new})::record *<> ROW({old})::record" if plan.computed else "NEW *<> OLD"
    source = f"BEGIN\n    IF {changed} THEN\n{body}    END IF;\n    RETURN NEW;\nEND"
    tag = "$body$"
    while tag in source:
        tag = f"$_{tag[1:]}"
    create = (
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS {tag}\n{source}\n"
        f"{tag};\n"
        f"CREATE TRIGGER {quoted} BEFORE UPDATE ON {table}"
        f" FOR EACH ROW EXECUTE FUNCTION {function}();\n"
        f"ALTER TABLE {table} DISABLE TRIGGER {quoted}"
    )
    return Constraint("trigger", name, plan.target, create)


def _foreign_key(
    plan: TablePlan, key: ForeignKey, plans: Mapping[TableName, TablePlan]
) -> Constraint:
    parent = plans.get(key.parent)
    if parent is None:
        raise Untranslatable(f"its parent {key.parent} is not among the tables that are moved")
    children = [_column(plan, name) for name in key.columns]
    parents = [_column(parent, name) for name in key.parent_columns]
    if not _unique(parent, key.parent_columns):
        raise Untranslatable(f"{key.parent} has no unique key over the columns that it refers to")
    for child, other in zip(children, parents, strict=True):
        if not _comparable(child, other):
            raise Untranslatable(
                f"{child.target_type} of {child.target_name} does not compare with"
                f" {other.target_type} of {other.target_name}"
            )
    actions = [
        f" ON {word} {action}"
        for word, action in (("DELETE", key.on_delete), ("UPDATE", key.on_update))
        # RESTRICT and NO ACTION are one thing in MySQL.
        if action in _ACTIONS
    ]
    definition = (
        f"FOREIGN KEY ({_list(children)}) REFERENCES {parent.target.postgres} ({_list(parents)})"
        + "".join(actions)
    )
    same = _names(children), parent.target, _names(parents)
    return replace(_add("foreign key", plan, key.name, definition), same=same)


def _column(plan: TablePlan, name: str) -> ColumnPlan:
    for column in (*plan.columns, *(pair[0] for pair in plan.computed)):
        if column.source.name == name:
            return column
    raise Untranslatable(f"column {name} of {plan.source} is not carried")


def _names(columns: Sequence[ColumnPlan]) -> tuple[str, ...]:
    return tuple(column.target_name for column in columns)


def _list(columns: Sequence[ColumnPlan]) -> str:
    return ", ".join(quote_postgres(column.target_name) for column in columns)


def _unique(parent: TablePlan, columns: Sequence[str]) -> bool:
    """Whether the target makes sure of it; PostgreSQL asks for a unique index over just these."""
    wanted = set(columns)
    if wanted == {column.source.name for column in parent.key_columns}:
        return True
    return any(
        index.unique
        and index.kind == "BTREE"
        and {part.column for part in index.parts} == wanted
        and not any(part.prefix or part.expression for part in index.parts)
        for index in parent.indexes
    )


def _comparable(child: ColumnPlan, parent: ColumnPlan) -> bool:
    a, b = target_of(child).base, target_of(parent).base
    if a == b or (a in _ALIKE[1] and b == "numeric"):
        return True
    return any(a in alike and b in alike for alike in _ALIKE)
