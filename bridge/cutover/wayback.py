"""The way back of a group: what a cutover says of the reverse stream, and the daemon obeys.

A row of the control schema says from where and in which epoch it may apply; the position row in the
source has the last word, since a stream that is late finds another epoch there and writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pymysql

from bridge.cutover.transitions import State
from bridge.errors import ServerRefused
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, bindable, group_option
from bridge.reverse import slots
from bridge.reverse.ledger import unheld
from bridge.reverse.position import REVERSE_TABLE, make_table
from bridge.store.sql import queries

Q = queries("bridge.cutover", "wayback.sql")
SLOT_SECONDS = 60.0
"""How long transactions of others on the target are waited for, while nobody is kept out."""
Detail = Mapping[str, Any]
"""What a step tells of itself, for the history and the report; JSON."""
RUNNING: frozenset[State] = frozenset(
    {"flipping", "target-primary", "reverse-fencing", "reverse-draining", "reverse-aborting"}
)
"""The states in which the daemon runs the stream."""


LETTING_GO_SECONDS = 20.0
"""How long a daemon may take to end the stream back at a commit."""
LOOK_SECONDS = 0.1


@dataclass
class StreamBack:
    """As a cutover steers it; everything may be repeated."""

    pipeline: str
    group: str
    database: str
    plans: Sequence[TablePlan]
    source: pymysql.Connection[Any]
    target: psycopg.Connection[Any]

    def arm(self, lock_seconds: float, slot_seconds: float) -> Detail:
        """Makes publication and slot as far as they are not there, or not for all tables.

        A new slot waits for open writers.
        """
        make_table(self.source, self.database)
        slot = slots.arm(
            self.target, self.pipeline, self.group, self.plans,
            lock_seconds=lock_seconds, slot_seconds=max(lock_seconds, slot_seconds),
        )  # fmt: skip
        self.target.execute(Q["add"], {**self._names, "slot": slot.name})
        return {"slot": slot.name, "retained_bytes": slot.retained}

    def disarm(self) -> None:
        """Removes them, once the daemon, which sees in the journal that it must, lets go."""
        deadline = time.monotonic() + LETTING_GO_SECONDS
        while True:
            try:
                slots.disarm(self.target, self.pipeline, self.group)
                break
            except ServerRefused:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_SECONDS)
        self.target.execute(Q["remove"], self._names)

    def slot(self) -> tuple[str, slots.Slot | None]:
        """The slot's name, and the slot if it is there."""
        name = slots.slot_name(self.target.info.dbname, self.pipeline, self.group)
        return name, slots.read_slot(self.target, name)

    def begin(self, epoch: int) -> None:
        """The target takes over in `epoch`: what was written until now is not sent back.

        Nor is anything left that the source could not hold before. In the transaction that is open
        on the target. Raises SlotLost: without the slot nothing could be sent back.
        """
        name, slot = self.slot()
        if slots.is_lost(slot):
            raise slots.SlotLost(
                f"the replication slot {name} of the way back was lost meanwhile",
                f"dbbridge cutover cancel {group_option(self.group)}; the next switch makes"
                " another one",
            )
        self.target.execute(Q["begin"], {**self._names, "epoch": epoch})

    def mark(self) -> int:
        """Writes a marker into the target's log; gives what `passed` asks for."""
        return slots.marker(self.target, self.group)

    def passed(self, mark: int) -> bool:
        """Whether the source has all of before the marker."""
        began, _ = self.course()
        with self.source.cursor() as cursor:
            return bool(
                cursor.execute(
                    f"SELECT 1 FROM {self._table} WHERE grp = %s AND epoch >= %s AND lsn > %s",
                    (self.group, began, mark),
                )
            )

    def end(self, epoch: int) -> None:
        """No stream of an earlier epoch writes to the source from now on, however late it is.

        If the one that was to run has not begun, the position is where it would have.
        """
        began, start = self.course()
        name = slots.slot_name(self.target.info.dbname, self.pipeline, self.group)
        with self.source.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {self._table} (grp, slot, lsn, epoch, changed)"
                " VALUES (%s, %s, %s, %s, UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE"
                " lsn = IF(epoch < %s, VALUES(lsn), lsn), epoch = GREATEST(epoch, VALUES(epoch))",
                (self.group, name, start, epoch, began),
            )

    def unheld(self) -> tuple[int, list[str]]:
        """Rows that did not get into the source, since it cannot hold them; some by name."""
        return unheld(self.target, self.pipeline, self.group, self._applied())

    def resume(self, epoch: int) -> None:
        """It may again, in this epoch, from where it was ended.

        Ended first: what an earlier one commits after its position was read would come twice.
        """
        self.end(epoch - 1)
        names = {**self._names, "epoch": epoch, "lsn": self._applied()}
        self.target.execute(Q["resume"], names)

    def course(self) -> tuple[int, int]:
        """The epoch in which the stream may apply, and from where; see `Course`."""
        row = self.target.execute(Q["course"], self._names).fetchone()
        epoch, start = row or (0, 0)
        return int(epoch), int(start or 0)

    def told(self) -> Mapping[str, Any] | None:
        """What the daemon last said of the one that is to run, and how long ago.

        None where it is not made.
        """
        row = self.target.execute(Q["told"], self._names).fetchone()
        return row[1] if row else None

    @property
    def _names(self) -> dict[str, Any]:
        return {"pipeline": self.pipeline, "group": self.group}

    @property
    def _table(self) -> str:
        return bindable(TableName(self.database, REVERSE_TABLE).mysql)

    def _applied(self) -> int:
        with self.source.cursor() as cursor:
            cursor.execute(f"SELECT lsn FROM {self._table} WHERE grp = %s", (self.group,))
            (lsn,) = cursor.fetchone() or (0,)
        return int(lsn)


@dataclass(frozen=True, slots=True)
class Course:
    """A stream back that is to run: from `start`, in `epoch`."""

    group: str
    epoch: int
    start: int


def courses(conn: psycopg.Connection[Any], pipeline: str) -> dict[str, Course]:
    """Those that are to run now, by group."""
    rows = conn.execute(Q["courses"], {"pipeline": pipeline, "states": sorted(RUNNING)})
    return {group: Course(group, epoch, int(start)) for group, epoch, start in rows}


def idle_slots(conn: psycopg.Connection[Any], pipeline: str) -> list[str]:
    """Those of groups that are ready for a switch."""
    return [str(slot) for (slot,) in conn.execute(Q["idle_slots"], {"pipeline": pipeline})]


def begun(conn: psycopg.Connection[Any], pipeline: str, course: Course) -> None:
    """How far an earlier stream was says nothing any more; what it met may be met again."""
    names = {"pipeline": pipeline, "group": course.group, "epoch": course.epoch}
    conn.execute(Q["begun"], names)


def tell(conn: psycopg.Connection[Any], pipeline: str, course: Course, status: Any) -> None:
    """Keeps what the daemon says of one, unless another one is to run by now."""
    said = {"pipeline": pipeline, "group": course.group, "epoch": course.epoch, "status": status}
    conn.execute(Q["tell"], said)
