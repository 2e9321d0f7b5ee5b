"""A table's mapping and its definition in the source, compiled into the plan of all work on it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from bridge.mapping import keys
from bridge.mapping.columns import plan_column
from bridge.mapping.filters import compile_filter
from bridge.mapping.model import ColumnMapping, Place, TableMapping
from bridge.mapping.operands import FilterError
from bridge.mapping.plan import TablePlan
from bridge.mapping.read import did_you_mean
from bridge.names import POSTGRES_NAME_BYTES, TableName
from bridge.types.base import ColumnPlan
from bridge.types.table import SourceIndex, SourceTable

FORMAT = 1
"""Part of every plan's version: grows when this program decodes rows otherwise than before."""

_COLLATED = ("text", "varchar", "char")


def compile_table(mapping: TableMapping, table: SourceTable) -> TablePlan:
    """The plan of one table. Raises MappingError, which names file and line."""
    if mapping.target is None:
        raise mapping.error(("table",), f"{mapping.source} is left out", "give it a target")
    if mapping.fingerprint != table.fingerprint:
        raise mapping.error(
            ("fingerprint",),
            "the definition has changed since this mapping was written",
            "run `dbbridge init` again: it adds what is new and keeps your edits",
        )
    _check_target(mapping, mapping.target)
    carried = _carried(mapping, table)
    key = _key(mapping, table, [column.source for column in carried])
    indexes = _indexes(mapping, table, key, {column.source for column in carried})
    ordered = sorted(carried, key=lambda column: _order(column, key, table))
    collated = set(key) | {part.column for index in indexes for part in index.parts}
    plans = [
        plan_column(
            mapping,
            table,
            column,
            key=column.source in key,
            collate_c=column.source in collated and _is_text(column.target_type),
        )
        for column in ordered
    ]
    pairs = list(zip(plans, ordered, strict=True))
    streamed = tuple(plan for plan, column in pairs if not column.computed)
    computed = tuple((plan, column.computed) for plan, column in pairs if column.computed)
    _check_names(mapping, plans)
    try:
        row_filter = compile_filter(mapping.where, streamed)
    except FilterError as error:
        raise mapping.error(("where",), error.message, error.hint) from None
    return TablePlan(
        table=table,
        target=mapping.target,
        columns=streamed,
        key=len(key),
        version=_version(streamed, len(key), row_filter.where),
        where=row_filter.where,
        keep=row_filter.keep,
        computed=computed,
        indexes=indexes,
        group=mapping.group,
        brief_lock=mapping.lock == "brief",
    )


def check_together(mappings: Iterable[TableMapping]) -> None:
    """Refuses two tables with one target. Raises MappingError."""
    seen: dict[TableName, TableMapping] = {}
    for mapping in mappings:
        if mapping.target is None:
            continue
        other = seen.setdefault(mapping.target, mapping)
        if other is not mapping:
            raise mapping.error(
                ("table",),
                f"{mapping.source} and {other.source} have the same target {mapping.target}",
                f"give one of them another name (the other is in {other.file or 'the mapping'})",
            )


def _check_target(mapping: TableMapping, target: TableName) -> None:
    for word in (target.schema, target.table):
        if len(word.encode()) > POSTGRES_NAME_BYTES:
            raise mapping.error(
                ("table",),
                f"“{word}” is longer than PostgreSQL's {POSTGRES_NAME_BYTES} bytes",
                "choose a shorter name for the target",
            )
    if target.schema.startswith("pg_") or target.schema in RESERVED_SCHEMAS:
        raise mapping.error(
            ("table",), f"the schema “{target.schema}” is reserved", "choose another schema"
        )


RESERVED_SCHEMAS = frozenset({"information_schema", "dbbridge"})
"""Schemas that no table may be put into: PostgreSQL's own, and the bridge's control schema."""


