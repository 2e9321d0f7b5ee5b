"""A mapping file as values: what becomes of one source table, as people write and read it.

Nothing here is checked against the source's catalogue; `compile` does that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.errors import MappingError
from bridge.names import TableName

Place = tuple[str | int, ...]
"""The keys that lead to a value in the file: ('columns', 'id', 'type')."""

POLICIES: Mapping[str, tuple[str, ...]] = {
    "zero_date": ("quarantine", "as-null", "as-text", "sentinel:"),
    "out_of_range": ("quarantine", "clamp", "as-null"),
    "nul": ("quarantine", "strip", "replace:"),
    "invalid": ("quarantine", "replace"),
    "ambiguous": ("quarantine", "earlier", "later"),
}
"""A column's policies and their values; a value that ends in a colon takes a text behind it."""

DEFAULT_POLICIES = ("zero_date", "out_of_range", "nul", "invalid")
"""The policies that _defaults.yaml may set."""

ON_DDL = ("stop",)
SCHEMAS = ("created",)
LOCKS = ("brief",)


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """What becomes of one column.

    `source_type` is the source's definition as `notation.source_type` writes it. `policies` holds
    only those that the file states. A column with `computed` is calculated by PostgreSQL from that
    expression and not carried. `reason` is the trailing comment, or why the column is dropped.
    """

    source: str
    source_type: str = ""
    target_type: str = ""
    source_nullable: bool | None = None
    """None: not said."""
    target_nullable: bool | None = None
    """None: as in the source."""
    name: str = ""
    """The target's name where it differs from the source's."""
    policies: Mapping[str, str] = field(default_factory=dict)
    zone: str = ""
    mask: bool = False
    computed: str = ""
    dropped: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for every table of a directory unless its own file says otherwise."""

    on_ddl: str = "stop"
    policies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableMapping:
    """One mapping file. `target` None: the table is left out, for `reason`.

    `file` and `lines` tell where the mapping was read from, for messages only.
    """

    source: TableName
    target: TableName | None
    fingerprint: str = ""
    columns: tuple[ColumnMapping, ...] = ()
    key: tuple[str, ...] = ()
    where: str = ""
    group: str = ""
    on_ddl: str = "stop"
    schema: str = "created"
    lock: str = ""
    indexes: tuple[str, ...] = ()
    not_carried: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    defaults: Defaults = field(default_factory=Defaults)
    file: str = field(default="", compare=False)
    lines: Mapping[Place, int] = field(default_factory=dict, compare=False, repr=False)

    def column(self, name: str) -> ColumnMapping | None:
        """The mapping of a source column."""
        return next((column for column in self.columns if column.source == name), None)

    def error(self, place: Place, message: str, hint: str) -> MappingError:
        """An error that names file and line of `place`, or the table where there is no file."""
        if not self.file:
            return MappingError(f"{self.source}: {message}", hint)
        while place and place not in self.lines:
            place = place[:-1]
        return MappingError(f"{self.file}:{self.lines.get(place, 1)}: {message}", hint)


def to_document(mapping: TableMapping) -> dict[str, Any]:
    """The mapping as plain JSON values, for the control schema; `from_document` reads it back."""
    return {
        "source": [mapping.source.schema, mapping.source.table],
        "target": [mapping.target.schema, mapping.target.table] if mapping.target else None,
        "fingerprint": mapping.fingerprint,
        "columns": [_column_document(column) for column in mapping.columns],
        "key": list(mapping.key),
        "where": mapping.where,
        "group": mapping.group,
        "on_ddl": mapping.on_ddl,
        "schema": mapping.schema,
        "lock": mapping.lock,
        "indexes": list(mapping.indexes),
        "not_carried": dict(mapping.not_carried),
        "reason": mapping.reason,
        "defaults": {
            "on_ddl": mapping.defaults.on_ddl,
            "policies": dict(mapping.defaults.policies),
        },
    }


def from_document(document: Mapping[str, Any]) -> TableMapping:
    """A mapping from what `to_document` gave."""
    target = document["target"]
    defaults = document["defaults"]
    return TableMapping(
        source=TableName(*document["source"]),
        target=TableName(*target) if target else None,
        fingerprint=document["fingerprint"],
        columns=tuple(ColumnMapping(**column) for column in document["columns"]),
        key=tuple(document["key"]),
        where=document["where"],
        group=document["group"],
        on_ddl=document["on_ddl"],
        schema=document["schema"],
        lock=document["lock"],
        indexes=tuple(document["indexes"]),
        not_carried=document["not_carried"],
        reason=document["reason"],
        defaults=Defaults(defaults["on_ddl"], defaults["policies"]),
    )


def _column_document(column: ColumnMapping) -> dict[str, Any]:
    return {
        "source": column.source,
        "source_type": column.source_type,
        "target_type": column.target_type,
        "source_nullable": column.source_nullable,
        "target_nullable": column.target_nullable,
        "name": column.name,
        "policies": dict(column.policies),
        "zone": column.zone,
        "mask": column.mask,
        "computed": column.computed,
        "dropped": column.dropped,
        "reason": column.reason,
    }
