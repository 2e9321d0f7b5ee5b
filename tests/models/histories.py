"""Random histories: a few rows, a few keys, as many collisions as will fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from tests.models.schema import (
    ID,
    REF,
    UNIQUE,
    Action,
    ForeignKey,
    Row,
    Schema,
    Table,
    Value,
    with_column,
)
from tests.models.source import Change, History, Mode, Rejected, Source, Transaction

ONE_TABLE = Schema((Table("a"),))
ONE_UNIQUE = Schema((Table("a", unique=True),))
TWO_UNIQUE = Schema((Table("a", unique=True), Table("b", unique=True)))
KEYLESS = Schema((Table("a", keyed=False),))
MIXED = Schema((Table("a", unique=True), Table("b", keyed=False), Table("c")))


@dataclass(frozen=True)
class Workload:
    """How much happens, and of which kinds; `parents` is how many times as often to parents."""

    transactions: int = 10
    statements: int = 3
    keys: int = 5
    key_changes: float = 0.15
    parents: int = 1
    bad: float = 0.0
    truncates: float = 0.03
    modes: tuple[Mode, ...] = (
        Mode.ENGINE,
        Mode.ENGINE,
        Mode.ENGINE,
        Mode.SQL_LAYER,
        Mode.NO_CHECKS,
    )


def random_history(rng: Random, schema: Schema, workload: Workload) -> History:
    """Some rows to begin with, then a log of transactions."""
    writer = _Writer(rng, schema, workload)
    writer.fill()
    states = [writer.source.contents()]
    log = []
    for position in range(1, workload.transactions + 1):
        log.append(Transaction(position, writer.transaction()))
        states.append(writer.source.contents())
    return History(schema, tuple(states), tuple(log))


def random_family(
    rng: Random,
    shapes: Sequence[str] = ("line", "tree", "shared key", "siblings", "two parents"),
    on_update: Sequence[Action] = (
        Action.CASCADE,
        Action.CASCADE,
        Action.SET_NULL,
        Action.RESTRICT,
    ),
) -> Schema:
    """One of a few shapes of related tables, with random actions."""
    shape = rng.choice(shapes)
    a, b, c = Table("a"), Table("b", unique=rng.random() < 0.5), Table("c")

    def key(child: str, parent: str) -> ForeignKey:
        on_delete = rng.choice((Action.CASCADE, Action.CASCADE, Action.SET_NULL))
        return ForeignKey(child, parent, REF, on_delete, rng.choice(on_update))

    def shared(child: str, parent: str) -> ForeignKey:
        action = Action.CASCADE if Action.CASCADE in on_update else Action.RESTRICT
        return ForeignKey(child, parent, ID, Action.CASCADE, action)

    if shape == "tree":
        # InnoDB refuses to cascade an update into the table that is being updated.
        own = replace(key("a", "a"), on_update=Action.RESTRICT)
        return Schema((a, b), (own, key("b", "a")))
    if shape == "shared key":
        return Schema((a, b, c), (shared("b", "a"), key("c", "b")))
    if shape == "siblings":
        return Schema((a, b, c), (key("b", "a"), key("c", "a")))
    if shape == "two parents":
        return Schema((a, c, b), (key("b", "a"), shared("b", "c")))
    last = replace(c, keyed=rng.random() < 0.7) if shape == "line" else c
    return Schema((a, b, last), (key("b", "a"), key("c", "b")))


class _Writer:
    """Draws statements that the source will mostly accept."""

    def __init__(self, rng: Random, schema: Schema, workload: Workload) -> None:
        self.source = Source(schema)
        self._rng = rng
        self._schema = schema
        self._workload = workload
        self._parents = {(fk.child, fk.column): fk.parent for fk in schema.foreign_keys}
        self._weighted = [
            table
            for table in schema.tables
            for _ in range(workload.parents if schema.referencing[table.name] else 1)
        ]
        self._serial = 0

    def fill(self) -> None:
        """Write the rows there are to begin with."""
        self._transaction(self._schema.tables, 2 * self._workload.keys)

    def transaction(self) -> tuple[Change, ...]:
        """Execute one transaction of random length."""
        return self._transaction(self._weighted, self._rng.randint(1, self._workload.statements))

    def _transaction(self, tables: Sequence[Table], statements: int) -> tuple[Change, ...]:
        """Execute statements; a truncation commits alone, as DDL does."""
        changes: list[Change] = []
        while len(changes) < statements:
            table = self._rng.choice(tables)
            if not changes and self._rng.random() < self._workload.truncates:
                mode = Mode.NO_CHECKS if self._schema.referencing[table.name] else Mode.ENGINE
                return tuple(self.source.execute(Change(table.name, None, None, mode)))
            for change in self._statement(table, self._rng.choice(self._workload.modes)):
                try:
                    changes += self.source.execute(change)
                except Rejected:
                    break
        return tuple(changes)

    def _statement(self, table: Table, mode: Mode) -> list[Change]:
        rng = self._rng
        rows = list(self.source.tables[table.name].values())
        kind = rng.random()
        if not rows or kind < 0.3:
            return [Change(table.name, None, self._new_row(table, mode), mode)]
        row = rng.choice(rows)
        if kind < 0.5:
            return [Change(table.name, row, None, mode)]
        if kind < 0.5 + self._workload.key_changes:
            free = [
                key
                for key in range(self._workload.keys)
                if key not in self.source.tables[table.name]
            ]
            key = rng.choice(free) if free and table.keyed else self._id(table, mode)
            return [Change(table.name, row, with_column(row, ID, key), mode)]
        if kind < 0.65 + self._workload.key_changes and table.unique and len(rows) > 1:
            return self._swap(table, row, rng.choice(rows), mode)
        return [Change(table.name, row, (row[ID], *self._new_row(table, mode)[1:]), mode)]

    def _swap(self, table: Table, one: Row, other: Row, mode: Mode) -> list[Change]:
        if one == other:
            return []
        parked = with_column(one, UNIQUE, None)
        moved = with_column(other, UNIQUE, one[UNIQUE])
        settled = with_column(one, UNIQUE, other[UNIQUE])
        steps = [(one, parked), (other, moved), (parked, settled)]
        return [Change(table.name, before, after, mode) for before, after in steps]

    def _new_row(self, table: Table, mode: Mode) -> Row:
        # Few distinct values in keyless tables, so that rows come in several copies.
        self._serial += 1
        value = self._serial if table.keyed else self._rng.randrange(2)
        if table.keyed and self._rng.random() < self._workload.bad:
            value = -1 - value
        unique = self._rng.randrange(2 * self._workload.keys) if table.unique else None
        return (self._id(table, mode), unique, value, self._reference(table.name, REF, mode))

    def _id(self, table: Table, mode: Mode) -> Value:
        if (table.name, ID) in self._parents:
            return self._reference(table.name, ID, mode) or 0
        return self._rng.randrange(self._workload.keys if table.keyed else 2)

    def _reference(self, table: str, column: int, mode: Mode) -> Value:
        parent = self._parents.get((table, column))
        if parent is None:
            return None
        held = [row[ID] for row in self.source.tables[parent].values()]
        if mode is Mode.NO_CHECKS or not held:
            return self._rng.randrange(self._workload.keys) if mode is Mode.NO_CHECKS else None
        return self._rng.choice(held)
