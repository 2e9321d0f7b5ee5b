"""The target: tables, unique indexes and the bridge's own rows, all of one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tests.models.schema import ID, UNIQUE, Row, Schema, is_bad
from tests.models.source import Contents, Rows


class Wrong(Exception):
    """The model ended, or was seen, in a state that it must not be in."""


class Blocked(Wrong):
    """The target refuses a write and would refuse it again."""


class UniqueViolation(Blocked):
    """A row's unique value is held by another row."""


@dataclass(frozen=True)
class Target:
    """What the target holds. A transaction works on `begin()` and commits by taking its place."""

    schema: Schema
    tables: Contents
    frontiers: dict[str, int]
    quarantine: dict[tuple[str, object], Row] = field(default_factory=dict)
    tombstones: set[object] = field(default_factory=set)
    done: set[int] = field(default_factory=set)
    indexed: set[str] = field(default_factory=set)

    @classmethod
    def empty(cls, schema: Schema, frontier: int = 0) -> Target:
        """A target without rows or unique indexes."""
        names = [table.name for table in schema.tables]
        return cls(schema, {name: {} for name in names}, dict.fromkeys(names, frontier))

    @classmethod
    def holding(cls, schema: Schema, contents: Contents, frontier: int) -> Target:
        """A target with exactly these rows, the bad ones in quarantine, and all indexes."""
        target = cls.empty(schema, frontier)
        for name, rows in contents.items():
            for place, row in rows.items():
                if is_bad(row):
                    target.quarantine[name, place] = row
                else:
                    target.tables[name][place] = row
            if schema.by_name[name].unique:
                target.build_index(name)
        return target

    def begin(self) -> Target:
        """A copy to work on."""
        return replace(
            self,
            tables={name: dict(rows) for name, rows in self.tables.items()},
            frontiers=dict(self.frontiers),
            quarantine=dict(self.quarantine),
            tombstones=set(self.tombstones),
            done=set(self.done),
            indexed=set(self.indexed),
        )

    def insert(self, table: str, row: Row) -> None:
        """Plain INSERT."""
        if self.schema.by_name[table].keyed and row[ID] in self.tables[table]:
            raise Blocked(f"duplicate key in {table}: {row}")
        self.upsert(table, row)

    def upsert(self, table: str, row: Row) -> None:
        """INSERT … ON CONFLICT (key) DO UPDATE; into a keyless table, INSERT."""
        rows = self.tables[table]
        keyed = self.schema.by_name[table].keyed
        if table in self.indexed and row[UNIQUE] is not None:
            for held in rows.values():
                if held[UNIQUE] == row[UNIQUE] and held[ID] != row[ID]:
                    raise UniqueViolation(f"{table}: {row} against {held}")
        rows[row[ID] if keyed else max(map(_serial, rows), default=0) + 1] = row

    def copy_in(self, table: str, rows: Iterable[Row]) -> None:
        """Plain COPY of a chunk; the rows that cannot be represented go to quarantine with it."""
        for row in rows:
            if is_bad(row):
                self.quarantine[table, row[ID]] = row
            else:
                self.insert(table, row)

    def remove_one(self, table: str, row: Row) -> None:
        """Delete exactly one copy of a keyless table's row."""
        rows = self.tables[table]
        place = next((place for place, held in rows.items() if held == row), None)
        if place is None:
            raise Blocked(f"{table}: no copy of {row} to delete")
        del rows[place]

    def build_index(self, table: str) -> None:
        """CREATE UNIQUE INDEX, which reads all rows."""
        counts = Counter(
            row[UNIQUE] for row in self.tables[table].values() if row[UNIQUE] is not None
        )
        if any(count > 1 for count in counts.values()):
            raise UniqueViolation(f"{table}: {counts}")
        self.indexed.add(table)


def _serial(place: object) -> int:
    assert isinstance(place, int)
    return place


def same_rows(schema: Schema, table: str, one: Rows, other: Rows) -> bool:
    """Whether two copies of a table hold the same rows."""
    if schema.by_name[table].keyed:
        return one == other
    return Counter(one.values()) == Counter(other.values())
