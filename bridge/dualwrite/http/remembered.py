"""What the source remembers of requests with a key, once the target has authority.

An answer that it gave before the authority moved counts as long as answers are kept. After that
nobody needs the source any more, which may be gone for good.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass

import psycopg
from sqlalchemy.exc import DBAPIError

from bridge.dualwrite.authority import Q
from bridge.dualwrite.http import answers
from bridge.dualwrite.http.answers import Once
from bridge.dualwrite.http.problems import Problem, problem_of
from bridge.dualwrite.layer import DualWrite
from bridge.errors import BridgeError

ASK_SECONDS = 10.0
"""How old the answer may be that the source's memory counts."""
REST_SECONDS = 5.0
"""Without a try after the source could not be asked: each one holds up a thread."""


@dataclass(frozen=True, slots=True)
class _Known:
    epochs: tuple[int, ...]
    at: float
    over: bool


class Remembered:
    """Asks the source for what was answered before; `hours`: how long answers are kept."""

    def __init__(self, dual: DualWrite, hours: float) -> None:
        self._dual = dual
        self._seconds = hours * 3600
        self._known: dict[frozenset[str], _Known] = {}
        self._not_before = float("-inf")

    def given(self, once: Once, groups: Iterable[str]) -> tuple[bytes, str | None] | None:
        """As `answers.given`; raises Problem where the source cannot be asked, and has to be."""
        if self._over(frozenset(groups)):
            return None
        if time.monotonic() < self._not_before:
            raise _away()
        try:
            return answers.given(self._dual.source, "source", once)
        except (DBAPIError, BridgeError) as error:
            self._not_before = time.monotonic() + REST_SECONDS
            raise _away() from (problem_of(error) or error)

    def _over(self, groups: frozenset[str]) -> bool:
        """Whether the target has had all of them for so long that no older answer counts."""
        rows = self._dual.authorities()
        epochs = tuple(rows[group].epoch for group in sorted(groups) if group in rows)
        now, known = time.monotonic(), self._known.get(groups)
        same = known is not None and known.epochs == epochs
        if known is not None and same and (known.over or now - known.at <= ASK_SECONDS):
            return known.over
        # Who comes meanwhile asks the source.
        self._known[groups] = _Known(epochs, now, over=False)
        with suppress(psycopg.Error, BridgeError):
            self._known[groups] = _Known(epochs, now, over=self._moved_long_ago(groups))
        return self._known[groups].over

    def _moved_long_ago(self, groups: frozenset[str]) -> bool:
        sides = self._dual.sides
        names = {"pipeline": sides.pipeline, "groups": list(groups), "seconds": self._seconds}
        with closing(sides.open_target()) as target:
            row = target.execute(Q["moved_before"], names).fetchone()
        return row is not None and row[0] == len(groups)


def _away() -> Problem:
    return Problem(
        503,
        "source-away",
        "whether this Idempotency-Key was used before the switch cannot be asked",
        "try again when the source is back, or send a new request without the key",
        again=5,
    )
