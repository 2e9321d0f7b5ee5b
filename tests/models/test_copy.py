"""Copy by frontier: chunks go straight in, the table's stream begins at P0 afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest

from tests.models.applier import BUILT
from tests.models.check import Model, Story, assert_goes_wrong, assert_right, require_state
from tests.models.chunks import Bounds, lower_bound, plan_bounds, upper_bound
from tests.models.histories import ONE_UNIQUE, Workload, random_history
from tests.models.segments import Rules
from tests.models.source import History
from tests.models.stream import WHOLE, Commits, Stream
from tests.models.target import Target

RULE = "copy by frontier"
TABLE = "a"


@dataclass(frozen=True)
class CopyRules:
    """How a table is copied. The defaults are the rule as built."""

    start: str = "lower bound before the reads"
    index: str = "after the end of the copy"
    marks: str = "with rows"
    open_ended: bool = True
    open_started: bool = True
    apply: Rules = BUILT
    commits: Commits = WHOLE


BROKEN = {
    "P0 is an upper bound": CopyRules(start="upper bound before the reads"),
    "P0 noted after the reads": CopyRules(start="lower bound after the reads"),
    "frontier begins at the end of the copy": CopyRules(start="end of the copy"),
    "INSERT, UPDATE and DELETE with row counts": CopyRules(apply=Rules(upserts=False)),
    "unique index built before the frontier passes Pe": CopyRules(index="after the chunks"),
    "unique index built at a lower bound of the end": CopyRules(
        index="at a lower bound of the end"
    ),
    "last chunk closed": CopyRules(open_ended=False),
    "first chunk closed": CopyRules(open_started=False),
    "done-mark committed before the rows": CopyRules(marks="before rows"),
    "done-mark committed after the rows": CopyRules(marks="after rows"),
    "position committed before the rows": CopyRules(commits=Commits(position="before rows")),
}


@dataclass(frozen=True)
class Copied:
    """The target after the last chunk, and what was noted on the way."""

    target: Target
    start: int
    end: int
    index_from: int


def model(rules: CopyRules, bad: float = 0.0) -> Model:
    """Chunks at different moments, then the stream; right at every commit from Pe on."""

    def run(rng: Random, story: Story) -> None:
        workload = Workload(transactions=14, bad=bad)
        story.history = history = random_history(rng, ONE_UNIQUE, workload)
        copied = _copy(history, rng, story, rules)
        story.tell("P0", copied.start, "Pe", copied.end, "index from", copied.index_from)
        target = copied.target
        target.frontiers[TABLE] = copied.start
        stream = Stream(history, rng, story, rules.apply, rules.commits)

        def check(now: Target, at: int) -> None:
            if at >= copied.end:
                require_state(now, history, at)

        while True:
            at = target.frontiers[TABLE]
            if at >= copied.index_from and TABLE not in target.indexed:
                target.build_index(TABLE)
            if at == history.end:
                break
            target = stream.step(target, history.end, check)
        require_state(target, history, history.end)

    return run


def _copy(history: History, rng: Random, story: Story, rules: CopyRules) -> Copied:
    """Read and insert the chunks; each is read at a moment of its own, in any order."""
    planned = rng.randint(0, 4)
    begun = rng.randint(planned, 6)
    ended = rng.randint(begun, history.end)
    start = lower_bound(rng, begun)
    target = Target.empty(ONE_UNIQUE)
    chunks = plan_bounds(rng, history.states[planned][TABLE], rules.open_started, rules.open_ended)
    waiting = list(range(len(chunks)))
    rng.shuffle(waiting)
    while waiting:
        number = waiting[-1]
        target = _chunk(
            target, history, rng.randint(begun, ended), rng, story, rules, (number, chunks[number])
        )
        if number in target.done:
            waiting.pop()
    end = upper_bound(rng, ended, history.end)
    starts = {
        "lower bound before the reads": start,
        "upper bound before the reads": upper_bound(rng, begun, history.end),
        "lower bound after the reads": lower_bound(rng, ended),
        "end of the copy": end,
    }
    indexes = {
        "after the end of the copy": end,
        "after the chunks": 0,
        "at a lower bound of the end": lower_bound(rng, ended),
    }
    return Copied(target, starts[rules.start], end, indexes[rules.index])


def _chunk(
    target: Target,
    history: History,
    moment: int,
    rng: Random,
    story: Story,
    rules: CopyRules,
    chunk: tuple[int, Bounds],
) -> Target:
    number, bounds = chunk
    rows = [row for row in history.states[moment][TABLE].values() if bounds.hold(row)]
    filled = target.begin()
    filled.copy_in(TABLE, rows)
    marked = filled.begin()
    marked.done.add(number)
    crashed = rng.random() < 0.15
    story.tell("chunk", number, bounds, "of moment", moment, rows, "crashed" if crashed else "")
    if not crashed:
        return marked
    if rules.marks == "before rows":
        only_marked = target.begin()
        only_marked.done.add(number)
        return only_marked
    return filled if rules.marks == "after rows" else target


def test_copy_converges() -> None:
    """With chunks of any moments, inexact bounds, truncations, swapped unique values, crashes."""
    assert_right(RULE, model(CopyRules()), 3_000)


def test_copy_with_unrepresentable_rows() -> None:
    """A chunk's bad rows go to quarantine with it; the stream from P0 supersedes them."""
    assert_right(f"{RULE}, quarantine", model(CopyRules(), bad=0.2), 3_000)


@pytest.mark.parametrize("variant", BROKEN)
def test_broken(variant: str) -> None:
    """Each broken form loses, keeps or refuses rows."""
    assert_goes_wrong(RULE, variant, model(BROKEN[variant]), 1_000)
