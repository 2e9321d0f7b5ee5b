"""The mapping that `init` proposes for a table, from its definition and from what its rows hold.

Nothing is given up by default: a policy other than quarantine is proposed only where a scan found
rows that need one, and the comment behind the column says how many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from bridge.findings.base import Finding
from bridge.mapping import keys
from bridge.mapping.columns import target_name
from bridge.mapping.compile import RESERVED_SCHEMAS
from bridge.mapping.expressions import Untranslatable, generated, index_part
from bridge.mapping.model import ColumnMapping, Defaults, TableMapping
from bridge.mapping.notation import source_type
from bridge.names import TableName, fit_postgres
from bridge.types import family_of
from bridge.types.base import ColumnPlan, Family, Policy, SourceColumn
from bridge.types.table import SourceIndex, SourceTable

UNDECIDED = "undecided"
"""The target of a column that cannot be carried: no mapping compiles until it is dropped."""

_BIGINT_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Choice:
    """A target type with policies, and why."""

    target: str
    reason: str = ""
    policies: Mapping[str, str] = field(default_factory=dict)
    nullable: bool | None = None
    """None: as in the source."""


_Found = Mapping[str, Finding]
"""The findings about one column, by code."""


def propose_target(name: TableName) -> TableName:
    """The table of the same name in a schema named after the database."""
    schema = fit_postgres(name.schema)
    if schema.startswith("pg_") or schema in RESERVED_SCHEMAS:
        schema = fit_postgres(f"my_{schema}")
    return TableName(schema, fit_postgres(name.table))


def propose_table(
    table: SourceTable,
    findings: Iterable[Finding],
    *,
    group: str = "",
    target: TableName | None = None,
    defaults: Defaults | None = None,
) -> TableMapping:
    """A mapping of the whole table, the same for the same definition and findings."""
    by_column: dict[str, dict[str, Finding]] = {}
    for one in findings:
        if one.column:
            by_column.setdefault(one.column, {})[one.code] = one
    key = next(iter(keys.possible_keys(table)), ())
    columns = tuple(
        propose_column(table, column, by_column.get(column.name, {}), key)
        for column in table.columns
    )
    stored = _stored(table, columns)
    carried, left = propose_indexes(table, key, stored)
    columns = tuple(_computed(table, column, key, stored) for column in columns)
    return TableMapping(
        source=table.name,
        target=target or propose_target(table.name),
        fingerprint=table.fingerprint,
        columns=columns,
        key=key,
        group=group,
        indexes=carried,
        not_carried=left,
        defaults=defaults or Defaults(),
    )


def propose_indexes(
    table: SourceTable, key: tuple[str, ...], stored: Mapping[str, ColumnPlan]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The indexes to carry, and the others with the reason; `stored` as `_stored` gives it."""
    carried = []
    left: dict[str, str] = {}
    for index in table.indexes:
        reason = _why_not(table, key, index, stored)
        if reason:
            left[index.name] = reason
        else:
            carried.append(index.name)
    return tuple(carried), left


def propose_column(
    table: SourceTable, column: SourceColumn, found: _Found, key: tuple[str, ...]
) -> ColumnMapping:
    """One column: the first choice that its type family accepts."""
    family = family_of(column)
    here = source_type(column)
    refusal = "no conversion is known: type: dropped?"
    if family is None:
        return ColumnMapping(column.name, here, UNDECIDED, reason=f"T003 {refusal}")
    for choice in _choices(table, column, found, key, family):
        nullable = column.nullable if choice.nullable is None else choice.nullable
        plan = ColumnPlan(column, column.name, choice.target, nullable, _policy(choice.policies))
        refusal = family.accepts(plan)
        if refusal:
            continue
        differs = nullable != column.nullable
        mapped = ColumnMapping(
            column.name,
            here,
            choice.target,
            source_nullable=column.nullable if differs else None,
            target_nullable=nullable if differs else None,
            policies=choice.policies,
            reason=choice.reason,
        )
        return _named(mapped)
    return ColumnMapping(column.name, here, UNDECIDED, reason=f"T003 {refusal}")


def _policy(said: Mapping[str, str]) -> Policy:
    return Policy(zero_date=said.get("zero_date", "quarantine"), nul=said.get("nul", "quarantine"))


def _named(column: ColumnMapping) -> ColumnMapping:
    """With the target's name written out where it cannot be the source's."""
    name = target_name(column)
    return column if name == column.source else replace(column, name=name)


def _choices(
    table: SourceTable,
    column: SourceColumn,
    found: _Found,
    key: tuple[str, ...],
    family: Family,
) -> list[_Choice]:
    """The best first; the family's own default is always among them."""
    default = family.proposals(column)[0]
    reasons = [default.reason, *_remarks(column, found)]
    plain = _Choice(default.target_type, "; ".join(filter(None, reasons)))
    special: list[_Choice] = []
    if "D011" in found or column.auto_increment:
        special += _of_range(table, column, found.get("D011"))
    if "D012" in found:
        special += _of_flags(found["D012"])
    if column.name not in key:
        special += _of_hazards(table, column, found, plain)
    return [*special, plain]


