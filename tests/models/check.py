"""Running a model over many histories, and what must hold of the target."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple

from tests.models.schema import is_bad
from tests.models.source import History
from tests.models.target import Target, Wrong, same_rows

MULTIPLE = float(os.environ.get("MODEL_HISTORIES", "1"))
COUNTED = bool(os.environ.get("MODEL_FIGURES"))


class Story:
    """What one run did, told only when it went wrong."""

    def __init__(self) -> None:
        self.history: History | None = None
        self._lines: list[tuple[object, ...]] = []

    def tell(self, *what: object) -> None:
        """Note one step."""
        self._lines.append(what)

    def __str__(self) -> str:
        steps = "\n".join("  " + " ".join(map(str, line)) for line in self._lines)
        return f"{self.history or ''}\nsteps:\n{steps}"


Model = Callable[[Random, Story], None]


class Figure(NamedTuple):
    """How often a rule, or a broken form of it, went wrong."""

    rule: str
    variant: str
    histories: int
    wrong: int


FIGURES: list[Figure] = []


def assert_right(rule: str, model: Model, histories: int) -> None:
    """The rule as built never goes wrong; the first history that says otherwise is printed."""
    count = int(histories * MULTIPLE)
    for seed in range(count):
        story = Story()
        try:
            model(Random(seed), story)
        except Wrong as wrong:
            raise AssertionError(f"{rule}: seed {seed}: {wrong}\n{story}") from wrong
    FIGURES.append(Figure(rule, "as built", count, 0))


def assert_goes_wrong(rule: str, variant: str, model: Model, histories: int) -> None:
    """A broken form goes wrong in some history; in how many is counted only if asked for."""
    count = int(histories * MULTIPLE)
    wrong = 0
    for seed in range(count):
        try:
            model(Random(seed), Story())
        except Wrong:
            wrong += 1
            if not COUNTED:
                return
    FIGURES.append(Figure(rule, variant, count, wrong))
    assert wrong, f"{rule}: {variant} never went wrong in {count} histories"


def require_state(
    target: Target, history: History, position: int, tables: Iterable[str] | None = None
) -> None:
    """The tables hold what the source held at the position, bad rows being in quarantine."""
    names = list(history.states[0] if tables is None else tables)
    bad = {}
    for name in names:
        expected = dict(history.states[position][name])
        for place in [place for place, row in expected.items() if is_bad(row)]:
            bad[name, place] = expected.pop(place)
        if not same_rows(history.schema, name, target.tables[name], expected):
            raise Wrong(f"{name} at {position}: {target.tables[name]} instead of {expected}")
    held = {entry: row for entry, row in target.quarantine.items() if entry[0] in names}
    if held != bad:
        raise Wrong(f"quarantine at {position}: {held} instead of {bad}")
