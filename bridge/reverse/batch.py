"""Whole transactions of PostgreSQL, gathered for one transaction of MySQL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from bridge.reverse.pgoutput import UNCHANGED
from bridge.reverse.values import Unheld
from bridge.reverse.writer import Key, Row, Writer, merged


class Change(NamedTuple):
    """One row's change.

    `old` is the key that it had (an upsert without it is a new row's, or one whose key stayed),
    `new` what it is afterwards (None: gone). Without a key `gone` is the whole old row. All of
    them None: the table was emptied.
    """

    writer: Writer
    lsn: int
    old: Key | None
    new: Row | None
    gone: Row | None = None

    @property
    def empties(self) -> bool:
        """Whether it is a TRUNCATE."""
        return self.old is None and self.new is None and self.gone is None


class Statement(NamedTuple):
    """One statement; `rows`: how many it must find (None: any number)."""

    sql: bytes
    rows: int | None = None


@dataclass(slots=True)
class Batch:
    """Changes in their order.

    `position`: up to where everything is applied with it. `whole` is false for a part of a
    transaction that is too large to be held: the next batch goes on in the same one of MySQL's.
    """

    position: int = 0
    changes: list[Change] = field(default_factory=list)
    size: int = 0
    whole: bool = True
    since: float = 0.0
    statements: list[Statement] | None = None
    """How it is applied if nothing stands in the way; None: change by change."""

    def seal(self) -> None:
        """Makes the statements: the last image of each key counts."""
        try:
            self.statements = list(_statements(self.changes))
        except Unheld:
            self.statements = None


def _statements(changes: Iterable[Change]) -> Iterable[Statement]:
    tables: dict[Writer, list[Change]] = {}
    for change in changes:
        if change.empties:
            tables[change.writer] = [change]
        else:
            tables.setdefault(change.writer, []).append(change)
    for writer, mine in tables.items():
        emptied = mine[0].empties
        if emptied:
            yield Statement(writer.delete_all())
        rest = mine[emptied:]
        yield from _keyed(writer, rest) if writer.keyed else _keyless(writer, rest)


def _keyed(writer: Writer, changes: Iterable[Change]) -> Iterable[Statement]:
    """Deletes, then updates of rows that did not come whole, then the others."""
    found = coalesced(writer, changes)
    if found.moved:
        raise Unheld("moved", "a row that did not come whole got another key")
    deletes = [key for key, row in found.last.items() if row is None or key in found.replaced]
    if deletes:
        yield from map(Statement, writer.deletes(deletes))
    whole = []
    for key, row in found.last.items():
        if row is None:
            continue
        if UNCHANGED in row:
            yield Statement(writer.update(key, row), 1)
        else:
            whole.append(writer.rendered(row))
    yield from map(Statement, writer.inserts(whole))


@dataclass(slots=True)
class Coalesced:
    """The last image of each key (None: gone).

    `moved`: a row can only be got by changing its key where it stands. `replaced`: keys whose row
    went before another one came.
    """

    last: dict[Key, Row | None] = field(default_factory=dict)
    moved: bool = False
    replaced: set[Key] = field(default_factory=set)


def coalesced(writer: Writer, changes: Iterable[Change]) -> Coalesced:
    """What a table's changes come to."""
    found = Coalesced()
    last = found.last
    for change in changes:
        if change.new is None:
            if change.old is not None:
                last[change.old] = None
            continue
        key = writer.key(change.new)
        before = last.get(key)
        if key in last and before is None:
            found.replaced.add(key)
        if change.old is not None and change.old != key:
            before = last.get(change.old)
            last[change.old] = None
            # Columns that only the source has would go with the row.
            found.moved = found.moved or not writer.alone
        whole = merged(change.new, before) if before is not None else change.new
        if change.old is not None and change.old != key and UNCHANGED in whole:
            found.moved = True
        last[key] = whole
    return found


def _keyless(writer: Writer, changes: Iterable[Change]) -> Iterable[Statement]:
    """All new rows before any goes, so that each that goes is there."""
    mine = list(changes)
    new = [writer.rendered(change.new) for change in mine if change.new is not None]
    yield from map(Statement, writer.inserts(new))
    for change in mine:
        if change.gone is not None:
            yield Statement(writer.delete_one(change.gone), 1)
