"""The source: executes statements as InnoDB does and keeps a log of full row images."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from tests.models.schema import ID, REF, UNIQUE, Action, Row, Schema, Value, with_column

Rows = dict[object, Row]


class Mode(Enum):
    """Who carries out foreign keys for a statement; the log's event flags say which."""

    ENGINE = "engine: cascades are not logged"
    SQL_LAYER = "SQL layer: cascades are logged"
    NO_CHECKS = "no foreign key checks: nothing cascades"


class Change(NamedTuple):
    """One row event. A truncation has neither image."""

    table: str
    before: Row | None
    after: Row | None
    mode: Mode = Mode.ENGINE

    @property
    def truncates(self) -> bool:
        """Whether this empties the whole table."""
        return self.before is None and self.after is None


class Transaction(NamedTuple):
    """A committed transaction of the source at its position in the log."""

    position: int
    changes: tuple[Change, ...]


Contents = dict[str, Rows]


@dataclass(frozen=True)
class History:
    """What happened on the source: `states[p]` is what it held after position p."""

    schema: Schema
    states: tuple[Contents, ...]
    log: tuple[Transaction, ...]

    @property
    def end(self) -> int:
        """The last position."""
        return len(self.log)

    def between(self, after: int, until: int) -> tuple[Transaction, ...]:
        """The transactions later than `after`, up to and including `until`."""
        return self.log[after:until]

    def __str__(self) -> str:
        lines = [f"{fk}" for fk in self.schema.foreign_keys]
        lines.append(f"at 0: {self.states[0]}")
        for position, changes in self.log:
            lines += [
                f"  {position}: {c.table} {c.before} -> {c.after} {c.mode.name}" for c in changes
            ]
        lines.append(f"at {self.end}: {self.states[-1]}")
        return "\n".join(lines)


class Rejected(Exception):
    """The source refuses the statement."""


class Source:
    """The source's tables. Keyed ones map id to row, keyless ones number each row's copies."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.tables: Contents = {table.name: {} for table in schema.tables}
        self._events: list[Change] = []
        self._mode = Mode.ENGINE
        self._serial = 0

    def contents(self) -> Contents:
        """A copy of everything held now."""
        return {name: dict(rows) for name, rows in self.tables.items()}

    def execute(self, change: Change) -> list[Change]:
        """Carry out one row's change with its cascades; return what the log gets."""
        kept = self.contents()
        self._events, self._mode = [], change.mode
        try:
            if change.truncates:
                self.tables[change.table].clear()
                return [change]
            self._write(change.table, change.before, change.after, logged=True)
        except Rejected:
            self.tables = kept
            raise
        return self._events

    def _write(self, table: str, before: Row | None, after: Row | None, logged: bool) -> None:
        rows = self.tables[table]
        if before is not None:
            del rows[self._place(table, before)]
        if after is not None:
            self._require_allowed(
                table, after, logged and (before is None or before[REF] != after[REF])
            )
            rows[self._new_place(table, after)] = after
        if logged:
            self._events.append(Change(table, before, after, self._mode))
        if before is not None and (after is None or after[ID] != before[ID]):
            self._cascade(table, before[ID], None if after is None else after[ID])

    def _cascade(self, parent: str, old: Value, new: Value) -> None:
        if self._mode is Mode.NO_CHECKS:
            return
        for fk in self.schema.referencing[parent]:
            action = fk.on_delete if new is None else fk.on_update
            for place, row in list(self.tables[fk.child].items()):
                if row[fk.column] != old or self.tables[fk.child].get(place) != row:
                    continue
                if action is Action.RESTRICT:
                    raise Rejected
                goes = action is Action.CASCADE and new is None
                value = new if action is Action.CASCADE else None
                after = None if goes else with_column(row, fk.column, value)
                self._write(fk.child, row, after, logged=self._mode is Mode.SQL_LAYER)

    def _place(self, table: str, row: Row) -> object:
        if self.schema.by_name[table].keyed:
            return row[ID]
        return next(place for place, held in self.tables[table].items() if held == row)

    def _new_place(self, table: str, row: Row) -> object:
        if self.schema.by_name[table].keyed:
            return row[ID]
        self._serial += 1
        return self._serial

    def _require_allowed(self, table: str, row: Row, check_parents: bool) -> None:
        definition = self.schema.by_name[table]
        rows = self.tables[table]
        if definition.keyed and row[ID] in rows:
            raise Rejected
        taken = {held[UNIQUE] for held in rows.values()} - {None} if definition.unique else set()
        if row[UNIQUE] in taken:
            raise Rejected
        if self._mode is not Mode.NO_CHECKS:
            self._require_parents(table, row, check_parents)

    def _require_parents(self, table: str, row: Row, check_ref: bool) -> None:
        for fk in self.schema.foreign_keys:
            if fk.child != table or row[fk.column] is None or (fk.column == REF and not check_ref):
                continue
            itself = fk.parent == table and row[fk.column] == row[ID]
            if row[fk.column] not in self.tables[fk.parent] and not itself:
                raise Rejected
