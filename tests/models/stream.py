"""A stream of batches into the target, with crashes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from tests.models.applier import BUILT, apply_batch
from tests.models.check import Story
from tests.models.segments import Rules, Scope
from tests.models.source import History, Transaction
from tests.models.target import Target


@dataclass(frozen=True)
class Commits:
    """How batches are cut and committed. The defaults are the rules as built."""

    batch: int = 3
    whole_transactions: bool = True
    position: str = "with rows"  # or "before rows", "after rows"
    crash: float = 0.1


WHOLE = Commits()
Check = Callable[[Target, int], None]


@dataclass(frozen=True)
class Stream:
    """One reader of the log that writes some tables (None: all).

    Its scope is these tables, unless one is given.
    """

    history: History
    rng: Random
    story: Story
    rules: Rules = BUILT
    commits: Commits = WHOLE
    tables: Sequence[str] | None = None
    scope: Scope | None = None

    def run(self, target: Target, until: int, check: Check) -> Target:
        """Apply up to a position in random batches; after a crash go on from what is committed."""
        while self.frontier(target) < until:
            target = self.step(target, until, check)
        return target

    def frontier(self, target: Target) -> int:
        """The position up to which the tables are applied; they share it."""
        return min(target.frontiers[name] for name in self._names(target))

    def step(self, target: Target, until: int, check: Check) -> Target:
        """Apply one batch, or crash in the middle of it; return what is committed."""
        start = self.frontier(target)
        end = min(until, start + self.rng.randint(1, self.commits.batch))
        for transaction_end, batch in self._pieces(start, end):
            target = self._commit(target, transaction_end, batch)
            check(target, self.frontier(target))
        return target

    def _pieces(self, start: int, end: int) -> list[tuple[int, tuple[Transaction, ...]]]:
        batch = self.history.between(start, end)
        if self.commits.whole_transactions:
            return [(end, batch)]
        position, changes = batch[-1]
        cut = len(changes) // 2
        first = (*batch[:-1], Transaction(position, changes[:cut]))
        return [(end - 1, first), (end, (Transaction(position, changes[cut:]),))]

    def _commit(self, target: Target, end: int, batch: tuple[Transaction, ...]) -> Target:
        rows = target.begin()
        apply_batch(rows, batch, self.rules, self.scope or Scope.of(self._names(target)))
        crashed = self.rng.random() < self.commits.crash
        self.story.tell("batch to", end, "crashed" if crashed else "committed", rows.tables)
        if not crashed:
            return self._at(rows, end)
        if self.commits.position == "before rows":
            return self._at(target, end)
        return rows if self.commits.position == "after rows" else target

    def _at(self, target: Target, end: int) -> Target:
        moved = target.begin()
        moved.frontiers.update(dict.fromkeys(self._names(target), end))
        return moved

    def _names(self, target: Target) -> Iterable[str]:
        return target.tables if self.tables is None else self.tables
