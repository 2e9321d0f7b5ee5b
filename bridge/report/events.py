"""What happened to a pipeline: stops, DDL, operators' acts, steps of cutovers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.store.sql import queries
from bridge.store.state import Connection

Q = queries("bridge.report", "events.sql")


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened. `subject` is a table, a group, a setting, or nothing."""

    id: str
    at: datetime
    kind: str
    subject: str
    message: str

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "at": self.at.isoformat(),
            "kind": self.kind,
            "subject": self.subject,
            "message": self.message,
        }


def read_events(conn: Connection, pipeline: str, since: datetime) -> list[Happening]:
    """All since then, oldest first."""
    rows = conn.execute(Q["events"], {"pipeline": pipeline, "since": since})
    return [Happening(*row) for row in rows.fetchall()]
