"""The tables that callers name, as SQLAlchemy writes them on either side.

Names of tables and columns are the source's, and are only ever looked up: nothing that a caller
says becomes part of a statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from sqlalchemy import BigInteger, Column, MetaData, Table, and_
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import NullType

from bridge.dualwrite.groups import group_of
from bridge.dualwrite.http.problems import Problem
from bridge.dualwrite.http.values import Unfit, for_source, for_target, parse, shown
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.types.base import ColumnPlan


@dataclass(frozen=True, eq=False)
class Carried:
    """One table: its columns by the source's names, and what SQLAlchemy has for it on each side."""

    name: str
    plan: TablePlan
    group: str
    columns: Mapping[str, ColumnPlan]
    source: Table
    target: Table

    @cached_property
    def key(self) -> tuple[str, ...]:
        """The names of the key's columns; () without a key."""
        return tuple(column.source.name for column in self.plan.key_columns)

    @cached_property
    def counted(self) -> str:
        """The key's column that the source counts up; '' for none."""
        counted = [c.source.name for c in self.plan.key_columns if c.source.auto_increment]
        return counted[0] if counted else ""

    def required_key(self) -> tuple[str, ...]:
        """The same; raises Problem for a table without a key."""
        if not self.key:
            raise Problem(
                422, "no-key", f"{self.name} has no key", "rows can only be inserted there"
            )
        return self.key

    def on(self, side: str) -> Table:
        """The table of a side."""
        return self.source if side == "source" else self.target

    def values(self, given: Mapping[str, Any], side: str) -> dict[str, Any]:
        """A caller's values as a side's driver takes them; raises Problem."""
        convert = for_source if side == "source" else for_target
        found = {}
        for name, value in given.items():
            column = self.columns.get(name)
            if column is None:
                raise self._unknown(name)
            if column.source.generated:
                raise Problem(422, "generated-column", f"{self.name}.{name} is computed")
            try:
                found[name] = convert(column, parse(column, value))
            except Unfit as error:
                raise Problem(
                    422, "wrong-value", f"{self.name}.{name} does not take this value", str(error)
                ) from None
        return found

    def key_values(self, given: Mapping[str, Any], side: str) -> dict[str, Any]:
        """A whole key as a side's driver takes it; raises Problem."""
        if set(given) != set(self.required_key()) or None in given.values():
            raise Problem(
                422, "wrong-key", f"this is not the key of {self.name}", f"it is {self._said_key}"
            )
        return self.values(given, side)

    def changes(
        self, key: Mapping[str, Any], given: Mapping[str, Any], side: str
    ) -> dict[str, Any]:
        """New values for the row of a key, as a side's driver takes them; raises Problem."""
        named = [name for name in given if name in key]
        if named:
            raise Problem(
                422,
                "key-in-values",
                f"{self.name}.{named[0]} is of the key",
                "a key does not change",
            )
        return self.values(given, side)

    def where(self, key: Mapping[str, Any], side: str) -> ColumnElement[bool]:
        """The condition for the row of a key that `key_values` gave."""
        columns = self.on(side).columns
        return and_(*(columns[name] == value for name, value in key.items()))

    def shown(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row as JSON, by the source's names."""
        return {name: shown(column, row[name]) for name, column in self.columns.items()}

    def shown_key(self, key: Mapping[str, Any]) -> dict[str, Any]:
        """A key as JSON; columns whose value is not known are left out."""
        known = {name: key[name] for name in self.key if key.get(name) is not None}
        return {name: shown(self.columns[name], value) for name, value in known.items()}

    @property
    def _said_key(self) -> str:
        return "[" + ", ".join(self.key) + "]" if len(self.key) > 1 else self.key[0]

    def _unknown(self, name: str) -> Problem:
        return Problem(
            422,
            "unknown-column",
            f"{self.name} has no column “{name}” that is carried",
            _known(name, self.columns),
        )


def absent(table: Carried) -> Problem:
    """There is no row of this key."""
    return Problem(404, "no-such-row", f"{table.name} has no row of this key", "upsert makes one")


class Tables:
    """All carried tables; those of `database` go by their bare names."""

    def __init__(self, plans: Mapping[TableName, TablePlan], database: str) -> None:
        self._by_name: dict[str, Carried] = {}
        for name, plan in plans.items():
            called = name.table if name.schema == database else str(name)
            self._by_name[called] = _carried(called, plan, database)
        self.groups = sorted({each.group for each in self._by_name.values()})

    def __iter__(self) -> Iterable[Carried]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Carried:
        """The table of a name; raises Problem."""
        found = self._by_name.get(name)
        if found is None:
            raise Problem(
                404, "unknown-table", f"no table “{name}” is carried", _known(name, self._by_name)
            )
        return found


def _known(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = get_close_matches(name, names, n=1)
    listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"did you mean {close[0]}?" if close else f"there are: {listed}"


def _carried(called: str, plan: TablePlan, database: str) -> Carried:
    columns = {column.source.name: column for column in plan.columns}
    generated = [column for column, _ in plan.computed]
    columns |= {column.source.name: column for column in generated}
    schema = None if plan.source.schema == database else plan.source.schema
    source = Table(plan.source.table, MetaData(), *_columns(plan, columns, False), schema=schema)
    target = Table(
        plan.target.table, MetaData(), *_columns(plan, columns, True), schema=plan.target.schema
    )
    return Carried(called, plan, group_of(plan.source, plan.group), columns, source, target)


def _columns(
    plan: TablePlan, columns: Mapping[str, ColumnPlan], there: bool
) -> Iterable[Column[Any]]:
    key = {column.source.name for column in plan.key_columns}
    for name, column in columns.items():
        counted = column.source.auto_increment
        yield Column(
            column.target_name if there else name,
            BigInteger() if counted else NullType(),
            key=name,
            primary_key=name in key,
            autoincrement=counted and name in key,
        )
