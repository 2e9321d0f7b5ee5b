"""``dbbridge explain``: the whole story of one table, or of one finding."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli.context import Context, of
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from bridge.cli.survey import Survey
    from bridge.mapping.model import ColumnMapping, TableMapping
    from bridge.mapping.plan import TablePlan
    from bridge.names import TableName
    from bridge.types.base import ColumnPlan


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command(
        "explain", epilog="Example: dbbridge explain shop.orders, or dbbridge explain D017"
    )(explain)


def explain(
    ctx: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="TABLE|CODE", help="orders, or D017, or zero-date")
    ],
) -> None:
    """Tell what becomes of a table and why, or what a code of a finding means."""
    from bridge.findings import find_code

    context = of(ctx)
    code = find_code(what)
    if code is not None:
        context.out.json(code)
        context.out.line(f"{code.code} {code.slug} ({code.severity})\n\n{code.explanation}")
        if code.hint:
            context.out.line(f"\nWhat to do: {code.hint}.")
        return
    name, mapping = _find(context, what)
    _tell(context, name, mapping)


def _find(context: Context, what: str) -> tuple[TableName, TableMapping]:
    from bridge.findings import CODES

    mappings = context.mappings() if context.config_path.is_file() else {}
    names = [name for name in mappings if what in (str(name), name.table)]
    if len(names) == 1:
        return names[0], mappings[names[0]]
    if names:
        raise ConfigError(f"“{what}” names several tables", f"one of {', '.join(map(str, names))}")
    known = [*map(str, mappings), *(name.table for name in mappings), *CODES]
    known += [code.slug for code in CODES.values()]
    close = difflib.get_close_matches(what, known, n=1, cutoff=0.5)
    hint = f"did you mean “{close[0]}”?" if close else "`dbbridge check --all` prints codes"
    raise ConfigError(f"“{what}” is neither a mapped table nor a code", hint)


def _tell(context: Context, name: TableName, mapping: TableMapping) -> None:
    from bridge.cli.survey import story
    from bridge.mapping.notation import write_tables

    out = context.out
    found = story(context, name, mapping)
    state = _state(context, name)
    out.json(_document(name, mapping, found, state))
    out.line(write_tables(name, mapping.target))
    out.line(f"mapping file: {mapping.file}")
    if mapping.target is None:
        out.line(f"left out: {mapping.reason or 'no reason is given'}")
        return
    table = found.catalog.get(name)
    if table is None:
        out.line("there is no such table in the source, or the account may not see it")
        out.next(context.command("check"))
        return
    for line in _lines(mapping, found, name):
        out.line(line)
    out.line()
    out.table(("column", "source", "target", "policy", "why"), _columns(mapping, found, name))
    out.line()
    if found.findings:
        out.table(
            ("severity", "code", "column", "finding"),
            [(f.severity, f.code, f.column, f.message) for f in found.sorted()],
        )
        out.line()
    for title, text in state.items():
        out.line(f"{title}: {text}")
    out.next(context.command("check" if not state else "status"))


def _lines(mapping: TableMapping, found: Survey, name: TableName) -> list[str]:
    from bridge.cli.output import number, size

    table = found.catalog[name]
    plan = found.plans.get(name)
    lines = [
        f"about {number(table.rows)} rows, {size(table.bytes)}, {table.engine}",
        f"key: {', '.join(mapping.key) or 'none; equal rows are counted'}",
        f"group: {mapping.group or 'none'}",
        f"when its definition changes: {mapping.on_ddl}",
    ]
    if plan is not None and plan.where:
        lines.append(f"only rows where {plan.where}")
    for key in table.foreign_keys:
        columns, parents = ", ".join(key.columns), ", ".join(key.parent_columns)
        lines.append(f"foreign key {key.name}: {columns} -> {key.parent} ({parents})")
    if mapping.indexes:
        lines.append(f"indexes: {', '.join(mapping.indexes)}")
    lines += [f"index {index} is not carried: {why}" for index, why in mapping.not_carried.items()]
    return lines


def _columns(
    mapping: TableMapping, found: Survey, name: TableName
) -> list[tuple[str, str, str, str, str]]:
    plan = found.plans.get(name)
    return [_column(entry, _planned(plan, entry.source)) for entry in mapping.columns]


def _column(entry: ColumnMapping, plan: ColumnPlan | None) -> tuple[str, str, str, str, str]:
    if entry.dropped:
        return entry.source, "", "dropped", "", entry.reason
    target = entry.target_type
    if plan is not None:
        target = f"{plan.target_type}{'' if plan.target_nullable else ' not null'}"
        if plan.target_name != entry.source:
            target = f"{plan.target_name}: {target}"
    policies = [f"{policy}: {value}" for policy, value in entry.policies.items()]
    policies += [f"zone: {entry.zone}"] if entry.zone else []
    policies += ["masked"] if entry.mask else []
    policies += [f"computed: {entry.computed}"] if entry.computed else []
    return entry.source, entry.source_type, target, ", ".join(policies), entry.reason


def _planned(plan: TablePlan | None, name: str) -> ColumnPlan | None:
    if plan is None:
        return None
    columns = [*plan.columns, *(column for column, _ in plan.computed)]
    return next((column for column in columns if column.source.name == name), None)


def _state(context: Context, name: TableName) -> dict[str, str]:
    """What the control schema says of the table; {} before the first sync."""
    from bridge.store.state import is_there, read_tables

    target = context.target(autocommit=True)
    if not is_there(target):
        return {}
    states = [s for s in read_tables(target, context.pipeline) if s.source == name]
    if not states:
        return {}
    state = states[-1]
    said = {
        "state": state.state,
        "applied up to": str(state.frontier or "where the pipeline is"),
        "copied": f"{state.rows_copied:,} rows",
        "inserts, updates, deletes": f"{state.inserts:,}, {state.updates:,}, {state.deletes:,}",
        "in quarantine": f"{state.quarantined:,} rows",
    }
    if state.fault is not None:
        said["stopped"] = f"{state.fault.code}: {state.why}"
        said["what to do"] = state.fault.hint
    return said


def _document(
    name: TableName, mapping: TableMapping, found: Survey, state: dict[str, str]
) -> dict[str, Any]:
    from bridge.mapping.model import to_document

    table, plan = found.catalog.get(name), found.plans.get(name)
    return {
        "table": str(name),
        "target": str(mapping.target) if mapping.target else None,
        "file": mapping.file,
        "rows": table.rows if table else None,
        "bytes": table.bytes if table else None,
        "mapping": to_document(mapping),
        "version": plan.version if plan else None,
        "findings": found.sorted(),
        "state": state,
    }
