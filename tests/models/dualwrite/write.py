"""The provisional write of operations that go in one transaction, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.models.dualwrite.chance import WAITING, Steps
from tests.models.dualwrite.source import Operation, Row, merged
from tests.models.dualwrite.target import FREE, WAITS, Writing
from tests.models.dualwrite.world import Left, Refused, Sent, World

Images = dict[int, Row | None]


def provisional_write(world: World, sent: Sequence[Sent]) -> Steps:
    """One transaction; several operations go one by one where that is refused as a whole."""
    try:
        yield from _Transaction(world, sent).run()
    except Refused:
        if len(sent) > 1:
            yield "goes one by one"
            for one in sent:
                try:
                    yield from _Transaction(world, [one]).run()
                except Left:
                    yield "left one to the stream"
    except Left:
        return


class _Transaction:
    """Images and one PostgreSQL transaction; whoever dies, or gives up, rolls it back."""

    def __init__(self, world: World, sent: Sequence[Sent]) -> None:
        self.world = world
        self.rules = world.rules
        self.target = world.target
        self.mine = Writing()
        self.epochs = {epoch for _, epoch in sent}
        self.sent = [op for op, _ in sent]
        self.known: list[Operation] = []
        """Those that the server shows whose rows are read."""
        self.claimed: list[Operation] = []
        self.images: Images = {}
        self.behind = world.chance.behind()
        """By how many commits that server is behind, if it is a replica."""
        self.replica = self.behind > 0

    def run(self) -> Steps:
        """Raises Left."""
        target, rules = self.target, self.rules
        last = rules.looked_up == "last"
        early = last or self.world.pick(2) == 0
        if last:
            yield from self._read(self.sent)
        self.known = [op for op in self.sent if self._shows(op) or not rules.op_seen]
        if not self.known:
            return
        yield "looked up the operations"
        if early and not last:
            yield from self._read(self.known)
        if rules.authority == "before the lock":
            self._require_authority()
            yield "looked at the authority"
        target.sharing += 1
        try:
            yield "took the group's lock"
            yield from self._claim()
            if not self.claimed:
                return
            if not early:
                yield from self._read(self.known)
            yield from self._write()
            for op in self.mine.claims:
                target.confirmed[op] = False
            target.commit(self.mine, tuple(op.seq for op in self.claimed))
            yield "committed"
        finally:
            target.release(self.mine)
            target.sharing -= 1

    def _shows(self, op: Operation) -> bool:
        if op.at is None:
            return self.world.lost is op and not self.replica
        return op.at <= self._position()

    def _position(self) -> int:
        if self.behind:
            self.behind -= self.world.pick(self.behind + 1)  # it catches up
        return max(0, self.world.now - self.behind)

    def _require_authority(self) -> None:
        target = self.target
        if not target.provisional or self.epochs != {target.epoch}:
            raise Refused

    def _claim(self) -> Steps:
        rules, target = self.rules, self.target
        if rules.authority == "nobody":
            raise Left
        if rules.authority == "under the lock":
            self._require_authority()
            yield "looked at the authority"
        if rules.claims == "never":
            self.claimed = self.known
            return
        ops = self.known
        if rules.watermark:
            ops = [op for op in ops if op.seq > target.watermark]
            yield "looked at the watermark"
        if len(ops) > 1 and self.world.pick(2):
            ops = ops[::-1]  # their order has nothing to do with the log's
        for op in ops:
            while op.seq in target.claiming:
                yield WAITING
            if op.seq not in target.confirmed:
                target.claiming[op.seq] = self.mine
                self.mine.claims.append(op.seq)
                self.claimed.append(op)
                yield "claimed"

    def _read(self, ops: Iterable[Operation]) -> Steps:
        """The rows as the server has them, each read by itself."""
        rules, images = self.rules, self.images
        touching = {key: op for op in ops for key in op.touched}
        for key, op in touching.items():
            if op.at is None and self._shows(op):
                self.world.seen.add(op.seq)
                images[key] = op.images.get(key)
            elif op.at is None and rules.op_seen:
                raise Left  # with the server, its sessions have ended
            elif op.at is not None and rules.images == "the session's own":
                images[key] = self._own_image(op.at, key)
            else:
                images[key] = self.world.log.states[self._position()].get(key)
            yield "read an image"
        if rules.missed:
            yield from self._read_missed(ops)
        if any(image is not None and image[1] < 0 for image in images.values()):
            raise Refused

    def _read_missed(self, ops: Iterable[Operation]) -> Steps:
        """Nothing kept the transaction before from committing, and it may not be visible yet."""
        for op in ops:
            for key in op.missed:
                if op.at is not None and op.at > 1:
                    seen = op.at - 2 if self.world.pick(2) else self.world.now
                    self.images[key] = self.world.log.states[seen].get(key)
                    yield "read an image"

    def _own_image(self, at: int, key: int) -> Row | None:
        """What the operation wrote, beside what its transaction had read when it began."""
        states = self.world.log.states
        after, before = states[at].get(key), states[at - 1].get(key)
        seen = states[max(0, at - 1 - self.world.pick(3))].get(key)
        if after is None or before is None or seen is None:
            return after
        return merged(seen, before, after)

    def _write(self) -> Steps:
        """Deletes, then upserts, by key."""
        if self.rules.versions:
            for op in self.claimed:
                yield from self._write_columns(op)
            return
        target, images = self.target, self.images
        of = self.claimed if self.rules.written == "claimed" else self.known
        wanted = {key for op in of for key in (*op.touched, *op.missed)}
        for key in sorted(images, key=lambda key: images[key] is not None):
            if key not in wanted:
                continue
            image = images[key]
            if image is not None:
                yield from self._upsert(key, image)
            else:
                while key in target.rows and key in target.held:
                    yield WAITING
                if key in target.rows:
                    target.write(self.mine, key, None)
            yield "wrote a row"

    def _upsert(self, key: int, image: Row) -> Steps:
        target = self.target
        while True:
            if key not in target.held:
                if self.rules.leaves_same and target.rows.get(key) == image:
                    return
                found = target.conflict(self.mine, key, image[0])
                if found == FREE:
                    target.write(self.mine, key, image)
                    return
                if found != WAITS:
                    raise Refused
            yield WAITING

    def _write_columns(self, op: Operation) -> Steps:
        """What the operation changed, where the target's row is older."""
        target, mine, at = self.target, self.mine, op.at or 0
        before, after = self.world.log.states[at - 1], self.world.log.states[at]
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
                        raise Refused
                yield WAITING
            yield "wrote columns"
