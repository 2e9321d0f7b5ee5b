"""Who decides what comes next: chance, or a search through all that may come."""

from __future__ import annotations

from collections.abc import Generator
from random import Random
from typing import Protocol

Steps = Generator[str, None, None]
"""Someone who does something up to each yield, which tells what; `WAITING` if it could not."""
WAITING = "waits"
WRITE = "write"
"""How the names of provisional writes begin."""
MOST_TOGETHER = 4
"""Operations in one transaction."""
Actor = tuple[str, Steps]


class Chance(Protocol):
    """Decides."""

    def pick(self, below: int) -> int:
        """A number from 0."""

    def seldom(self) -> bool:
        """Whether what is possible, but rare, is the case."""

    def turn(self, actors: list[Actor]) -> int:
        """Whose turn it is; may give the actors another order."""

    def place(self, among: int) -> int:
        """Where a new one stands among those who are there."""

    def naps(self) -> bool:
        """Whether a write stands still for long."""

    def writes(self) -> int:
        """How often an operation's write is tried."""

    def gathers(self, size: int) -> bool:
        """Whether so many operations wait for another one, to go in one transaction."""

    def behind(self) -> int:
        """By how many commits the server is behind whose rows are read."""


class Dice:
    """By chance; each history has its own manner, since different faults need different ones."""

    def __init__(self, rng: Random) -> None:
        self._random = rng.random
        self._nap = 0.3 * rng.random()
        self._lean = 1 + 4 * rng.random()
        self._demotes = 0.5 * rng.random() if rng.random() < 0.5 else 0.0
        self._gathers = 0.9 * rng.random() if rng.random() < 0.6 else 0.0
        self._behind = rng.random() if rng.random() < 0.3 else 0.0

    def pick(self, below: int) -> int:
        """All alike."""
        return int(self._random() * below)

    def seldom(self) -> bool:
        """Once in a while."""
        return self._random() < 0.25

    def turn(self, actors: list[Actor]) -> int:
        """Mostly those in front; or the first one until it has to go to the end."""
        if not self._demotes:
            return int(self._random() ** self._lean * len(actors))
        if self._random() < self._demotes:
            actors.append(actors.pop(0))
        return 0

    def place(self, among: int) -> int:
        """Anywhere."""
        return int(self._random() * (among + 1))

    def naps(self) -> bool:
        """As often as this history has it."""
        return self._random() < self._nap

    def writes(self) -> int:
        """Mostly once; not at all if its instance dies before."""
        return (1, 1, 1, 1, 2, 0)[int(self._random() * 6)]

    def gathers(self, size: int) -> bool:
        """As often as this history has it, and not for ever."""
        return size < MOST_TOGETHER and self._random() < self._gathers

    def behind(self) -> int:
        """Mostly not at all, and then as far as a few commits."""
        return 1 + int(self._random() * 3) if self._random() < self._behind else 0


class Search:
    """One run after the other, until all have been that put off somebody's turn some times at most.

    Whoever is on goes on until he ends or waits, and then the next one does. Putting off his turn
    gives it to the next one, too.
    """

    def __init__(self, delays: int, together: int = 1, behind: int = 0) -> None:
        self._most = delays
        self._together = together
        self._behind = behind
        self._left = delays
        self._path: list[tuple[int, int]] = []
        self._at = 0
        self._last: Steps | None = None

    def again(self) -> bool:
        """Get ready for the next run; false if there is none."""
        if self._at:
            while self._path and self._path[-1][0] + 1 == self._path[-1][1]:
                self._path.pop()
            if not self._path:
                return False
            chosen, below = self._path.pop()
            self._path.append((chosen + 1, below))
        self._at, self._left, self._last = 0, self._most, None
        return True

    def pick(self, below: int) -> int:
        """Each one in its run."""
        if self._at == len(self._path):
            self._path.append((0, below))
        self._at += 1
        return self._path[self._at - 1][0]

    def seldom(self) -> bool:
        """Not, and then it is."""
        return self.pick(2) == 1

    def turn(self, actors: list[Actor]) -> int:
        """Whoever was on, or one of those after him."""
        on = next((n for n, (_, steps) in enumerate(actors) if steps is self._last), 0)
        put_off = self.pick(min(self._left + 1, len(actors)))
        self._left -= put_off
        chosen = (on + put_off) % len(actors)
        self._last = actors[chosen][1]
        return chosen

    def place(self, among: int) -> int:
        """At the end; the turns decide all."""
        return among

    def naps(self) -> bool:
        """Never; others come between anyway."""
        return False

    def writes(self) -> int:
        """Once."""
        return 1

    def gathers(self, size: int) -> bool:
        """Until there are as many as go together."""
        return size < self._together

    def behind(self) -> int:
        """At first, as in all runs."""
        return self._behind
