"""The stream: batches of whole source transactions, claims before rows, one commit."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from tests.models.dualwrite.chance import WAITING, Steps
from tests.models.dualwrite.checks import require_quarantine
from tests.models.dualwrite.source import Commit, Event, Row, merged
from tests.models.dualwrite.target import FREE, WAITS, Writing
from tests.models.dualwrite.world import World

Images = dict[int, Row | None]
MOST_BATCH = 3


def apply_batch(world: World) -> Steps:
    """One target transaction from the stream's position on."""
    target = world.target
    start = target.position
    end = start + 1 + world.pick(min(MOST_BATCH, world.now - start))
    first = end if target.standing else max(start, target.frontier)
    claimed = world.log.commits[start:end]
    yield from _executed(_Batch(world, claimed, world.log.commits[first:end], end))


def catch_up(world: World) -> Steps:
    """One target transaction for tables that stood still: their rows, and no claims."""
    target = world.target
    end = target.frontier + 1 + world.pick(target.position - target.frontier)
    yield from _executed(_Batch(world, [], world.log.commits[target.frontier : end], end))


def _executed(batch: _Batch) -> Steps:
    """Whoever ends it rolls it back."""
    try:
        yield from batch.run()
    finally:
        batch.target.release(batch.mine)


class _Batch:
    """What one target transaction does, and what it will leave in quarantine."""

    def __init__(self, world: World, claimed: list[Commit], rows: list[Commit], end: int) -> None:
        self.world = world
        self.target = world.target
        self.rules = world.rules
        self.mine = Writing()
        self.claimed = claimed
        self.rows = rows
        self.end = end
        self.events = [event for commit in rows for event in commit.events]
        self.images: Images = {key: after for key, _, after in self.events}
        self.refused: set[int] = set()

    def run(self) -> Steps:
        """All rows at once, or carefully if one of them is refused, or a huge one in pieces."""
        if self.rules.versions:
            yield from self._by_version()
        elif not self.rules.full_images:
            yield from self._claim(self.claimed)
            yield from self._by_column()
        elif self.rows and len(self.rows[-1].events) > 1 and self.world.chance.seldom():
            yield from self._in_pieces()
        else:
            yield from self._claim(self.claimed)
            if not (yield from self._at_once()):
                self.target.release(self.mine)
                yield "was rolled back for a refused row"
                if self.rules.claims_again:
                    yield from self._claim(self.claimed)
                yield from self._carefully(self.events)
        self._commit()
        yield "committed"

    def _in_pieces(self) -> Steps:
        """The last transaction is huge; its operation's row is met at its end."""
        cut = len(self.events) - 1 - self.world.pick(len(self.rows[-1].events) - 1)
        yield from self._claim(self.claimed[:-1])
        yield from self._carefully(self.events[:cut])
        yield from self._claim(self.claimed[-1:])
        yield from self._carefully(self.events[cut:])

    def _claim(self, commits: list[Commit]) -> Steps:
        claims = self.rules.claims
        if not commits or claims in ("never", "apart"):
            return
        every = claims == "before the rows"
        for op in [c.op.seq for c in commits if c.op and (every or c.events)]:
            while op in self.target.claiming:
                yield WAITING
            self.target.claiming[op] = self.mine
            self.mine.claims.append(op)
        yield "claimed"

    def _at_once(self) -> Generator[str, None, bool]:
        """Deletes, then upserts."""
        target, mine = self.target, self.mine
        lines = {key: row for key, row in self.images.items() if row is not None and row[1] >= 0}
        yield from self._delete(key for key in self.images if key not in lines)
        for key, row in lines.items():
            found = FREE
            while key in target.held or (found := target.conflict(mine, key, row[0])) == WAITS:
                yield WAITING
            if found != FREE:
                return False
            target.write(mine, key, row)
        yield "wrote the rows"
        return True

    def _carefully(self, events: Iterable[Event]) -> Steps:
        """Makes all touched keys free, then inserts row by row."""
        images = {key: after for key, _, after in events}
        yield from self._delete(images)
        for key, row in images.items():
            self.refused.discard(key)
            if row is not None and row[1] >= 0:
                yield from self._insert(key, row)
        yield "wrote the rows carefully"

    def _delete(self, keys: Iterable[int]) -> Steps:
        """One statement, which sees what is committed when it begins, and its own rows."""
        target, mine = self.target, self.mine
        for key in [key for key in keys if key in target.rows or key in mine.rows]:
            while target.held.get(key, mine) is not mine:
                yield WAITING
            if key in target.rows or key in mine.rows:
                target.write(mine, key, None)
        yield "deleted"

    def _insert(self, key: int, row: Row) -> Steps:
        """Writes a row, or refuses it, once nothing is in the way that may go."""
        target, mine = self.target, self.mine
        while True:
            while target.held.get(key, mine) is not mine:
                yield WAITING
            found = target.conflict(mine, key, row[0])
            if found == FREE:
                if self._came_between(key):
                    self.refused.add(key)
                else:
                    target.write(mine, key, row)
                return
            if found == WAITS:
                yield WAITING
                continue
            if not self._is_ahead(found):
                self.refused.add(key)
                return
            target.write(mine, found, None)
            yield "evicted a row"

    def _came_between(self, key: int) -> bool:
        """Whether there is a row since its key was made free, and one that may not go."""
        if key not in self.target.rows or key in self.mine.rows or not self.rules.full_images:
            return False
        return not (self.rules.key_evicts and self._is_ahead(key))

    def _is_ahead(self, key: int) -> bool:
        if not self.rules.evicts:
            return False
        if self.rules.versions:
            return self.target.versions.get(key, 0) > self.end
        confirmed = self.target.confirmed
        ops = [op for op in self.target.ahead.get(key, ()) if op in confirmed]
        if key in self.mine.rows or not ops:
            return False
        if self.rules.owned == "until written":
            return True
        return any(op not in self.mine.claims and not confirmed[op] for op in ops)

    def _by_column(self) -> Steps:
        """Event by event; an update changes the columns that it holds, if there is a row."""
        target, mine = self.target, self.mine
        for key, before, after in self.events:
            while target.held.get(key, mine) is not mine:
                yield WAITING
            held = mine.rows.get(key, target.rows.get(key))
            if after is None:
                yield from self._delete([key])
            elif before is None:
                yield from self._insert(key, after)
            elif held is not None:
                yield from self._insert(key, merged(held, before, after))
        yield "wrote columns"

    def _by_version(self) -> Steps:
        """Each row only if the target's is older; deleted ones leave their position behind."""
        target, mine, last = self.target, self.mine, {}
        for position, commit in enumerate(self.rows, self.end - len(self.rows) + 1):
            last.update({key: position for key, _, _ in commit.events})
        for key in self.images:
            while target.held.get(key, mine) is not mine:
                yield WAITING
            at = target.versions.get(key, 0)
            if last[key] > at or (last[key] == at and self.rules.versions == ">="):
                target.write(mine, key, None)
                mine.versions[key] = last[key]
        for key in mine.versions.keys() & self.images.keys():
            row = self.images[key]
            if row is not None:
                yield from self._insert(key, row)
        yield "wrote what was older"

    def _commit(self) -> None:
        target = self.target
        for key, row in self.images.items():
            if row is not None and (row[1] < 0 or key in self.refused):
                target.quarantine[key] = row
            else:
                target.quarantine.pop(key, None)
        for op in self.mine.claims:
            target.confirmed[op] = True
        target.commit(self.mine)
        target.position = max(target.position, self.end)
        if not target.standing or not self.claimed:
            target.frontier = max(target.frontier, self.end)
        if self.rules.exact and target.frontier == self.end:
            require_quarantine(self.world, self.end)
