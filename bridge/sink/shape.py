"""Whether a table that is in the target already is the one that the plan would make."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from bridge.findings import Finding, finding
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.sink.existing import Column, Existing, normal_type
from bridge.types.base import ColumnPlan


def differences(
    existing: Existing, plan: TablePlan, followed: Collection[TableName] = ()
) -> list[Finding]:
    """One finding for each way in which rows of the plan would not fit; [] if there is no table.

    Columns that only the target has are fine if they fill themselves. A target column that may be
    NULL where the source's may not is fine, too. Tables of the target that the pipeline made itself
    (`followed`) are only older than the plan, which is no error.
    """
    kind = existing.relations.get(plan.target)
    if kind is None:
        return []
    if kind not in ("r", "p"):
        return [_finding(plan, "", "it is no table", ours=False)]
    ours = plan.target in followed
    return [_finding(plan, *each, ours=ours) for each in _messages(existing, plan)]


def _messages(existing: Existing, plan: TablePlan) -> Iterator[tuple[str, str]]:
    there = {column.name: column for column in existing.columns[plan.target]}
    computed = [pair[0] for pair in plan.computed]
    for column in (*plan.columns, *computed):
        found = there.pop(column.target_name, None)
        if found is None:
            yield column.target_name, "the target's table has no such column"
        else:
            for message in _column(column, found, computed=column in computed):
                yield column.target_name, message
    for extra in there.values():
        if extra.not_null and not extra.filled and not extra.computed:
            yield extra.name, "the target requires a value, and the plan has none for it"
    yield from _key(existing, plan)


def _column(wanted: ColumnPlan, found: Column, *, computed: bool) -> Iterator[str]:
    if normal_type(wanted.target_type) != found.type:
        yield f"it is {found.type} in the target, the mapping says {wanted.target_type}"
    if found.not_null and wanted.target_nullable:
        yield "it is NOT NULL in the target, the mapping lets it be NULL"
    if found.computed != computed:
        yield f"it is {'' if found.computed else 'not '}computed in the target"
    if wanted.collate_c and found.collation not in ("C", "POSIX", "ucs_basic", ""):
        yield f'it is part of a key and has the collation {found.collation}, not "C"'


def _key(existing: Existing, plan: TablePlan) -> Iterator[tuple[str, str]]:
    names = {column.target_name for column in plan.key_columns}
    unique = [
        set(index.columns)
        for index in existing.indexes[plan.target]
        if index.unique and index.valid and not index.partial
    ]
    if names and names not in unique:
        yield "", f"it has no unique index over just its key ({', '.join(sorted(names))})"
    primary = [set(index.columns) for index in existing.indexes[plan.target] if index.primary]
    if not names and primary:
        yield "", "it has a primary key, but equal rows of the source are to be kept apart"


def _finding(plan: TablePlan, column: str, message: str, *, ours: bool) -> Finding:
    target = str(plan.target)
    if not ours:
        return finding("T030", table=target, column=column, message=message)
    hint = f"dbbridge tables resync {plan.source.word}"
    return finding("T033", table=target, column=column, message=message, hint=hint)
