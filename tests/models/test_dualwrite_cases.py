"""Small histories of dual writes, each in every order in which its steps can come.

Every order, that is, in which somebody's turn is put off some times at most (`delays`). Each
history is the smallest that was found to tell a broken rule from the one as built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import pytest

from tests.models.check import COUNTED, FIGURES, Figure, Story
from tests.models.dualwrite import operators
from tests.models.dualwrite.chance import WAITING, Search, Steps
from tests.models.dualwrite.rules import BUILT, Rules
from tests.models.dualwrite.run import run
from tests.models.dualwrite.source import Commit, Event, Log, Operation, Row, Rows
from tests.models.dualwrite.world import World
from tests.models.target import Wrong

RULE = "dual writes, every order"
Comes = Callable[[World], Steps]


class Tx(NamedTuple):
    """A transaction: what its statements left of each row, and what they looked for in vain."""

    is_op: bool
    rows: tuple[tuple[int, Row | None], ...] = ()
    missed: tuple[int, ...] = ()


def op(*rows: tuple[int, Row | None], missed: int | None = None) -> Tx:
    """A transaction of the layer."""
    return Tx(True, rows, () if missed is None else (missed,))


def other(*rows: tuple[int, Row | None]) -> Tx:
    """One that passes the layer by."""
    return Tx(False, rows)


def row(unique: int | None, value: int = 1) -> Row:
    """A row without a parent."""
    return (unique, value, None)


def log_of(first: Rows, *transactions: Tx, lost: Row | None = None, lost_at: int = 0) -> Log:
    """What the source logs; `lost` is what an operation wrote to row 0 that it forgets then."""
    states, commits = [first], []
    for at, transaction in enumerate(transactions, 1):
        rows, events = dict(states[-1]), list[Event]()
        for key, after in transaction.rows:
            if rows.get(key) != after:
                events.append((key, rows.get(key), after))
            rows = {k: r for k, r in {**rows, key: after}.items() if r is not None}
        touched = tuple(dict.fromkeys(key for key, _ in transaction.rows))
        named = Operation(4 * at, at, touched, transaction.missed) if transaction.is_op else None
        commits.append(Commit(tuple(events), named))
        states.append(rows)
    gone = Operation(4 * lost_at + 1, None, (0,), images={} if lost is None else {0: lost})
    return Log(states, commits, {} if lost is None else {lost_at: gone})


def prune_at_the_end(world: World) -> Steps:
    """When all is applied."""
    while not world.ended or world.target.position < world.now:
        yield WAITING
    yield from operators.prune_once(world)


@dataclass(frozen=True)
class Case:
    """A history, who is about, and the rule that goes wrong in it where the others do not.

    `first` comes before the source in the order in which turns are put off, and `only_then` where
    the rule is broken.
    """

    log: Log
    rules: Rules
    others: tuple[Comes, ...] = ()
    first: tuple[Comes, ...] = ()
    only_then: tuple[Comes, ...] = ()
    built: Rules = BUILT
    delays: int = 3
    together: int = 1
    """How many operations go in one transaction."""
    behind: int = 0
    """By how many commits the server may be behind whose rows are read."""


VALUES = log_of({0: row(None, 1)}, op((0, row(None, 2))), other((0, row(None, 3))))
"""A row that an operation changes, and then somebody else."""
GIVEN_ON = log_of(
    {0: row(1), 1: row(2)}, other((0, row(3))), other((0, row(None))), op((1, row(3)))
)
"""A unique value that one row gives away before an operation gives it to another."""
TAKEN = log_of(
    {0: row(1), 1: row(2)},
    op((1, row(2))),
    other((0, row(3))),
    other((0, row(None)), (1, row(3))),
)
"""One that goes to a row which an operation before left as it was."""

CASES = {
    "the write comes after the stream, and was not claimed": Case(VALUES, Rules(claims="never")),
    "an operation without row events is claimed by nobody": Case(
        log_of({0: row(None, 1)}, op((0, row(None, 1))), other((0, row(None, 3)))),
        Rules(claims="with row events only"),
    ),
    "another worker claims when the rows are there": Case(
        VALUES, Rules(claims="apart"), only_then=(operators.claim_apart,), delays=4
    ),
    "a batch rolled back for a refused row has no claims any more": Case(
        log_of(
            {0: row(1), 1: row(2)},
            op((0, row(None)), (1, row(1)), (0, row(2))),
            other((0, row(2, 2))),
        ),
        Rules(claims_again=False),
    ),
    "the claim was pruned": Case(
        VALUES, Rules(watermark=False), first=(prune_at_the_end,), delays=4
    ),
    "the stream began anew after the operation": Case(
        VALUES,
        Rules(leap_raises=False),
        (partial(operators.without_writes, act=operators.begin_anew),),
        delays=4,
    ),
    "tables copied again are ahead of the claims": Case(
        VALUES,
        Rules(joins_first=False),
        (partial(operators.without_writes, act=operators.copy_again),),
        delays=4,
    ),
    "the authority has moved": Case(VALUES, Rules(authority="never"), (operators.force,)),
    "the authority moves between look and lock": Case(
        VALUES, Rules(authority="before the lock"), (operators.force,)
    ),
    "the operation's transaction had read an older row than it wrote": Case(
        log_of({0: row(None, 1)}, other((0, row(None, 2))), op((0, row(None, 2)))),
        Rules(images="the session's own"),
    ),
    "the images are of a source that has not got the operation": Case(
        log_of(
            {0: row(None, 1)}, other((1, row(None))), other((0, row(None, 2))), lost=row(None, 9)
        ),
        Rules(op_seen=False),
    ),
    "a replica has the operation when its row has been read": Case(
        log_of({0: row(None, 1)}, other((0, row(None, 2))), op((0, row(None, 2)))),
        Rules(looked_up="last"),
        behind=2,
    ),
    "of two operations that go together one is refused, and the source forgets the other": Case(
        log_of(
            {1: row(None, 1)},
            op((1, row(None, 2))),
            other((1, row(None, 3))),
            lost=row(None, 9),
            lost_at=1,
        ),
        Rules(written="all"),
        together=2,
    ),
    "a key that was looked for in vain is there before, and not visible yet": Case(
        log_of({}, other((0, row(None))), op(missed=0)), Rules(missed=True)
    ),
    "a row ahead is in the way": Case(GIVEN_ON, Rules(evicts=False)),
    "a row ahead is in the way after its operation was claimed": Case(
        TAKEN, Rules(owned="until claimed")
    ),
    "a row ahead is in the way after its operation was pruned": Case(
        TAKEN, Rules(marked=False), (operators.prune_once,), delays=2
    ),
    "a row comes between delete and insert of its key": Case(
        log_of(
            {0: row(1), 1: row(2)},
            other((0, row(None)), (1, row(1)), (0, row(2)), (2, row(None))),
            op((2, row(None))),
        ),
        Rules(key_evicts=False),
    ),
    "a row that only the target refuses meets one that no change will bring": Case(
        log_of({0: row(0), 1: row(2)}, op((0, row(0))), other((1, row(1)))),
        Rules(leaves_same=False, coarse=True, exact=False),
        built=Rules(coarse=True, exact=False),
    ),
    "a row that made room comes back by columns": Case(GIVEN_ON, Rules(full_images=False)),
}


def explore(case: Case, rules: Rules) -> tuple[int, int, str]:
    """How many orders there are, how many went wrong, and the first of these.

    A broken rule's are only counted to the end if figures are asked for.
    """
    search, orders, wrong, first = Search(case.delays, case.together, case.behind), 0, 0, ""
    comes = case.others if rules == case.built else case.others + case.only_then
    while search.again():
        story, world = Story(), World(case.log, rules, search)
        orders += 1
        for number, one in enumerate(case.first):
            world.join(f"first {number}", one(world))
        try:
            run(world, [(f"operator {number}", one) for number, one in enumerate(comes)], story)
        except Wrong as error:
            wrong += 1
            first = first or f"{error}\n{story}"
            if not COUNTED:
                break
    return orders, wrong, first


@pytest.mark.parametrize("name", CASES)
def test_each_order(name: str) -> None:
    """No order is wrong as built, and one is where the rule is broken."""
    case = CASES[name]
    orders, wrong, first = explore(case, case.built)
    assert not wrong, first
    _add_to_built(orders)
    orders, wrong, _ = explore(case, case.rules)
    FIGURES.append(Figure(RULE, name, orders, wrong))
    assert wrong


def _add_to_built(orders: int) -> None:
    """All cases are one line of the figures."""
    built = Figure(RULE, "as built", 0, 0)
    for figure in [figure for figure in FIGURES if figure[:2] == built[:2]]:
        FIGURES.remove(figure)
        built = figure
    FIGURES.append(built._replace(histories=built.histories + orders))
