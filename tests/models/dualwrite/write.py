"""The provisional write of one operation, step by step."""

from __future__ import annotations

from collections.abc import Generator

from tests.models.dualwrite.chance import WAITING, Steps
from tests.models.dualwrite.source import Operation, Row, merged
from tests.models.dualwrite.target import FREE, WAITS, Writing
from tests.models.dualwrite.world import World

Images = dict[int, Row | None]
Attempt = Generator[str, None, bool]
"""Steps that tell at their end whether to go on."""


def provisional_write(world: World, op: Operation, epoch: int) -> Steps:
    """Images and one PostgreSQL transaction; whoever dies, or gives up, rolls it back."""
    target, images, mine = world.target, Images(), Writing()
    early = world.pick(2) == 0
    if early and not (yield from _read(world, op, images)):
        return
    if world.rules.authority == "before the lock":
        if not _has_authority(world, epoch):
            return
        yield "looked at the authority"
    target.sharing += 1
    try:
        yield "took the group's lock"
        if not (yield from _claim(world, op, epoch, mine)):
            return
        if not (early or (yield from _read(world, op, images))):
            return
        write = _write_columns if world.rules.versions else _write
        if not (yield from write(world, op, images, mine)):
            return
        if mine.claims:
            target.confirmed[op.seq] = False
        target.commit(mine, op.seq)
        yield "committed"
    finally:
        target.release(mine)
        target.sharing -= 1


def _has_authority(world: World, epoch: int) -> bool:
    return world.target.provisional and world.target.epoch == epoch


def _claim(world: World, op: Operation, epoch: int, mine: Writing) -> Attempt:
    rules, target = world.rules, world.target
    if rules.authority == "nobody":
        return False
    if rules.authority == "under the lock":
        if not _has_authority(world, epoch):
            return False
        yield "looked at the authority"
    if rules.claims == "never":
        return True
    if rules.watermark:
        if op.seq <= target.watermark:
            return False
        yield "looked at the watermark"
    while op.seq in target.claiming:
        yield WAITING
    if op.seq in target.confirmed:
        return False
    target.claiming[op.seq] = mine
    mine.claims.append(op.seq)
    yield "claimed"
    return True


def _read(world: World, op: Operation, images: Images) -> Attempt:
    """The rows as the source has them, each read by itself."""
    rules, states = world.rules, world.log.states
    for key in op.touched:
        if op.at is None and world.lost is op:
            world.seen.add(op.seq)
            images[key] = op.images.get(key)
        elif op.at is None and rules.op_seen:
            return False
        elif op.at is not None and rules.images == "the session's own":
            images[key] = _own_image(world, op.at, key)
        else:
            images[key] = states[world.now].get(key)
        yield "read an image"
    if rules.missed and op.at is not None and op.at > 1:
        for key in op.missed:
            # Nothing kept the transaction before from committing, and it may not be visible yet.
            images[key] = states[op.at - 2 if world.pick(2) else world.now].get(key)
            yield "read an image"
    return bool(images)


def _own_image(world: World, at: int, key: int) -> Row | None:
    """What the operation wrote, beside what its transaction had read when it began."""
    states = world.log.states
    after, before = states[at].get(key), states[at - 1].get(key)
    seen = states[max(0, at - 1 - world.pick(3))].get(key)
    if after is None or before is None or seen is None:
        return after
    return merged(seen, before, after)


def _write(world: World, op: Operation, images: Images, mine: Writing) -> Attempt:
    """Deletes and upserts by key; a refused value ends it all."""
    target = world.target
    for key, image in images.items():
        if image is not None:
            if image[1] < 0 or not (yield from _upsert(world, key, image, mine)):
                return False
        else:
            while key in target.rows and key in target.held:
                yield WAITING
            if key in target.rows:
                target.write(mine, key, None)
        yield "wrote a row"
    return True


def _upsert(world: World, key: int, image: Row, mine: Writing) -> Attempt:
    target = world.target
    while True:
        if key not in target.held:
            if world.rules.leaves_same and target.rows.get(key) == image:
                return True
            found = target.conflict(mine, key, image[0])
            if found == FREE:
                target.write(mine, key, image)
                return True
            if found != WAITS:
                return False
        yield WAITING


def _write_columns(world: World, op: Operation, images: Images, mine: Writing) -> Attempt:
    """What the operation changed, where the target's row is older."""
    target, at = world.target, op.at or 0
    before, after = world.log.states[at - 1], world.log.states[at]
    for key in op.touched:
        row, old = after.get(key), before.get(key)
        while True:
            if key not in target.held:
                held = target.rows.get(key)
                if target.versions.get(key, 0) >= at or (row and old and not held):
                    break
                new = merged(held, old, row) if row and old and held else row
                found = target.conflict(mine, key, new[0] if new else None)
                if found == FREE:
                    target.write(mine, key, new)
                    mine.versions[key] = at
                    break
                if found != WAITS:
                    return False
            yield WAITING
        yield "wrote columns"
    return True
