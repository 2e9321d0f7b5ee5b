"""A source table as the catalogue gives it: columns, keys, foreign keys, size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bridge.names import TableName
from bridge.types.base import Flavor, SourceColumn

Action = Literal["NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT"]


@dataclass(frozen=True, slots=True)
class IndexPart:
    """One part of an index: a column (perhaps its first `prefix` characters) or an expression."""

    column: str
    prefix: int | None = None
    expression: str = ""
    descending: bool = False


@dataclass(frozen=True, slots=True)
class SourceIndex:
    """An index other than the primary key. `kind`: BTREE, HASH, FULLTEXT, SPATIAL and others."""

    name: str
    parts: tuple[IndexPart, ...]
    unique: bool = False
    kind: str = "BTREE"
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key of the table (the child) to `parent`."""

    name: str
    columns: tuple[str, ...]
    parent: TableName
    parent_columns: tuple[str, ...]
    on_delete: Action = "NO ACTION"
    on_update: Action = "NO ACTION"

    @property
    def acts_on_delete(self) -> bool:
        """Whether the delete of a parent row changes child rows."""
        return self.on_delete in ("CASCADE", "SET NULL")

    @property
    def acts_on_update(self) -> bool:
        """Whether another value in a parent row changes child rows."""
        return self.on_update in ("CASCADE", "SET NULL")

    @property
    def cascades(self) -> bool:
        """Whether a change of the parent changes child rows."""
        return self.acts_on_delete or self.acts_on_update


@dataclass(frozen=True, slots=True)
class Check:
    """A CHECK constraint with MySQL's text of its condition."""

    name: str
    condition: str


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table of the source; `columns` in the order of TABLE_MAP events, generated ones included.

    `rows` and `bytes` are the server's estimates. `fingerprint` is eight hex digits over everything
    that the definition says about rows (not over AUTO_INCREMENT's counter).
    """

    name: TableName
    flavor: Flavor
    engine: str
    columns: tuple[SourceColumn, ...]
    primary_key: tuple[str, ...]
    indexes: tuple[SourceIndex, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    rows: int = 0
    bytes: int = 0
    charset: str = "utf8mb4"
    comment: str = ""
    auto_increment: int | None = None
    partitioned: bool = False
    fingerprint: str = ""

    def column(self, name: str) -> SourceColumn:
        """The column of that name; raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)