def _of_range(table: SourceTable, column: SourceColumn, finding: Finding | None) -> list[_Choice]:
    """Identities are bigint at most, and what refers to them is of their type."""
    if not (column.data_type == "bigint" and column.unsigned):
        return []
    if finding is None or finding.fact is None or finding.sampled:
        return [_Choice("numeric(20,0)", "D011 greatest value not known")]
    refers = any(column.name in each.columns for each in table.foreign_keys)
    if finding.fact > _BIGINT_MAX:
        return [_Choice("numeric(20,0)", f"D011 max {finding.fact:,} does not fit bigint")]
    if column.auto_increment or refers:
        return [_Choice("bigint", f"D011 max {finding.fact:,} fits")]
    return [_Choice("numeric(20,0)", f"D011 max {finding.fact:,}: bigint is possible")]


def _of_flags(finding: Finding) -> list[_Choice]:
    if finding.count:
        return [_Choice("smallint", f"D012 {_rows(finding)} with other numbers than 0 and 1")]
    if finding.sampled:
        return [_Choice("smallint", "D012 only a sample was looked at: boolean is possible")]
    return [_Choice("boolean", "D012 full scan: only 0 and 1")]


def _of_hazards(
    table: SourceTable, column: SourceColumn, found: _Found, plain: _Choice
) -> list[_Choice]:
    """Policies for rows that the target could not hold, where a scan found such rows."""
    if "D017" in found:
        reason = f"D017 {_rows(found['D017'])}"
        return [_Choice(plain.target, reason, {"zero_date": "as-null"}, nullable=True)]
    for code in ("D015", "D016"):
        # Without its NULs a unique value may be another row's.
        if code in found and not _unique(table, column.name):
            return [_Choice(plain.target, f"{code} {_rows(found[code])}", {"nul": "strip"})]
    return []


def _remarks(column: SourceColumn, found: _Found) -> list[str]:
    """What the findings say where they change nothing."""
    remarks: Mapping[str, Callable[[Finding], str]] = {
        "D014": lambda f: "" if f.count or f.sampled else "D014 all within a day: time is possible",
        "D015": lambda f: f"D015 {_rows(f)}",
        "D016": lambda f: f"D016 {_rows(f)}",
        "D017": lambda f: f"D017 {_rows(f)}",
        "D018": lambda f: "" if f.sampled else "D018 holds UUIDs: uuid is possible",
        "D020": lambda f: f"D020 {_rows(f)} with ''",
    }
    said = [remark(found[code]) for code, remark in remarks.items() if code in found]
    return [*said, "auto_increment" if column.auto_increment and not found else ""]


def _rows(finding: Finding) -> str:
    count = finding.count or 0
    text = f"{count:,} row{'' if count == 1 else 's'}"
    return f"at least {text}" if finding.sampled else text


def _unique(table: SourceTable, name: str) -> bool:
    return name in table.primary_key or any(
        index.unique and name in keys.columns_of(index) for index in table.indexes
    )


def _why_not(
    table: SourceTable,
    key: tuple[str, ...],
    index: SourceIndex,
    stored: Mapping[str, ColumnPlan],
) -> str:
    if keys.stands_in(table, key, index):
        return "it is the key here"
    if index.kind == "SPATIAL":
        return "SPATIAL"
    for part in index.parts:
        if part.column and family_of(table.column(part.column)) is None:
            return f"column {part.column} cannot be carried"
        if part.expression:
            try:
                index_part(part.expression, stored, unique=index.unique)
            except Untranslatable as reason:
                return f"expression: {reason}"
    return ""


def _stored(table: SourceTable, columns: Iterable[ColumnMapping]) -> Mapping[str, ColumnPlan]:
    """The plans of the columns that applications write: what expressions may refer to."""
    return {
        column.source: _plan(table.column(column.source), column)
        for column in columns
        if column.target_type != UNDECIDED and not table.column(column.source).generated
    }


def _computed(
    table: SourceTable,
    column: ColumnMapping,
    key: tuple[str, ...],
    stored: Mapping[str, ColumnPlan],
) -> ColumnMapping:
    """A generated column with its expression in PostgreSQL's words, where they mean the same."""
    source = table.column(column.source)
    if not source.generated or column.source in key or column.target_type == UNDECIDED:
        return column
    try:
        expression = generated(_plan(source, column), stored)
    except Untranslatable as reason:
        return replace(column, reason=f"T018 carried as a plain column: {reason}")
    return replace(column, computed=expression, reason="generated here as well")


def _plan(source: SourceColumn, column: ColumnMapping) -> ColumnPlan:
    nullable = source.nullable if column.target_nullable is None else column.target_nullable
    return ColumnPlan(
        source, target_name(column), column.target_type, nullable, _policy(column.policies)
    )
