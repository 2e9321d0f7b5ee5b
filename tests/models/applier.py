"""Executing segments in a target transaction."""

from __future__ import annotations

from collections.abc import Iterable

from tests.models.cascades import carry_out_all
from tests.models.schema import Row, Value, is_bad
from tests.models.segments import Rules, Scope, Segment, segments_of
from tests.models.source import Transaction
from tests.models.target import Blocked, Target, UniqueViolation

BUILT = Rules()


def apply_batch(
    target: Target,
    transactions: Iterable[Transaction],
    rules: Rules = BUILT,
    scope: Scope | None = None,
) -> None:
    """Apply whole source transactions, as far as they are in scope (None: all of it)."""
    within = scope or Scope.of(target.tables)
    changes = [change for _, changes in transactions for change in changes]
    for segment in segments_of(target.schema, changes, rules, within):
        _execute(target, segment, rules, within)


def _execute(target: Target, segment: Segment, rules: Rules, scope: Scope) -> None:
    if rules.cascades == "first":
        carry_out_all(target, segment.cascades, rules, scope)
    for table in segment.cleared:
        target.tables[table].clear()
        for entry in [entry for entry in target.quarantine if entry[0] == table]:
            del target.quarantine[entry]
    for table, images in segment.images.items():
        _write_images(target, table, _divert_bad(target, table, images, rules), rules)
    for table, counts in segment.counts.items():
        _write_counts(target, table, counts)
    if rules.cascades == "last":
        carry_out_all(target, segment.cascades, rules, scope)


def _divert_bad(
    target: Target, table: str, images: dict[Value, Row | None], rules: Rules
) -> dict[Value, Row | None]:
    """Put bad images into quarantine; whatever else comes for a key supersedes its entry."""
    writable: dict[Value, Row | None] = {}
    for key, image in images.items():
        entry = (table, key)
        held = entry in target.quarantine
        if image is not None and is_bad(image):
            target.quarantine[entry] = image
            if rules.quarantine != "stale row stays":
                writable[key] = None
        elif rules.quarantine == "follow" and held and image is not None:
            target.quarantine[entry] = image
        else:
            if not (rules.quarantine == "deletes forgotten" and image is None):
                target.quarantine.pop(entry, None)
            writable[key] = image
    return writable


def _write_images(
    target: Target, table: str, images: dict[Value, Row | None], rules: Rules
) -> None:
    if not rules.upserts:
        _write_counted(target, table, images)
        return
    kept = dict(target.tables[table])
    try:
        _delete(target, table, [key for key, image in images.items() if image is None])
        _upsert(target, table, images)
    except UniqueViolation:
        if not rules.evicts:
            raise
        target.tables[table] = kept
        _delete(target, table, images)
        _upsert(target, table, images)


def _write_counted(target: Target, table: str, images: dict[Value, Row | None]) -> None:
    """Statements that expect to find exactly what the log says was there."""
    for key, image in images.items():
        if image is None and target.tables[table].pop(key, None) is None:
            raise Blocked(f"{table}: nothing to delete at {key}")
        if image is not None:
            target.upsert(table, image)


def _delete(target: Target, table: str, keys: Iterable[Value]) -> None:
    for key in keys:
        target.tables[table].pop(key, None)


def _upsert(target: Target, table: str, images: dict[Value, Row | None]) -> None:
    for image in images.values():
        if image is not None:
            target.upsert(table, image)


def _write_counts(target: Target, table: str, counts: dict[Row, int]) -> None:
    for row, count in counts.items():
        for _ in range(count):
            target.upsert(table, row)
        for _ in range(-count):
            target.remove_one(table, row)
