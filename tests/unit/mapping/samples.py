"""A table to map, and the mapping file that init would write for it."""

from __future__ import annotations

from typing import Any

from bridge.names import TableName
from bridge.types.base import SourceColumn
from bridge.types.table import ForeignKey, IndexPart, SourceIndex, SourceTable

ORDERS = TableName("shop", "orders")


def column(name: str, column_type: str, **said: Any) -> SourceColumn:
    words = column_type.replace("(", " ").split()
    unsigned = "unsigned" in words
    return SourceColumn(name, 1, words[0], column_type, unsigned=unsigned, **said)


def index(name: str, *columns: str, unique: bool = False, **said: Any) -> SourceIndex:
    parts = tuple(IndexPart(each) for each in columns)
    return SourceIndex(name, parts, unique=unique, **said)


def table(*columns: SourceColumn, **said: Any) -> SourceTable:
    numbered = tuple(
        SourceColumn(**{s: getattr(c, s) for s in SourceColumn.__slots__} | {"ordinal": i})
        for i, c in enumerate(columns, 1)
    )
    given: dict[str, Any] = {
        "name": ORDERS,
        "flavor": "mysql",
        "engine": "InnoDB",
        "columns": numbered,
        "primary_key": (),
        "fingerprint": "9c41f0e2",
    }
    return SourceTable(**{**given, **said})


def orders(**said: Any) -> SourceTable:
    """A table with a bit of everything."""
    given: dict[str, Any] = {
        "primary_key": ("id",),
        "indexes": (
            index("by_state", "state", "placed"),
            index("code", "code", unique=True),
            index("words", "note", kind="FULLTEXT"),
        ),
        "foreign_keys": (ForeignKey("fk", ("customer",), TableName("shop", "customers"), ("id",)),),
    }
    text = {"charset": "utf8mb4", "collation": "utf8mb4_general_ci"}
    return table(
        column("note", "text", length=65535, **text),
        column("id", "bigint unsigned", nullable=False, auto_increment=True),
        column("customer", "bigint unsigned"),
        column("gift", "tinyint(1)"),
        column("state", "enum('new','paid')", labels=("new", "paid"), **text),
        column("placed", "datetime", nullable=False),
        column("code", "varchar(20)", length=20, **text),
        **{**given, **said},
    )
