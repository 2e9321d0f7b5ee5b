"""Executing segments in a target transaction, with the cascades that no log mentions."""

from __future__ import annotations

from collections.abc import Iterable

from tests.models.schema import ID, Action, Row, Value, is_bad, with_column
from tests.models.segments import Cascade, Rules, Segment, segments_of
from tests.models.source import Change, Transaction
from tests.models.target import Blocked, Target, UniqueViolation

BUILT = Rules()


def apply_batch(
    target: Target,
    transactions: Iterable[Transaction],
    rules: Rules = BUILT,
    tables: Iterable[str] | None = None,
) -> None:
    """Apply whole source transactions, of some tables only if they are named."""
    names = set(target.tables if tables is None else tables)
    changes = [c for _, changes in transactions for c in changes if c.table in names]
    apply_changes(target, changes, rules)


def apply_changes(target: Target, changes: Iterable[Change], rules: Rules = BUILT) -> None:
    """Coalesce and execute changes."""
    for segment in segments_of(target.schema, changes, rules):
        _execute(target, segment, rules)


def _execute(target: Target, segment: Segment, rules: Rules) -> None:
    if rules.cascades == "first":
        _cascade_all(target, segment.cascades, rules)
    for table in segment.cleared:
        target.tables[table].clear()
        for entry in [entry for entry in target.quarantine if entry[0] == table]:
            del target.quarantine[entry]
    for table, images in segment.images.items():
        _write_images(target, table, _divert_bad(target, table, images, rules), rules)
    for table, counts in segment.counts.items():
        _write_counts(target, table, counts)
    if rules.cascades == "last":
        _cascade_all(target, segment.cascades, rules)


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


def _write_images(target: Target, table: str, images: dict[Value, Row | None], rules: Rules) -> None:
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


def _cascade_all(target: Target, cascades: Iterable[Cascade], rules: Rules) -> None:
    for cascade in cascades:
        _carry_out(target, cascade, rules)


def _carry_out(target: Target, cascade: Cascade, rules: Rules) -> None:
    """Do to the descendants what the source's engine did, rows in quarantine included."""
    for fk in target.schema.referencing[cascade.parent]:
        action = fk.on_delete if cascade.new is None else fk.on_update
        if action is Action.RESTRICT:
            continue
        value = cascade.new if action is Action.CASCADE else None
        goes = action is Action.CASCADE and cascade.new is None
        for place, row, quarantined in _children(target, fk.child, fk.column, cascade.old, rules):
            if not _take(target, fk.child, place, row, quarantined):
                continue
            after = None if goes else with_column(row, fk.column, value)
            if after is not None:
                _put_back(target, fk.child, place, after, quarantined)
            if after is None or after[ID] != row[ID]:
                below = Cascade(fk.child, row[ID], None if after is None else after[ID])
                _carry_out(target, below, rules)


def _children(
    target: Target, table: str, column: int, parent: Value, rules: Rules
) -> list[tuple[object, Row, bool]]:
    found = [(place, row, False) for place, row in target.tables[table].items() if row[column] == parent]
    if rules.cascades_reach_quarantine:
        found += [
            (place, row, True)
            for (name, place), row in target.quarantine.items()
            if name == table and row[column] == parent
        ]
    return found


def _take(target: Target, table: str, place: object, row: Row, quarantined: bool) -> bool:
    """Remove the row, unless a cascade further down got there before."""
    held = target.quarantine.get((table, place)) if quarantined else target.tables[table].get(place)
    if held != row:
        return False
    if quarantined:
        del target.quarantine[table, place]
    else:
        del target.tables[table][place]
    return True


def _put_back(target: Target, table: str, place: object, row: Row, quarantined: bool) -> None:
    keyed = target.schema.by_name[table].keyed
    if quarantined:
        target.quarantine[table, row[ID] if keyed else place] = row
    elif keyed:
        target.upsert(table, row)
    else:
        target.tables[table][place] = row
