"""When `sync` ends by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bridge.change.position import Position
from bridge.errors import ConfigError, Inconclusive
from bridge.store.state import TableState


@dataclass
class Until:
    """Never, when all is copied, when the stream has passed what was there, or at a position."""

    kind: Literal["never", "copied", "caught-up", "position"] = "never"
    position: Position | None = None
    _goal: Position | None = field(default=None, init=False)

    @classmethod
    def parse(cls, text: str | None) -> Until:
        """``copied``, ``caught-up``, a position, or None; raises ConfigError."""
        if text is None:
            return cls()
        if text == "copied":
            return cls("copied")
        if text == "caught-up":
            return cls("caught-up")
        return cls("position", Position.parse(text))

    def reached(
        self,
        tables: Sequence[TableState],
        applied: Position | None,
        upper_bound: Callable[[], Position],
    ) -> bool:
        """Whether the goal is reached; all active tables stream.

        `applied` is the main stream's position, `upper_bound` asks the source for a position that
        nothing visible is later than. Raises Inconclusive where a table does not take part.
        """
        if self.kind == "never":
            return False
        self._all_take_part(tables)
        if self.kind == "copied":
            return True
        if applied is None:
            return False
        if self.kind == "position":
            assert self.position is not None
            return _covers(applied, self.position)
        if self._goal is None:
            self._goal = upper_bound()
        return applied.coordinates >= self._goal.coordinates

    @staticmethod
    def _all_take_part(tables: Sequence[TableState]) -> None:
        for table in tables:
            if not table.active:
                fault = f": {table.why}" if table.fault else ""
                resume = f"dbbridge tables resume {table.source.word}"
                hint = table.fault.hint if table.fault else resume
                raise Inconclusive(f"{table.source} is {table.state}{fault}", hint)
            if table.quarantined:
                raise Inconclusive(
                    f"{table.source} has {table.quarantined} rows in quarantine",
                    "look at them: dbbridge quarantine list",
                )


def _covers(applied: Position, wanted: Position) -> bool:
    if wanted.kind == "file":
        return applied.coordinates >= wanted.coordinates
    if wanted.kind != applied.kind:
        raise ConfigError(
            f"this source's positions are not of the kind of {wanted}",
            f"write it as `dbbridge status` prints it, like {applied}",
        )
    return applied.covers(wanted)
