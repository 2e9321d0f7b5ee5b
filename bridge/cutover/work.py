"""What the steps of a cutover work with: one session on each side, and the group."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pymysql

from bridge.capture.binlog.positions import upper_bound
from bridge.change.position import Position
from bridge.config.models import CutoverSettings
from bridge.cutover import doors, objects
from bridge.cutover.answers import NOTHING, Carried, carry
from bridge.cutover.attempt import Attempt, FenceNotes
from bridge.cutover.fences import holding
from bridge.cutover.fences.base import Limits, Proof, Session, SourceFence
from bridge.cutover.fences.hooks import HookResult, run_hook
from bridge.cutover.fences.insisting import insist
from bridge.cutover.fences.target import TargetFence
from bridge.cutover.finalcheck import Checker
from bridge.cutover.wayback import StreamBack
from bridge.dualwrite.authority import Authority, Side
from bridge.errors import BridgeError
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.replicate.ops import marker
from bridge.store.state import TableState, read_tables

POLL_SECONDS = 0.003
TRIES = 3
"""How often a lock of the target is waited for as long as it may be; those in the way are ended
after the first time."""


class TimedOut(BridgeError):
    """A step took longer than the whole may; what was done is undone."""


class WritersRemain(BridgeError):
    """Sessions that could still write, or hold what is needed, were not ended; they are named."""

    def __init__(self, proof: Proof, what: str = "writers are still at the group's tables") -> None:
        named = "; ".join(str(each) for each in proof.blockers[:3]) or "nobody can be named"
        super().__init__(
            f"{what}: {named}",
            "end them, or let the switch do it: cutover: {survivors: end}",
        )
        self.blockers: tuple[Session, ...] = proof.blockers


@dataclass
class Work:
    """One group in one operator's hands.

    `source` is the session of the account that fences, in autocommit mode, `target` the journal's.
    `deadline` (time.monotonic) ends every wait while writers are kept out.
    """

    pipeline: str
    database: str
    attempt: Attempt
    settings: CutoverSettings
    source: pymysql.Connection[Any]
    target: psycopg.Connection[Any]
    plans: tuple[TablePlan, ...]
    checker: Checker
    fence: SourceFence
    target_fence: TargetFence
    way_back: StreamBack
    deadline: float = float("inf")
    hooks: list[HookResult] = field(default_factory=list)
    carried: Carried = NOTHING
    """The answers of the HTTP service that were copied to the source."""
    closed_at: float | None = None
    """When writers were kept out (time.monotonic), and when they were let in again."""
    opened_at: float | None = None

    @property
    def group(self) -> str:
        """Its name."""
        return self.attempt.record.group

    @property
    def tables(self) -> tuple[TableName, ...]:
        """In the source."""
        return tuple(plan.source for plan in self.plans)

    def left(self) -> float:
        """Seconds until the deadline; raises TimedOut where there are none."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise TimedOut(
                f"not done within the time that it may take, while {self.attempt.state}",
                "try again when less is written, or give it longer: --timeout SECONDS",
            )
        return seconds

    def patience(self) -> float:
        """How long one lock is waited for, in seconds."""
        return min(self.settings.lock_seconds, self.left())

    def limits(self) -> Limits:
        """The same for a fence."""
        return Limits(self.left(), self.settings.lock_seconds, end=self.settings.survivors == "end")

    def insist(
        self, act: Callable[[float], None], holders: Callable[[], list[Session]], what: str
    ) -> None:
        """Does on the target what needs a lock (see `insisting.insist`), in a few tries.

        The same while it is undone, when no deadline ends a wait. Raises WritersRemain, with who
        holds `what`.
        """
        most = self.settings.lock_seconds
        limits = Limits(min(TRIES * most, self.left()), most, self.settings.survivors == "end")
        proof = insist(self.target, act, holders, limits, self.target_fence.exempt)
        if not proof.holds:
            raise WritersRemain(proof, f"{what} is held by others")

    def install(self) -> list[str]:
        """See `objects.install`."""
        made: list[list[str]] = []
        self._change(lambda now: made.append(objects.install(self.target, self.plans, now)))
        return made[-1]

    def remove(self) -> None:
        """See `objects.remove`."""
        noted = self.attempt.evidence.get("constraints", [])
        self._change(lambda now: objects.remove(self.target, self.plans, noted, now))

    def _change(self, act: Callable[[float], None]) -> None:
        self.insist(act, lambda: self.target_fence.holders(self.target), "a table of the target")

    def wait(self, done: Callable[[], bool], what: str) -> float:
        """Asks until it is so; the seconds that it took. Raises TimedOut."""
        began = time.monotonic()
        while not done():
            try:
                self.left()
            except TimedOut as error:
                raise TimedOut(f"{error.message}: {what}", error.hint) from None
            time.sleep(POLL_SECONDS)
        return time.monotonic() - began

    def hook(self, event: Any) -> None:
        """Runs the operator's command, if there is one."""
        result = run_hook(self.settings.hooks, event, self.group, self.pipeline)
        if result is not None:
            self.hooks.append(result)

    # -- doors -------------------------------------------------------------------------------

    def note_epoch(self) -> None:
        """Keeps the epoch from which this switch, or its undoing, goes on."""
        if "epoch" not in self.attempt.evidence:
            names = self.database, self.pipeline, self.group
            found: list[Authority] = []
            self._at_the_door(
                lambda now: found.append(doors.known(self.source, self.target, *names, now))
            )
            now = found[-1]
            self.attempt.note(epoch=now.epoch, mode=now.mode, reads=now.reads_percent)

    def row(self, side: Side, step: int) -> Authority:
        """The row that the group has `step` epochs after it began: 1 closed, 2 open again."""
        known = self.attempt.evidence
        return Authority(self.group, known["epoch"] + step, side, known["mode"], known["reads"])

    def close(self) -> None:
        """Both doors: nobody has authority. The target's first, and both wait for their writers."""
        self.closed_at = time.monotonic()
        self.set_target(self.row("closed", 1))
        self.set_source(self.row("closed", 1))

    def set_target(self, row: Authority) -> None:
        """See `doors.set_target`."""
        self._at_the_door(lambda now: doors.set_target(self.target, self.pipeline, row, now))

    def _at_the_door(self, act: Callable[[float], None]) -> None:
        names = self.target, self.pipeline, self.group
        self.insist(act, lambda: doors.holders(*names), f"the target's row of {self.group}")

    def set_source(self, row: Authority) -> None:
        """See `doors.set_source`."""
        doors.set_source(self.source, self.database, self.pipeline, row, self.settings.lock_seconds)

    def carry_answers(self) -> None:
        """Gives the source what the HTTP service answered on the target."""
        self.carried = carry(self.source, self.target, self.database, self.carried)

    # -- fences ------------------------------------------------------------------------------

    def fence_source(self) -> Proof:
        """Nobody writes to the group's tables on the source any more. Raises WritersRemain."""
        notes = FenceNotes(self.attempt, "source_fence")
        proof = holding.engage(self.source, self.fence, notes, self.limits())
        if not proof.holds:
            raise WritersRemain(proof)
        return proof

    def release_source(self) -> list[str]:
        """The fence comes off; returns what could not be restored."""
        return holding.release(self.source, FenceNotes(self.attempt, "source_fence"))

    def fence_target(self) -> Proof:
        """The same on the target."""
        notes = FenceNotes(self.attempt, "target_fence")
        proof = self.target_fence.engage(self.target, notes, self.limits())
        if not proof.holds:
            raise WritersRemain(proof)
        return proof

    # -- the stream --------------------------------------------------------------------------

    def mark(self, stage: str) -> int:
        """Writes a marker into the source's log, and gives its number."""
        with self.source.cursor() as cursor:
            cursor.execute(*marker(self.database, stage, self.tables))
            return int(cursor.lastrowid)

    def reached(self, number: int) -> bool:
        """Whether the stream has delivered a marker to all tables of the group."""
        return all(state.marker >= number for state in self.states())

    def states(self) -> list[TableState]:
        """Of the group's tables, as the stream has them."""
        mine = frozenset(self.tables)
        return [s for s in read_tables(self.target, self.pipeline) if s.source in mine]

    def fence_position(self) -> Position:
        """Covers everything that was ever written to the source until now."""
        return upper_bound(self.source)

    def with_deadline(self, seconds: float) -> None:
        """All waits end by then."""
        self.deadline = time.monotonic() + seconds
