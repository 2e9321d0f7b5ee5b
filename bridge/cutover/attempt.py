"""One operator's attempt: his record in the journal, as it moves on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.cutover.journal import Journal, Record
from bridge.cutover.transitions import Event, State


@dataclass
class Attempt:
    """What an operator does with a group that he took; raises what the journal raises."""

    journal: Journal
    record: Record

    @property
    def state(self) -> State:
        """What the group is at."""
        return self.record.state

    @property
    def evidence(self) -> Mapping[str, Any]:
        """What was changed and is not undone yet."""
        return self.record.evidence

    def note(self, **evidence: Any) -> None:
        """Keeps what is about to change; what was noted under a name before stays."""
        self.record = self.journal.note(self.record, evidence)

    def forget(self, *keys: str) -> None:
        """It is undone, or is to stay."""
        self.record = self.journal.forget(self.record, *keys)

    def advance(self, event: Event, detail: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Into the next state, committed when this returns (or with the open transaction)."""
        self.record = self.journal.advance(self.record, event, detail, **more)


@dataclass(frozen=True)
class FenceNotes:
    """Where a fence keeps what it must restore: under one key of the journal's evidence."""

    attempt: Attempt
    key: str

    def read(self) -> dict[str, Any] | None:
        """What was written last; None if nothing was, or it was cleared."""
        found = self.attempt.evidence.get(self.key)
        return dict(found) if found is not None else None

    def write(self, evidence: dict[str, Any]) -> None:
        """Keeps it instead of what was there; durable when this returns."""
        with self.attempt.journal.conn.transaction():
            self.attempt.forget(self.key)
            self.attempt.note(**{self.key: evidence})

    def clear(self) -> None:
        """The fence is off."""
        self.attempt.forget(self.key)
