"""What a gate is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

WAIVABLE = frozenset({"quarantine", "long-transactions", "planner", "writers"})
"""The gates that an operator may waive, with a reason. No other can be talked over."""
ORDER = (
    "capture",
    "copied",
    "daemon",
    "lag",
    "stream-errors",
    "quarantine",
    "schema",
    "certificate",
    "final-check",
    "in-doubt",
    "long-transactions",
    "instances",
    "reverse",
    "representable",
    "fence",
    "writers",
    "planner",
    "span",
)
"""All names, as they are shown."""

_VOLATILE = (
    "seconds", "position", "_at", "statement", "statements", "modified", "looks", "problems",
)  # fmt: skip
"""Ends of the names of facts that change while the matter stays the same."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that stands in the way, and the command that helps ('' where none does)."""

    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition of a switch.

    `passed` None: it cannot be told, which holds a switch up as a refusal does. `evidence` is what
    was seen, as JSON has it. `missing` says what is not as it must be (of a gate that passed: what
    is to be known all the same), `command` what to do about it.
    """

    name: str
    passed: bool | None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    missing: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        if self.name not in ORDER:
            raise ValueError(f"{self.name} is no gate")
        if self.passed is not True and not self.missing:
            raise ValueError(f"{self.name}: a gate that holds a switch up says why")

    @property
    def waivable(self) -> bool:
        """Whether an operator may let a switch pass although this gate does not."""
        return self.name in WAIVABLE

    def evidence_hash(self) -> str:
        """Sixteen hex digits over the evidence: a waiver holds for the one that it was given for.

        Positions, ages and counters that only run on are left out.
        """
        kept = json.dumps(_lasting(self.evidence), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(f"{self.name}\n{kept}".encode()).hexdigest()[:16]

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "gate": self.name,
            "passed": self.passed,
            "waivable": self.waivable,
            "evidence": dict(self.evidence),
            "evidence_hash": self.evidence_hash(),
            "missing": self.missing,
            "command": self.command,
        }


def of_problems(name: str, problems: Iterable[Problem], evidence: Mapping[str, Any]) -> Gate:
    """Passed if there are no problems; else with the first command, and all as evidence."""
    found = list(problems)
    if not found:
        return Gate(name, True, evidence)
    texts = [one.text for one in found]
    command = next((one.command for one in found if one.command), "")
    listed = {**evidence, "problems": [{"text": p.text, "command": p.command} for p in found]}
    return Gate(name, False, listed, "; ".join(texts[:_SHOWN]) + _more(texts), command)


_SHOWN = 3


def _more(texts: list[str]) -> str:
    left = len(texts) - _SHOWN
    return f"; and {left} more" if left > 0 else ""


def _lasting(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {k: _lasting(v) for k, v in value.items() if not str(k).endswith(_VOLATILE)}
        return {name: kept[name] for name in sorted(kept)}
    if isinstance(value, (list, tuple)):
        return sorted((_lasting(each) for each in value), key=json.dumps)
    return value
