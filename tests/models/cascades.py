"""Cascades that the source's engine carried out and that no log mentions."""

from __future__ import annotations

from collections.abc import Iterable

from tests.models.schema import ID, Action, Row, with_column
from tests.models.segments import Cascade, Rules, Scope
from tests.models.target import Target


def carry_out_all(target: Target, cascades: Iterable[Cascade], rules: Rules, scope: Scope) -> None:
    """Carry out cascades in the order of their events."""
    for cascade in cascades:
        _carry_out(target, cascade, rules, scope)


def _carry_out(target: Target, cascade: Cascade, rules: Rules, scope: Scope) -> None:
    """Do to the descendants what the source's engine did, rows in quarantine included."""
    for fk in target.schema.referencing[cascade.parent]:
        action = fk.on_delete if cascade.new is None else fk.on_update
        if action is Action.RESTRICT:
            continue
        value = cascade.new if action is Action.CASCADE else None
        goes = action is Action.CASCADE and cascade.new is None
        for place, row, quarantined in _children(target, fk.child, fk.column, cascade.old, rules):
            after = None if goes else with_column(row, fk.column, value)
            if fk.child in scope.cascades_into:
                if not _take(target, fk.child, place, row, quarantined):
                    continue
                if after is not None:
                    _put_back(target, fk.child, place, after, quarantined)
            if after is None or after[ID] != row[ID]:
                below = Cascade(fk.child, row[ID], None if after is None else after[ID])
                _carry_out(target, below, rules, scope)


def _children(
    target: Target, table: str, column: int, parent: object, rules: Rules
) -> list[tuple[object, Row, bool]]:
    found = [
        (place, row, False) for place, row in target.tables[table].items() if row[column] == parent
    ]
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
