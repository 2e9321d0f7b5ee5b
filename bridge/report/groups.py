"""Groups of tables: who has authority, how far a switch is, and whether there is a way back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.names import TableName
from bridge.store.authority import Authority, group_of, read_authorities
from bridge.store.state import Connection, Q, TableState

AT_TARGET = frozenset(
    {"flipping", "target-primary", "reverse-fencing", "reverse-draining", "reverse-checking",
     "reverse-sequencing", "reverse-aborting"}
)  # fmt: skip
"""States in which the target has authority and the source may get it back."""
FOR_GOOD = frozenset({"completing", "completed"})
SLOT_NEEDED = AT_TARGET | {"armed"}
"""States in which the stream back has a slot."""


def rollback_available(
    state: str, told: Mapping[str, Any], slot: str | None, violations: int, *, provable: bool
) -> bool | None:
    """Whether authority may go back to the source with all that the target has; None: it is there.

    `told` is what the daemon says of the stream back, `slot` the state of its slot; `violations`
    are those of tables that are not proven equal since; `provable`: whether a last check could
    prove it, for which the source's log is read, and the tables' proofs are kept up.
    """
    if state in FOR_GOOD:
        return False
    if state not in AT_TARGET:
        return None
    held = bool(told.get("rollback_available"))
    return held and provable and slot not in (None, "lost") and not violations


def slot_alarm(state: str, name: str, slot: str | None) -> str:
    """What is about to be lost of the way back, or is; '' for nothing.

    `slot` is the slot's state, None for one that is not there. What is lost while the group is
    armed is only the slot: the source has authority, and lacks nothing.
    """
    if state not in SLOT_NEEDED:
        return ""
    if slot in (None, "lost"):
        if state == "armed":
            return (
                f"LOST: the slot {name} is of no use for a switch any more; cancel removes it,"
                " and the next switch makes another one"
            )
        return (
            f"LOST: the slot {name} has not all that the source lacks; there is no way back with it"
        )
    if slot == "unreserved":
        return (
            f"DANGER: the slot {name} needs more WAL than max_slot_wal_keep_size;"
            " the next checkpoint may make it lost"
        )
    return ""


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A group as `status` shows it.

    `slot`: state of the slot of its stream back, 'lost' where that is gone; None: it has none.
    """

    authority: Authority
    state: str = "source-primary"
    told: Mapping[str, Any] = field(default_factory=dict)
    slot_name: str = ""
    slot: str | None = None
    violations: int = 0
    unproven: int = 0
    """How many of the violations are in tables that are not proven equal since."""
    provable: bool = True

    @property
    def alarm(self) -> str:
        """See `slot_alarm`."""
        return slot_alarm(self.state, self.slot_name, self.slot)

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "group": self.authority.group,
            "state": self.state,
            "authority": self.authority.side,
            "mode": self.authority.mode,
            "epoch": self.authority.epoch,
            "reads": self.authority.reads_percent,
            "rollback_available": rollback_available(
                self.state, self.told, self.slot, self.unproven, provable=self.provable
            ),
            "slot_state": self.slot,
            "alarm": self.alarm or None,
            "fence_violations": self.violations,
        }


def read_groups(
    conn: Connection,
    pipeline: str,
    tables: Iterable[TableState],
    proven: Container[TableName],
    *,
    reads: bool,
) -> tuple[GroupStatus, ...]:
    """Those for which a mode was ever set or a switch was begun; the control schema is new.

    `proven`: the tables that are proven equal. `reads`: whether there is a position from which the
    source's log is read.
    """
    rows = conn.execute(Q["cutover_groups"], {"pipeline": pipeline})
    found = {group: rest for group, *rest in rows}
    authorities = {one.group: one for one in read_authorities(conn, pipeline)}
    given_up = proofs_given_up(conn, pipeline)
    lacking = set[str]()
    violations, unproven = Counter[str](), Counter[str]()
    for table in tables:
        name = group_of(table.source, table.mapping)
        violations[name] += table.violations
        unproven[name] += 0 if table.source in proven else table.violations
        lacking |= {name} if table.source in given_up else set()
    groups = []
    for group in sorted({*found, *authorities}):
        state, told, name, slot = found.get(group, ("source-primary", {}, "", None))
        authority = authorities.get(group, Authority(group, 0))
        counts = violations[group], unproven[group], reads and group not in lacking
        groups.append(GroupStatus(authority, state, told or {}, name or "", slot, *counts))
    return tuple(groups)


def proofs_given_up(conn: Connection, pipeline: str) -> frozenset[TableName]:
    """The tables whose proofs are not kept up any more."""
    rows = conn.execute(Q["proofs_given_up"], {"pipeline": pipeline})
    return frozenset(TableName(schema, table) for schema, table in rows)
