"""Gates that an operator lets pass, with a reason, as long as they find what they found then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.store.sql import queries
from bridge.store.state import Connection

Q = queries("bridge.cutover", "waivers.sql")


@dataclass(frozen=True, slots=True)
class Waiver:
    """`evidence` is the fingerprint of what the gate had found when it was waived."""

    gate: str
    reason: str
    evidence: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Waivers:
    """Those of a pipeline; `conn` is in autocommit, or in the transaction that they belong to."""

    conn: Connection
    pipeline: str

    def waive(self, group: str, gate: str, reason: str, evidence: str, by: str) -> None:
        """Lets a gate pass until the next switch is done; one for the same gate is replaced."""
        names = {**self._names(group), "gate": gate, "reason": reason}
        self.conn.execute(Q["waive"], {**names, "evidence": evidence, "by": by})

    def read(self, group: str) -> tuple[Waiver, ...]:
        """All of a group, by gate."""
        rows = self.conn.execute(Q["waivers"], self._names(group))
        return tuple(Waiver(*row) for row in rows)

    def still(self, group: str, found: Mapping[str, str]) -> dict[str, Waiver]:
        """Those that hold, by gate; `found` are the fingerprints of what gates find now.

        Those whose gate finds something else are removed for good, also if it changes back.
        """
        for gate, evidence in found.items():
            names = {**self._names(group), "gate": gate, "evidence": evidence}
            self.conn.execute(Q["drop_changed"], names)
        return {waiver.gate: waiver for waiver in self.read(group)}

    def clear(self, group: str) -> list[dict[str, str]]:
        """Removes all of a group; returns gates and reasons, for the record."""
        rows = self.conn.execute(Q["drop_all"], self._names(group))
        return [{"gate": gate, "reason": reason, "by": by} for gate, reason, by in rows]

    def _names(self, group: str) -> dict[str, Any]:
        return {"pipeline": self.pipeline, "group": group}
