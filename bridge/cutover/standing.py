"""How a group's cutover stands: one value, what it means, and what comes next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from bridge.cutover.journal import Record, Schedule, Step
from bridge.cutover.transitions import TABLE, State
from bridge.dualwrite.authority import Authority
from bridge.names import TableName, group_option
from bridge.report.groups import rollback_available, slot_alarm
from bridge.reverse.slots import Slot, is_lost
from bridge.store.state import TableState

Phase = Literal["backfill", "stream", "shadow", "provisional", "verified", "reads-target"]
BEFORE_SWITCH: frozenset[State] = frozenset({"source-primary", "arming", "armed", "disarming"})
GOALS: frozenset[State] = frozenset({"flipping", "reverse-flipping", "completing"})
"""Whoever is done with one of these has got what was asked for: earlier errors are history."""


@dataclass(frozen=True, slots=True)
class FenceStanding:
    """The fence that is set on the source. `stands` None: that could not be seen (`reason`).

    `statements` set it again.
    """

    kind: str
    stands: bool | None
    reason: str = ""
    statements: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "kind": self.kind,
            "stands": self.stands,
            "reason": self.reason,
            "statements": list(self.statements),
        }


@dataclass(frozen=True, slots=True)
class WayBack:
    """The stream back to the source: what the daemon said last, and its slot.

    `state` is the group's.
    """

    state: State
    name: str
    slot: Slot | None
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def alarm(self) -> str:
        """See `slot_alarm`."""
        return slot_alarm(self.state, self.name, self.slot.state if self.slot else None)

    def document(self) -> dict[str, Any]:
        """As JSON has it; sizes in bytes."""
        slot = self.slot
        return {
            "lag_seconds": self.told.get("lag_seconds"),
            "rows": self.told.get("rows"),
            "unrepresentable": self.told.get("unrepresentable"),
            "error": self.told.get("error"),
            "stopped": self.told.get("stopped"),
            "slot": self.name,
            "slot_state": slot.state if slot else "lost",
            "slot_active": slot.active if slot else False,
            "retained_bytes": slot.retained if slot else None,
            "safe_bytes": slot.safe if slot else None,
            "max_slot_wal_keep_size": slot.most if slot else None,
            "alarm": self.alarm or None,
        }


@dataclass(frozen=True, slots=True)
class Standing:
    """One look at a group. `certified`: its certificate is of the tables as they are now.

    `proven`: the tables that are proven equal, as far as was looked; `provable`: see
    `rollback_available`. `daemon`: whether one runs;
    `now` is the target's clock.
    """

    record: Record
    source: Authority | None
    target: Authority | None
    tables: tuple[TableState, ...]
    daemon: bool
    now: datetime
    certified: bool = False
    proven: frozenset[TableName] = frozenset()
    provable: bool = True
    history: Sequence[Step] = ()
    way_back: WayBack | None = None
    fence: FenceStanding | None = None

    @property
    def authority(self) -> Authority:
        """What is true of the newer of the two rows."""
        rows = [row for row in (self.source, self.target) if row is not None]
        return max(rows, key=lambda row: row.epoch, default=Authority(self.record.group, 0))

    @property
    def phase(self) -> Phase | None:
        """How near a switch is, while the source has authority."""
        if self.record.state not in BEFORE_SWITCH:
            return None
        if not self.tables or any(table.state != "streaming" for table in self.tables):
            return "backfill"
        if self.authority.reads_percent:
            return "reads-target"
        if self.certified:
            return "verified"
        mode = self.authority.mode
        return "stream" if mode == "cdc" else mode

    @property
    def violations(self) -> dict[TableName, int]:
        """Writes around the fence, of the tables that have any."""
        return {table.source: table.violations for table in self.tables if table.violations}

    @property
    def rollback_available(self) -> bool | None:
        """See `bridge.report.groups.rollback_available`."""
        back = self.way_back
        slot = back.slot.state if back and back.slot else None
        told = back.told if back else {}
        unproven = sum(n for name, n in self.violations.items() if name not in self.proven)
        return rollback_available(self.record.state, told, slot, unproven, provable=self.provable)

    @property
    def deserted(self) -> bool:
        """Whether something is under way that nobody is at."""
        return not TABLE[self.record.state].resting and self.record.holder is None

    @property
    def announced(self) -> Schedule | None:
        """The switch that somebody waits to make."""
        return self.record.schedule

    @property
    def last_error(self) -> Step | None:
        """What stopped the last attempt, if it has not got what it was for since."""
        for step in reversed(self.history):
            if step.event == "failed":
                return step
            if step.event == "done" and step.before in GOALS:
                break
        return None

    def next_steps(self) -> list[str]:
        """The commands that make sense now, the most urgent first."""
        return list(dict.fromkeys(self._next()))

    def _next(self) -> Iterator[str]:
        group, state = group_option(self.record.group), self.record.state
        if not TABLE[state].resting:
            if self.deserted:
                yield f"dbbridge cutover cancel {group}"
            yield "dbbridge cutover status --history"
            return
        if not self.daemon and state != "completed":
            yield "dbbridge sync"
        if self.announced is not None:
            yield f"dbbridge cutover cancel {group}"
        if self.phase == "backfill":
            yield "dbbridge status --watch"
        elif self.phase in ("stream", "shadow", "provisional"):
            yield "dbbridge verify --certify"
        if state == "armed" and self.way_back and is_lost(self.way_back.slot):
            yield f"dbbridge cutover cancel {group}"
        if self.phase not in (None, "backfill"):
            yield f"dbbridge cutover plan {group}"
        if state == "target-primary":
            yield from self._at_target(group)

    def _at_target(self, group: str) -> Iterator[str]:
        if self.way_back and self.way_back.alarm.startswith("DANGER"):
            yield "ALTER SYSTEM SET max_slot_wal_keep_size = …; SELECT pg_reload_conf()"
        if self.fence is not None and self.fence.stands is False:
            yield from self.fence.statements
        if self.way_back is None or not self.way_back.alarm.startswith("LOST"):
            yield f"dbbridge cutover plan --reverse {group}"
        yield f"dbbridge cutover complete {group}"

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        record, announced, error = self.record, self.announced, self.last_error
        return {
            "group": record.group,
            "source": self.source.document() if self.source else None,
            "target": self.target.document() if self.target else None,
            "state": record.state,
            "sentence": TABLE[record.state].sentence,
            "phase": self.phase,
            "mode": self.authority.mode,
            "epoch": self.authority.epoch,
            "reads": self.authority.reads_percent,
            "operator": _operator(record),
            "announced": _announced(announced, self.now) if announced else None,
            "rollback_available": self.rollback_available,
            "way_back": self.way_back.document() if self.way_back else None,
            "fence": self.fence.document() if self.fence else None,
            "fence_violations": {str(name): n for name, n in sorted(self.violations.items())},
            "last_step": step_document(self.history[-1]) if self.history else None,
            "last_error": {
                "at": error.at.isoformat(),
                "operator": error.operator,
                "state": error.before,
                "error": str(error.detail.get("error", "")),
            }
            if error
            else None,
            "next_steps": self.next_steps(),
        }


def step_document(step: Step) -> dict[str, Any]:
    """A line of the history as JSON has it."""
    return {
        "at": step.at.isoformat(),
        "attempt": step.attempt,
        "operator": step.operator,
        "before": step.before,
        "event": step.event,
        "after": step.after,
        "seconds": round(step.seconds, 3),
        "detail": dict(step.detail),
    }


def _operator(record: Record) -> dict[str, Any] | None:
    if not record.operator:
        return None
    return {
        "who": record.operator,
        "since": record.taken_at.isoformat() if record.taken_at else None,
        "attempt": record.attempt,
        "there": record.holder is not None,
        "deadline": record.deadline.isoformat() if record.deadline else None,
    }


def _announced(schedule: Schedule, now: datetime) -> dict[str, Any]:
    return {
        "at": schedule.at.isoformat(),
        "by": schedule.by,
        "plan": schedule.plan,
        "overdue": schedule.at < now,
    }
