"""What must hold of the target."""

from __future__ import annotations

from tests.models.dualwrite.rules import BUILT
from tests.models.dualwrite.world import World
from tests.models.target import Wrong


def require_source(world: World) -> None:
    """The target is the source; what the source lost is known by name."""
    target, final = world.target, world.log.states[world.now]
    target.forget(max(target.confirmed, default=0))
    lost = [op for op in world.log.lost.values() if op.seq in world.seen]
    unsure = {key for op in lost for key in op.touched}
    for key in {*final, *target.rows} - unsure:
        row, held = final.get(key), target.rows.get(key)
        if row is not None and row[1] < 0:
            row = None
        if world.rules.coarse:
            if row is not None and held is None and key not in target.quarantine:
                raise Wrong(f"{key}: {row} is lost")
        elif row != held:
            raise Wrong(f"{key}: {held} instead of {row}")
    if not world.rules.coarse:
        require_quarantine(world, world.now)
    left = target.confirmed.keys() - {op.seq for op in lost}
    if world.rules == BUILT and (left or target.ahead.keys() - unsure):
        raise Wrong(f"unconfirmed: {left}, rows ahead: {target.ahead}")


def require_quarantine(world: World, position: int) -> None:
    """Quarantine holds the bad rows, and no others."""
    bad = {key: row for key, row in world.log.states[position].items() if row[1] < 0}
    if world.target.quarantine != bad:
        raise Wrong(f"quarantine at {position}: {world.target.quarantine} instead of {bad}")
