"""One table's copy, as the threads see it that work on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bridge.errors import TableStopped
from bridge.sink.target import Target
from bridge.store.state import TableState


@dataclass(eq=False)
class Job:
    """One table's copy."""

    target: Target
    state: TableState
    open: set[int] = field(default_factory=set)
    planned: bool = False
    finished: bool = False
    stopped: TableStopped | None = None

    @property
    def names(self) -> dict[str, Any]:
        """Bindings that name the table in the control schema (without the pipeline)."""
        return self.state.key
