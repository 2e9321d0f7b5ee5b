"""One column's mapping made into its plan, or refused with file, line and the nearest word."""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping

from bridge.mapping.model import DEFAULT_POLICIES, ColumnMapping, Place, TableMapping
from bridge.mapping.notation import normal_source, source_type
from bridge.mapping.read import did_you_mean
from bridge.names import POSTGRES_NAME_BYTES, fit_postgres
from bridge.types import family_of
from bridge.types.base import ColumnPlan, Family, Policy, SourceColumn
from bridge.types.table import SourceTable

DATES = frozenset({"date", "datetime", "timestamp"})
TEXTS = frozenset(
    {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json"}
)
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
"""Names that PostgreSQL gives to columns of its own (manual, "System Columns")."""

_LOSSY = {
    "zero_date": ("as-null", "sentinel:"),
    "out_of_range": ("clamp", "as-null"),
    "nul": ("strip", "replace:"),
    "invalid": ("replace",),
    "ambiguous": ("earlier", "later"),
}
"""Policies under which two values may become one."""


def concerns(policy: str, column: SourceColumn) -> bool:
    """Whether values of the column's type can have the hazard that a policy is about."""
    if policy == "zero_date":
        return column.data_type in DATES
    if policy in ("zone", "ambiguous"):
        return column.data_type == "datetime"
    if policy in ("nul", "invalid"):
        return column.data_type in TEXTS
    return column.data_type not in TEXTS


def target_name(column: ColumnMapping) -> str:
    """What the column is called in the target."""
    if column.name:
        return column.name
    name = f"{column.source}_" if column.source in SYSTEM_COLUMNS else column.source
    return fit_postgres(name)


def plan_column(
    mapping: TableMapping, table: SourceTable, column: ColumnMapping, *, key: bool, collate_c: bool
) -> ColumnPlan:
    """The plan of one carried column. Raises MappingError."""
    place: Place = ("columns", column.source)
    source = _source(mapping, table, column, place)
    nullable = source.nullable if column.target_nullable is None else column.target_nullable
    if source.nullable and not nullable:
        raise mapping.error(
            place,
            f"column {column.source} may be NULL in the source, so it may in the target",
            "leave out “not null”; add the constraint when the target has taken over",
        )
    if key and nullable:
        raise mapping.error(
            place, f"column {column.source} is part of the key, which is never NULL", "drop “null”"
        )
    plan = ColumnPlan(
        source=source,
        target_name=_checked_name(mapping, column, place),
        target_type=column.target_type,
        target_nullable=nullable,
        policy=_policy(mapping, source, column, nullable, place),
        collate_c=collate_c,
        reason=column.reason,
    )
    if key:
        _refuse_lossy(mapping, plan, place)
    family = family_of(source)
    if family is None:
        raise mapping.error(
            place,
            f"column {column.source} is {source.column_type}, a type that cannot be carried",
            f"{column.source}: {{type: dropped, reason: …}}",
        )
    refusal = family.accepts(plan)
    if refusal:
        raise mapping.error(place, f"column {column.source}: {refusal}", _types(family, plan))
    return plan


def lossy(plan: ColumnPlan) -> str:
    """``nul: strip``, the policy under which two values of the column may become one; or ''."""
    for name, values in _LOSSY.items():
        value = str(getattr(plan.policy, name))
        if any(value == word or (word[-1] == ":" and value.startswith(word)) for word in values):
            return f"{name}: {value}"
    return ""


def _source(
    mapping: TableMapping, table: SourceTable, column: ColumnMapping, place: Place
) -> SourceColumn:
    source = table.column(column.source)
    actual = source_type(source)
    if normal_source(column.source_type) != actual:
        raise mapping.error(
            place,
            f"column {column.source} is {actual} in the source, not {column.source_type}",
            "correct the left side of the arrow, or run `dbbridge init` again",
        )
    if column.source_nullable not in (None, source.nullable):
        raise mapping.error(
            place,
            f"column {column.source} is {'' if source.nullable else 'not '}null in the source",
            "correct the left side of the arrow, or run `dbbridge init` again",
        )
    return source


def _checked_name(mapping: TableMapping, column: ColumnMapping, place: Place) -> str:
    name = target_name(column)
    if len(name.encode()) > POSTGRES_NAME_BYTES or "\0" in name:
        raise mapping.error(
            (*place, "name"),
            f"“{name}” is longer than PostgreSQL's {POSTGRES_NAME_BYTES} bytes",
            "choose a shorter name",
        )
    if name in SYSTEM_COLUMNS:
        raise mapping.error(
            (*place, "name"),
            f"“{name}” is a column that PostgreSQL itself gives every table",
            f"name: {name}_",
        )
    return name


def _policy(
    mapping: TableMapping,
    source: SourceColumn,
    column: ColumnMapping,
    nullable: bool,
    place: Place,
) -> Policy:
    stated: dict[str, str] = dict(column.policies)
    if column.zone:
        stated["zone"] = column.zone
    for name in stated:
        if not concerns(name, source):
            raise mapping.error(
                (*place, name),
                f"{name} means nothing for column {source.name}, which is {source.column_type}",
                "remove it",
            )
    if column.zone:
        _check_zone(mapping, column.zone, place)
    merged = {**_defaults(mapping.defaults.policies, source, nullable), **stated}
    return Policy(**merged, mask=column.mask)


def _defaults(policies: Mapping[str, str], source: SourceColumn, nullable: bool) -> dict[str, str]:
    """The directory's policies that this column can have."""
    return {
        name: policies[name]
        for name in DEFAULT_POLICIES
        if name in policies and concerns(name, source) and (nullable or policies[name] != "as-null")
    }


def _check_zone(mapping: TableMapping, zone: str, place: Place) -> None:
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        raise mapping.error(
            (*place, "zone"),
            f"“{zone}” is no time zone",
            f"{did_you_mean(zone, sorted(known))}write it like Europe/Berlin",
        ) from None


def _refuse_lossy(mapping: TableMapping, plan: ColumnPlan, place: Place) -> None:
    policy = lossy(plan)
    if policy:
        raise mapping.error(
            (*place, policy.partition(":")[0]),
            f"“{policy}” could make two rows one, since {plan.source.name} is part of the key",
            "key columns have the policy quarantine; correct such rows in the source",
        )
    if plan.target_type == "citext" and not (plan.source.collation or "").endswith("_ci"):
        raise mapping.error(
            place,
            f"citext could make two rows one: the key column {plan.source.name} tells case apart",
            "choose text",
        )


def _types(family: Family, plan: ColumnPlan) -> str:
    types = [proposal.target_type for proposal in family.proposals(plan.source)]
    return f"{did_you_mean(plan.target_type, types)}usual targets: {', '.join(types)}"
