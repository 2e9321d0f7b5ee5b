"""The source: a log of full row images, and what its operations touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

Row = tuple[int | None, int, int | None]
"""Unique value, plain value (negative: the target refuses it), and the parent's key."""
Event = tuple[int, Row | None, Row | None]
"""Key, image before, image after."""
Rows = dict[int, Row]

PARENTS = 3
KEYS = 6
"""Keys below `PARENTS` are parents', the others children's, with unique values of their own."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A transaction of the layer. `at` is its position, or None if the source lost it."""

    seq: int
    at: int | None
    touched: tuple[int, ...]
    missed: tuple[int, ...] = ()
    images: Rows = field(default_factory=dict)
    """Of an operation that was lost: what its rows were."""


class Commit(NamedTuple):
    """One transaction in the log."""

    events: tuple[Event, ...]
    op: Operation | None


@dataclass(frozen=True, slots=True)
class Log:
    """`states[p]` is what the source held after position p; `lost` came after p and went."""

    states: list[Rows]
    commits: list[Commit]
    lost: dict[int, Operation]

    def __str__(self) -> str:
        lines = [f"source at 0: {self.states[0]}"]
        for position, commit in enumerate(self.commits, 1):
            lines.append(f"  {position}: {commit.op or 'no operation'}: {commit.events}")
        return "\n".join([*lines, f"lost: {self.lost}"])


@dataclass(frozen=True, slots=True)
class Workload:
    """How much happens."""

    commits: int = 6
    bad: float = 0.12
    operations: float = 0.6
    lost: float = 0.05
    unchanged: float = 0.2
    """Updates that leave the row as it is."""
    handovers: float = 0.25
    """Unique values that go from one row to another."""


def merged(held: Row, before: Row, after: Row) -> Row:
    """The row, with those columns changed that a change changed."""
    return (
        held[0] if before[0] == after[0] else after[0],
        held[1] if before[1] == after[1] else after[1],
        held[2] if before[2] == after[2] else after[2],
    )


def random_log(rng: Random, workload: Workload) -> Log:
    """A few rows, then transactions that collide as often as will fit."""
    random = rng.random
    writer = _Writer(random, workload)
    for key in range(KEYS):
        if random() < 0.6:
            writer.insert(key)
    states = [writer.rows.copy()]
    commits: list[Commit] = []
    lost = {}
    while len(commits) < workload.commits:
        at = len(commits) + 1
        seq = 4 * at + (6 if random() < 0.3 else 0)  # numbered in another order than committed
        kept = writer.rows.copy()
        layer = random() < workload.operations
        writer.transaction()
        touched = tuple(writer.touched)
        if layer and touched and random() < workload.lost:
            rows = {key: writer.rows[key] for key in touched if key in writer.rows}
            lost[at - 1] = Operation(4 * at + 1, None, touched, images=rows)
            writer.rows = kept
            continue
        if layer and (touched or writer.missed):
            op = Operation(seq, at, touched, tuple(writer.missed - writer.touched.keys()))
            commits.append(Commit(tuple(writer.events), op))
        elif writer.events:
            commits.append(Commit(tuple(writer.events), None))
        else:
            continue
        states.append(writer.rows.copy())
    return Log(states, commits, lost)


class _Writer:
    """Executes random statements; cascades stand in the log."""

    def __init__(self, random: Callable[[], float], workload: Workload) -> None:
        self.rows: Rows = {}
        self.events: list[Event] = []
        self.touched: dict[int, None] = {}
        self.missed: set[int] = set()
        self._random = random
        self._bad = workload.bad
        self._unchanged = workload.unchanged
        self._handed = workload.unchanged + workload.handovers
        self._cascades = random() < 0.6
        self._serial = 0

    def transaction(self) -> None:
        """One to three statements."""
        self.events = []
        self.touched = {}
        self.missed = set()
        for _ in range(1 + int(self._random() ** 2 * 3)):
            self._statement(int(self._random() * KEYS))

    def _statement(self, key: int) -> None:
        row = self.rows.get(key)
        kind = self._random()
        if row is None:
            if kind < 0.2:
                self.missed.add(key)
            else:
                self.insert(key)
            return
        self.touched[key] = None
        if kind < self._unchanged:
            return  # the row held these values already: it is locked, and the log says nothing
        if kind < self._handed:
            self._hand_over(key, row)
            return
        kind = self._random()
        if kind < 0.4:
            self._delete(key)
            if kind < 0.15:
                self.insert(key)
        elif kind < 0.5 and key >= PARENTS:
            self._change_key(key, row)
        elif kind < 0.65:
            self._write(key, (self._unique(key), row[1], row[2]))
        else:
            self._write(key, (row[0], self._value(), row[2]))

    def insert(self, key: int) -> None:
        """A row with a unique value that is free, or none."""
        parent = None
        if key >= PARENTS:
            parent = int(self._random() * PARENTS)
            if parent not in self.rows:
                parent = None
        self.touched[key] = None
        self._write(key, (self._unique(key), self._value(), parent))

    def _delete(self, key: int) -> None:
        for child in range(PARENTS, KEYS):
            row = self.rows.get(child)
            if row is not None and row[2] == key:
                self._write(child, None if self._cascades else (row[0], row[1], None))
        self._write(key, None)

    def _hand_over(self, key: int, row: Row) -> None:
        """Gives the unique value to another row, or swaps with it."""
        base = 0 if key < PARENTS else PARENTS
        other = base + (key + 1 + int(self._random() * 2)) % PARENTS
        held = self.rows.get(other)
        if held is None or row[0] is None:
            self._write(key, (self._unique(key), row[1], row[2]))
            return
        self.touched[other] = None
        self._write(key, (None, row[1], row[2]))
        self._write(other, (row[0], held[1], held[2]))
        if self._random() < 0.5:
            self._write(key, (held[0], row[1], row[2]))

    def _change_key(self, key: int, row: Row) -> None:
        new = PARENTS + int(self._random() * (KEYS - PARENTS))
        if new not in self.rows:
            self.touched[new] = None
            self._write(key, None)
            self._write(new, row)

    def _write(self, key: int, row: Row | None) -> None:
        before = self.rows.get(key)
        if before == row:
            return
        self.events.append((key, before, row))
        if row is None:
            del self.rows[key]
        else:
            self.rows[key] = row

    def _unique(self, key: int) -> int | None:
        base = 0 if key < PARENTS else 10
        value = base + int(self._random() * 4)
        for row in self.rows.values():
            if row[0] == value:
                return None
        return value

    def _value(self) -> int:
        self._serial += 1
        return -self._serial if self._random() < self._bad else self._serial
