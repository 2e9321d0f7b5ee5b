"""Groups of tables that should switch together, and what would go over both sides. Pure.

Tables belong together where a foreign key ties them, and where one transaction writes them: a
switch of one without the other would leave such a transaction no side to be on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.names import TableName
from bridge.types.table import SourceTable


@dataclass(frozen=True, slots=True)
class Together:
    """So many transactions wrote just these tables; one of them ended at `example`."""

    tables: frozenset[TableName]
    transactions: int
    example: str


@dataclass(frozen=True, slots=True)
class Tie:
    """Why two tables are in one group. `kind`: ``foreign-key`` or ``transaction``."""

    kind: str
    tables: tuple[TableName, TableName]
    name: str = ""
    transactions: int = 0
    example: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        found = {"kind": self.kind, "tables": [str(table) for table in self.tables]}
        if self.kind == "foreign-key":
            return {**found, "name": self.name}
        return {**found, "transactions": self.transactions, "example": self.example}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A group, named after the table that most others refer to. `cycles` of foreign keys in it."""

    name: str
    tables: tuple[TableName, ...]
    ties: tuple[Tie, ...]
    cycles: tuple[tuple[TableName, ...], ...]

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "group": self.name,
            "tables": [str(table) for table in self.tables],
            "ties": [tie.document() for tie in self.ties],
            "cycles": [[str(table) for table in cycle] for cycle in self.cycles],
        }


def propose(
    tables: Iterable[SourceTable], together: Iterable[Together] = (), *, least: int = 2
) -> list[Proposal]:
    """The groups, by name. Tables that fewer than `least` transactions wrote are left apart.

    (One may be somebody's clean-up by hand; `spanning` tells of it all the same.)
    """
    known = {table.name: table for table in tables}
    ties = [*_by_keys(known), *_by_transactions(known, list(together), least)]
    member = {name: {name} for name in known}
    for tie in ties:
        first, second = tie.tables
        merged = member[first] | member[second]
        for name in merged:
            member[name] = merged
    groups = {frozenset(names) for names in member.values()}
    return sorted((_proposal(known, group, ties) for group in groups), key=lambda p: p.name)


def _by_keys(known: Mapping[TableName, SourceTable]) -> list[Tie]:
    return [
        Tie("foreign-key", (name, key.parent), key.name)
        for name, table in known.items()
        for key in table.foreign_keys
        if key.parent in known and key.parent != name
    ]


def _by_transactions(
    known: Mapping[TableName, SourceTable], together: Sequence[Together], least: int
) -> list[Tie]:
    """One tie a pair of tables, with all transactions that wrote both."""
    counts: dict[tuple[TableName, TableName], tuple[int, str]] = {}
    for each in together:
        names = sorted(each.tables & known.keys())
        for at, first in enumerate(names):
            for second in names[at + 1 :]:
                count, example = counts.get((first, second), (0, each.example))
                counts[first, second] = (count + each.transactions, example)
    return [
        Tie("transaction", pair, "", count, example)
        for pair, (count, example) in sorted(counts.items())
        if count >= least
    ]


def _proposal(
    known: Mapping[TableName, SourceTable], group: frozenset[TableName], ties: Sequence[Tie]
) -> Proposal:
    mine = tuple(tie for tie in ties if tie.tables[0] in group)
    referred = dict.fromkeys(group, 0)
    for tie in mine:
        if tie.kind == "foreign-key":
            referred[tie.tables[1]] += 1
    first = min(group, key=lambda name: (-referred[name], name))
    return Proposal(first.table, tuple(sorted(group)), mine, _cycles(known, group))


def _cycles(
    known: Mapping[TableName, SourceTable], group: frozenset[TableName]
) -> tuple[tuple[TableName, ...], ...]:
    """Sets of tables each of which refers to each other one, however far around; sorted."""
    parents = {
        name: {key.parent for key in known[name].foreign_keys if key.parent in group}
        for name in group
    }
    reach = {name: _reachable(parents, name) for name in group}
    found = {
        frozenset(other for other in reach[name] if name in reach[other])
        for name in group
        if name in reach[name]
    }
    return tuple(sorted(tuple(sorted(cycle)) for cycle in found))


def _reachable(parents: Mapping[TableName, set[TableName]], start: TableName) -> set[TableName]:
    found: set[TableName] = set()
    waiting = [*parents[start]]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += parents[name]
    return found


def spanning(groups: Mapping[TableName, str], together: Iterable[Together]) -> list[Together]:
    """Transactions over several groups; the most frequent first. Unknown tables don't count."""
    found = [
        each
        for each in together
        if len({groups[table] for table in each.tables if table in groups}) > 1
    ]
    return sorted(found, key=lambda each: (-each.transactions, sorted(each.tables)))
