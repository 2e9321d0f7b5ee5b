"""The one rule for what changes things: a plan is agreed to by its hash, or on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import typer

from bridge.cli.output import Output
from bridge.errors import BridgeError, ConfigError


@dataclass(frozen=True)
class Agreement:
    """A plan's hash, and how its commands and its question are worded."""

    hash: str
    plan: str
    apply: str
    nobody: str
    question: str
    show: Callable[[], None]

    def need(self, out: Output, wanted: str | None) -> None:
        """Raises BridgeError unless this plan is the one that was agreed to; asks on a terminal."""
        if wanted is not None:
            if wanted != self.hash:
                raise BridgeError(
                    f"the plan is {self.hash} now, not {wanted}", f"look at it again: {self.plan}"
                )
            return
        if not (out.terminal and sys.stdin.isatty()):
            raise ConfigError(
                f"there is nobody to ask whether {self.nobody}",
                f"{self.plan}, then {self.apply} --plan {self.hash}",
            )
        self.show()
        if not typer.confirm(self.question):
            out.line("nothing was changed")
            raise typer.Exit(1)
