"""Coalescing: changes of whole source transactions become a few segments of net effects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.models.schema import ID, Row, Schema, Value, is_bad
from tests.models.source import Change, Mode


@dataclass(frozen=True)
class Rules:
    """How changes are applied. The defaults are the rules as built, the rest breaks them."""

    segment_rows: int = 1_000
    cascades: str = "first"  # or "last", or "never"
    flags_heeded: bool = True
    closes_for_descendants: bool = True
    evicts: bool = True
    upserts: bool = True
    quarantine: str = (
        "supersede"  # or "follow", "stale row stays", "deletes forgotten", "old key forgotten"
    )
    cascades_reach_quarantine: bool = True


@dataclass(frozen=True)
class Scope:
    """What one stream applies: rows of some tables, and cascades from some tables into some."""

    rows: frozenset[str]
    cascades_from: frozenset[str]
    cascades_into: frozenset[str]

    @classmethod
    def of(cls, tables: Iterable[str]) -> Scope:
        """Some tables and nothing beyond them."""
        names = frozenset(tables)
        return cls(names, names, names)


class Cascade(NamedTuple):
    """A parent's id that went (new is None) or changed, to be carried into its descendants."""

    parent: str
    old: Value
    new: Value


@dataclass(frozen=True)
class Segment:
    """Cascades first, then truncations, then the last image (None: deleted) of each key.

    `counts` holds the net number of copies of each row of keyless tables.
    """

    cascades: list[Cascade] = field(default_factory=list)
    cleared: set[str] = field(default_factory=set)
    images: dict[str, dict[Value, Row | None]] = field(default_factory=dict)
    counts: dict[str, dict[Row, int]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows it holds in memory."""
        return sum(map(len, self.images.values())) + sum(map(len, self.counts.values()))

    def pending(self, tables: Iterable[str]) -> bool:
        """Whether anything waits to be done to one of the tables."""
        return any(
            name in self.images or name in self.counts or name in self.cleared for name in tables
        )


def segments_of(
    schema: Schema, changes: Iterable[Change], rules: Rules, scope: Scope
) -> list[Segment]:
    """Coalesce changes, in order, into segments to be executed in order."""
    segments = [Segment()]
    for change in changes:
        cascade = _cascade_of(schema, change, rules, scope)
        crowded = segments[-1].rows >= rules.segment_rows
        if cascade is not None and rules.closes_for_descendants:
            crowded = crowded or segments[-1].pending(schema.descendants[change.table])
        if crowded:
            segments.append(Segment())
        if cascade is not None:
            segments[-1].cascades.append(cascade)
        if change.table in scope.rows:
            _note(schema, segments[-1], change, rules)
    return segments


def _cascade_of(schema: Schema, change: Change, rules: Rules, scope: Scope) -> Cascade | None:
    if (
        change.before is None
        or change.table not in scope.cascades_from
        or rules.cascades == "never"
    ):
        return None
    if not schema.referencing[change.table] or (
        rules.flags_heeded and change.mode is not Mode.ENGINE
    ):
        return None
    if change.after is None:
        return Cascade(change.table, change.before[ID], None)
    if change.after[ID] == change.before[ID]:
        return None
    return Cascade(change.table, change.before[ID], change.after[ID])


def _note(schema: Schema, segment: Segment, change: Change, rules: Rules) -> None:
    if change.truncates:
        segment.images.pop(change.table, None)
        segment.counts.pop(change.table, None)
        segment.cleared.add(change.table)
    elif schema.by_name[change.table].keyed:
        images = segment.images.setdefault(change.table, {})
        forgotten = (
            rules.quarantine == "old key forgotten" and change.after and is_bad(change.after)
        )
        if change.before is not None and not forgotten:
            images[change.before[ID]] = None
        if change.after is not None:
            images[change.after[ID]] = change.after
    else:
        counts = segment.counts.setdefault(change.table, {})
        for row, by in ((change.before, -1), (change.after, 1)):
            if row is not None:
                counts[row] = counts.get(row, 0) + by