def _carried(mapping: TableMapping, table: SourceTable) -> list[ColumnMapping]:
    for column in table.columns:
        if mapping.column(column.name) is None:
            raise mapping.error(
                ("columns",),
                f"column {column.name} of {table.name} is not mentioned",
                f"run `dbbridge init` again, or write {column.name}: {{type: dropped, reason: …}}",
            )
    names = [column.name for column in table.columns]
    for entry in mapping.columns:
        if entry.source not in names:
            raise mapping.error(
                ("columns", entry.source),
                f"{table.name} has no column “{entry.source}”",
                f"{did_you_mean(entry.source, names)}remove the line if the column is gone",
            )
        if entry.computed and not table.column(entry.source).generated:
            raise mapping.error(
                ("columns", entry.source, "computed"),
                f"column {entry.source} is not a generated column in the source",
                "remove computed: its values are carried as they are",
            )
    return [entry for entry in mapping.columns if not entry.dropped]


def _key(mapping: TableMapping, table: SourceTable, carried: list[str]) -> tuple[str, ...]:
    place: Place = ("key",)
    possible = keys.possible_keys(table)
    key = mapping.key
    for name in key:
        if name not in {column.name for column in table.columns}:
            known = [column.name for column in table.columns]
            raise mapping.error(
                place, f"{table.name} has no column “{name}”", did_you_mean(name, known) or "fix it"
            )
        entry = mapping.column(name)
        if name not in carried or (entry is not None and entry.computed):
            raise mapping.error(
                place, f"key column {name} is not carried", "a key's columns are all carried"
            )
    if table.primary_key and key != table.primary_key:
        raise mapping.error(
            place,
            f"the key of {table.name} is its primary key",
            f"key: [{', '.join(table.primary_key)}]",
        )
    if key and key not in possible:
        shown = " or ".join(f"[{', '.join(names)}]" for names in possible) or "[]"
        raise mapping.error(
            place,
            f"[{', '.join(key)}] is no NOT NULL unique key of {table.name}",
            f"possible: key: {shown}",
        )
    return key


def _indexes(
    mapping: TableMapping, table: SourceTable, key: tuple[str, ...], carried: set[str]
) -> tuple[SourceIndex, ...]:
    known = {index.name: index for index in table.indexes}
    for section, names in (("indexes", mapping.indexes), ("not_carried", (*mapping.not_carried,))):
        for name in names:
            if name not in known:
                raise mapping.error(
                    (section,),
                    f"{table.name} has no index “{name}”",
                    f"{did_you_mean(name, known)}remove it if the index is gone",
                )
    for name in mapping.indexes:
        if name in mapping.not_carried:
            raise mapping.error(
                ("indexes",), f"index {name} is both carried and not carried", "choose one"
            )
        gone = [part.column for part in known[name].parts if part.column not in {*carried, ""}]
        if gone:
            raise mapping.error(
                ("indexes",),
                f"index {name} is over column {gone[0]}, which is not carried",
                f"list {name} under not_carried with a reason",
            )
    wanted = set(mapping.indexes)
    return tuple(
        index
        for index in table.indexes
        if index.name in wanted and not keys.stands_in(table, key, index)
    )


def _order(column: ColumnMapping, key: tuple[str, ...], table: SourceTable) -> tuple[int, int]:
    if column.source in key:
        return 0, key.index(column.source)
    return 1, table.column(column.source).ordinal


def _is_text(target_type: str) -> bool:
    return target_type.partition("(")[0] in _COLLATED


def _check_names(mapping: TableMapping, plans: list[ColumnPlan]) -> None:
    seen: dict[str, str] = {}
    for plan in plans:
        other = seen.setdefault(plan.target_name, plan.source.name)
        if other != plan.source.name:
            raise mapping.error(
                ("columns", plan.source.name),
                f"columns {other} and {plan.source.name} both become “{plan.target_name}”",
                "give one of them another name with name: …",
            )


def _version(columns: tuple[ColumnPlan, ...], key: int, where: str) -> str:
    """Sixteen hex digits over all that decides what a row becomes."""
    said = [
        FORMAT,
        key,
        where,
        [
            (
                plan.source.name,
                plan.source.data_type,
                plan.source.column_type,
                plan.source.unsigned,
                plan.source.length,
                plan.source.precision,
                plan.source.scale,
                plan.source.fsp,
                plan.source.charset,
                plan.source.labels,
                plan.source.flavor,
                plan.target_name,
                plan.target_type,
                plan.target_nullable,
                repr(plan.policy),
            )
            for plan in columns
        ],
    ]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]
