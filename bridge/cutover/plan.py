"""What a switch or a reverse would do, step by step, without doing it; and a hash over that.

The hash is over steps and settings, not over positions or epochs, which move.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pymysql

from bridge.cutover import objects
from bridge.cutover.fences.permissions import DENIED
from bridge.cutover.transitions import State
from bridge.cutover.work import Work


@dataclass(frozen=True, slots=True)
class Planned:
    """A state of the way, what is done in it, and the statements for it that are known before."""

    state: State
    what: str
    statements: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"state": self.state, "what": self.what, "statements": list(self.statements)}


def switch_plan(work: Work) -> list[Planned]:
    """The steps from the source to the target."""
    return [describe(work) for describe in _FORWARD]


def reverse_plan(work: Work) -> list[Planned]:
    """The steps from the target to the source."""
    return [describe(work) for describe in _BACKWARD]


def plan_hash(work: Work, steps: Sequence[Planned]) -> str:
    """Twelve hex digits."""
    said = [work.settings.document(), [step.document() for step in steps]]
    text = json.dumps(said, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def fence_statements(work: Work) -> list[str]:
    """How the source's fence is set; [] while the account may not see what it would take away.

    The gate `fence` says which rights it lacks.
    """
    try:
        return work.fence.plan(work.fence.survey(work.source))
    except pymysql.err.MySQLError as error:
        if error.args[0] not in DENIED:
            raise
        return []


def _arming(work: Work) -> Planned:
    noted = work.attempt.evidence.get("target_fence")
    statements = work.target_fence.plan(noted or work.target_fence.survey(work.target))
    return Planned(
        "arming",
        "makes publication and slot for the way back, and keeps applications from writing to the"
        " target's tables; nobody is hindered on the source",
        tuple(statements),
    )


def _fencing(work: Work) -> Planned:
    statements = fence_statements(work)
    ends = "ends" if work.settings.survivors == "end" else "waits for"
    return Planned(
        "fencing",
        f"{_hook(work, 'before_fence')}closes both rows of authority, sets the fence"
        f" ({work.fence.kind}), {ends} sessions that could still write",
        tuple(statements),
    )


def _draining(work: Work) -> Planned:
    tables = ", ".join(sorted(map(str, work.tables)))
    return Planned("draining", f"waits until a marker in the log has been delivered to {tables}")


def _checking(_work: Work) -> Planned:
    return Planned("checking", "compares every key that changed since the tables were certified")


def _sequencing(work: Work) -> Planned:
    names = [f"{each['kind']} {each['name']}" for each in objects.wanted(work.target, work.plans)]
    made = f", adds {', '.join(names)}" if names else ""
    return Planned("sequencing", f"moves sequences behind the source's numbers{made}")


def _flipping(work: Work) -> Planned:
    return Planned(
        "flipping",
        "opens the target in one transaction with the journal, gives applications their rights,"
        f" starts the stream back to the source{_hook(work, 'after_flip', before=', ')}",
    )


def _reverse_fencing(work: Work) -> Planned:
    statements = work.target_fence.plan(work.target_fence.survey(work.target))
    return Planned(
        "reverse-fencing",
        f"{_hook(work, 'before_fence')}closes both rows of authority and fences the target",
        tuple(statements),
    )


def _reverse_draining(_work: Work) -> Planned:
    return Planned("reverse-draining", "waits until the source has everything, and ends the stream")


def _reverse_checking(_work: Work) -> Planned:
    return Planned("reverse-checking", "compares every key that changed since the switch")


def _reverse_sequencing(work: Work) -> Planned:
    noted = work.attempt.evidence.get("constraints", [])
    names = [f"{each['kind']} {each['name']}" for each in noted]
    dropped = f", drops {', '.join(names)} of the target" if names else ""
    return Planned("reverse-sequencing", f"moves AUTO_INCREMENT behind the sequences{dropped}")


def _reverse_flipping(work: Work) -> Planned:
    return Planned(
        "reverse-flipping",
        "marks the log, from where on the stream applies again, opens the source, takes its fence"
        f" off{_hook(work, 'after_flip', before=', ')}",
    )


def _hook(work: Work, event: str, before: str = "") -> str:
    command = getattr(work.settings.hooks, event)
    if not command:
        return ""
    return f"{before}runs {command}" if before else f"runs {command}, "


_FORWARD: Sequence[Callable[[Work], Planned]] = (
    _arming,
    _fencing,
    _draining,
    _checking,
    _sequencing,
    _flipping,
)
_BACKWARD: Sequence[Callable[[Work], Planned]] = (
    _reverse_fencing,
    _reverse_draining,
    _reverse_checking,
    _reverse_sequencing,
    _reverse_flipping,
)
PLANS: Mapping[str, Callable[[Work], list[Planned]]] = {
    "switch": switch_plan,
    "reverse": reverse_plan,
}
