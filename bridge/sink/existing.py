"""What is in the target already, as values."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.store.sql import queries

Connection = psycopg.Connection[Any]
_Q = queries("bridge.sink", "objects.sql")

_WORDS = (
    (r"character varying", "varchar"),
    (r"character\b", "char"),
    (r"\b(timestamp|time)((?:\(\d\))?) with time zone", r"\1tz\2"),
    (r" without time zone", ""),
    (r"\b(timestamptz|timestamp|timetz|time)(?![\w(])", r"\1(6)"),
    (r"\bbit(?![\w( ])", "bit(1)"),
    (r"\bint2\b", "smallint"),
    (r"\bint4\b|\bint\b", "integer"),
    (r"\bint8\b", "bigint"),
    (r"\bdecimal\b", "numeric"),
    (r"\bbool\b", "boolean"),
    (r"\s*,\s*", ","),
    (r"^\w+\.(?=\w)", ""),
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table in the target; `type` in the mapping's notation."""

    name: str
    type: str
    not_null: bool
    computed: bool
    filled: bool
    """Whether it has a default or is an identity."""
    collation: str


@dataclass(frozen=True, slots=True)
class Index:
    """An index in the target; an expression among `columns` is ''."""

    name: str
    unique: bool
    primary: bool
    valid: bool
    partial: bool
    method: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """A constraint in the target. `kind` is PostgreSQL's letter: p, u, f, c."""

    name: str
    kind: str
    validated: bool
    columns: tuple[str, ...]
    parent: TableName
    parent_columns: tuple[str, ...]


@dataclass(slots=True)
class Existing:
    """What the target has of the plans' schemas and tables."""

    schemas: set[str] = field(default_factory=set)
    relations: dict[TableName, str] = field(default_factory=dict)
    """Everything that takes a name in these schemas, with its kind (r table, i index …)."""
    columns: dict[TableName, list[Column]] = field(default_factory=lambda: defaultdict(list))
    indexes: dict[TableName, list[Index]] = field(default_factory=lambda: defaultdict(list))
    keys: dict[TableName, list[Key]] = field(default_factory=lambda: defaultdict(list))
    triggers: dict[TableName, dict[str, bool]] = field(default_factory=lambda: defaultdict(dict))
    """Names of triggers; whether each is enabled."""


def normal_type(text: str) -> str:
    """A type in the mapping's notation, whoever wrote it.

    ``timestamp(3) without time zone`` becomes ``timestamp(3)``.
    """
    text = " ".join(text.lower().split())
    for pattern, word in _WORDS:
        text = re.sub(pattern, word, text)
    return text


def read_existing(conn: Connection, plans: Sequence[TablePlan]) -> Existing:
    """Looks at the catalogue of the target; raises psycopg's errors."""
    names = {
        "schemas": sorted({plan.target.schema for plan in plans}),
        "tables": sorted({plan.target.table for plan in plans}),
    }
    found = Existing()
    found.schemas = {row[0] for row in conn.execute(_Q["schemas"], names)}
    for schema, name, kind in conn.execute(_Q["relations"], names):
        found.relations[TableName(schema, name)] = _letter(kind)
    for schema, table, column, kind, *rest in conn.execute(_Q["columns"], names):
        found.columns[TableName(schema, table)].append(Column(column, normal_type(kind), *rest))
    for schema, table, *rest in conn.execute(_Q["indexes"], names):
        index = Index(*rest)
        found.indexes[TableName(schema, table)].append(replace(index, columns=tuple(index.columns)))
    for row in conn.execute(_Q["constraints"], names):
        schema, table, name, kind, validated, columns, p_schema, p_table, p_columns = row
        parent = TableName(p_schema, p_table)
        key = Key(name, _letter(kind), validated, tuple(columns), parent, tuple(p_columns))
        found.keys[TableName(schema, table)].append(key)
    for schema, table, name, enabled in conn.execute(_Q["triggers"], names):
        found.triggers[TableName(schema, table)][name] = enabled
    return found


def _letter(value: object) -> str:
    """PostgreSQL's type "char" comes as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)
