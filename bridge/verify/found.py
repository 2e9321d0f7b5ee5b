"""What is known so far about one table, and the verdict that follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from bridge.mapping.plan import TablePlan
from bridge.report.verification import (
    ColumnFinding,
    Difference,
    Equivalence,
    TableVerdict,
    Verdict,
)
from bridge.types.base import Policy
from bridge.verify.digest import FIRST, SECOND_BITS
from bridge.verify.explain import named
from bridge.verify.keys import Keys
from bridge.verify.recheck import Key
from bridge.verify.sweep import Tally

KEPT_DIFFERENCES = 10_000
"""So many differences stay in memory, for the report; all go to the sink."""
WHOLE_ROWS = 1_000
"""A column in which so many rows differ, and none that was read does not, need not be looked at in
each further row."""
WHOLE_SHARE = 0.99
LEAST_WHOLE_ROWS = 10
UNCOMPARED = "further rows were compared without them"
"""Where a proof's obstacle says so, not all that differs is known."""


@dataclass
class Found:
    """Collects; not a value."""

    plan: TablePlan
    keyed: bool = True
    """Rows are known by their keys; else by their hashes, which nobody wants to read."""
    tally: Tally = field(default_factory=Tally)
    kinds: Counter[str] = field(default_factory=Counter)
    columns: Counter[str] = field(default_factory=Counter)
    kept: list[Difference] = field(default_factory=list)
    quarantined: list[Difference] = field(default_factory=list)
    discarded: Counter[str] = field(default_factory=Counter)
    in_flight: dict[Key, None] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    reason: str = ""
    hint: str = ""
    partial: str = ""
    """Why not every row was read; once it says so it always does."""
    fresh: list[tuple[Key, Difference]] = field(default_factory=list)
    """Differences that nobody has written down yet."""

    @property
    def differing(self) -> int:
        """Rows that differ for sure."""
        return self.kinds.total()

    @property
    def room(self) -> int:
        """How many more differences are kept."""
        return KEPT_DIFFERENCES - len(self.kept)

    @property
    def mending(self) -> str:
        """The command that mends what differs."""
        if self.keyed and not self.whole:
            return "dbbridge repair plan"
        return f"dbbridge tables resync {self.plan.source.word}"

    @property
    def obstacle(self) -> str:
        """Why a sweep that has ended proves nothing; '' if it does, but for rows in flight."""
        if not self.whole:
            return self.partial
        names = ", ".join(sorted(self.whole))
        return f"in every row that was compared these columns differ: {names}; {UNCOMPARED}"

    def hold(self, reason: str, hint: str = "") -> None:
        """Why no match can be said, and the command that helps; the first reason stays."""
        if not self.reason:
            self.reason, self.hint = reason, hint

    def end(self, reason: str, hint: str = "") -> None:
        """Rows stay unread: that matters more than rows that could not be judged."""
        if not self.partial:
            self.partial = self.reason = reason
            self.hint = hint

    def add(self, key: Key, difference: Difference) -> None:
        """One row that differs for sure."""
        self.fresh.append((key, difference))
        self.kinds[difference.kind] += difference.rows
        if difference.kind == "differs":
            self.columns.update(column.name for column in difference.columns)
        if self.room:
            self.kept.append(difference)

    def take_fresh(self) -> list[tuple[Key, Difference]]:
        """The differences since the last time, which somebody writes down now."""
        fresh, self.fresh = self.fresh, []
        return fresh

    def state(self) -> dict[str, Any]:
        """All but the tally and the differences, as JSON, for `restore`."""
        return {
            "kinds": dict(self.kinds),
            "columns": dict(self.columns),
            "quarantined": [dict(difference.key) for difference in self.quarantined],
            "discarded": dict(self.discarded),
            "in_flight": [list(key) for key in self.in_flight],
            "whole": sorted(self.whole),
            "reason": self.reason,
            "hint": self.hint,
            "partial": self.partial,
        }

    def restore(self, state: Mapping[str, Any], kept: Iterable[Difference]) -> None:
        """Adds what another one found in another part of the table; `kept` are at most `room`."""
        self.kinds.update(state["kinds"])
        self.columns.update(state["columns"])
        self.quarantined += [Difference(key, "quarantined") for key in state["quarantined"]]
        self.discarded.update(state["discarded"])
        self.in_flight |= dict.fromkeys(map(tuple, state["in_flight"]))
        self.whole |= frozenset(state["whole"])
        self.kept += kept
        if state["partial"]:
            self.end(state["partial"], state["hint"])
        elif state["reason"]:
            self.hold(state["reason"], state["hint"])

    def leave(self, keys: Iterable[Key], reason: str, hint: str = "") -> None:
        """Rows that could not be judged."""
        left = dict.fromkeys(keys)
        if left:
            self.in_flight |= left
            self.hold(reason, hint or f"dbbridge verify {self.plan.source.word}")

    def whole_columns(self) -> frozenset[str]:
        """Columns that differ in every row that was compared so far, once these are many."""
        rows = self.kinds["differs"]
        if rows < WHOLE_ROWS or self.tally.rows > rows * (1 - WHOLE_SHARE):
            return frozenset()
        names = {name for name, count in self.columns.items() if count >= rows * WHOLE_SHARE}
        return frozenset(names) - self.whole

    def verdict(self, position: str, seconds: float) -> TableVerdict:
        """The verdict on the table."""
        if self.quarantined:
            count = len(self.quarantined)
            self.hold(f"{count} rows are in quarantine", "dbbridge quarantine list")
        word: Verdict = "inconclusive" if self.reason else "match"
        if self.differing:
            word, self.hint = "mismatch", self.mending
        alike, kinds, given_up = self.tally.rows, self.kinds, self.discarded.total()
        kept_out = len(self.quarantined) + given_up
        keys = Keys(self.plan)
        flying = [
            Difference(named(keys, key) if self.keyed else {}, "in-flight")
            for key in self.in_flight
        ]
        return TableVerdict(
            table=self.plan.source,
            verdict=word,
            reason=self.reason,
            hint=self.hint,
            position=position,
            source_rows=alike + kinds["missing"] + kinds["differs"] + kept_out,
            target_rows=alike + kinds["extra"] + kinds["differs"],
            digest=digest_text(self.tally.total),
            equivalences=tuple(self.equivalences()),
            differing=self.differing,
            quarantined=len(self.quarantined),
            discarded=given_up,
            in_flight=len(self.in_flight),
            differences=(*self.kept, *self.quarantined, *flying[:KEPT_DIFFERENCES]),
            columns=tuple(self._column_findings()),
            seconds=seconds,
        )

    def _column_findings(self) -> Iterator[ColumnFinding]:
        compared = self.tally.rows + self.kinds["differs"]
        for name, rows in sorted(self.columns.items()):
            most = rows >= LEAST_WHOLE_ROWS and rows >= compared * WHOLE_SHARE
            yield ColumnFinding(name, rows, name in self.whole or most)

    def equivalences(self) -> Iterator[Equivalence]:
        """What the mapping declares to be equal, and rows that an operator gave up."""
        default = Policy()
        for column in self.plan.columns:
            for policy in fields(Policy):
                value = getattr(column.policy, policy.name)
                if policy.name != "mask" and value != getattr(default, policy.name):
                    yield Equivalence(column.source.name, f"{policy.name}: {value}")
        for reason, rows in sorted(self.discarded.items()):
            yield Equivalence("", f"discarded by an operator: {reason}", rows)


def digest_text(total: int) -> str:
    """A sum of hashes for people: 16 hexadecimal digits, 33 where a second one was taken."""
    first, second = total & FIRST, total >> SECOND_BITS
    return f"{first % (1 << 64):016x}" + (f"-{second % (1 << 64):016x}" if second else "")
