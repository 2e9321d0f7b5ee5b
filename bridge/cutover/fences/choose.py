"""Which fence a group gets on the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from bridge.config.models import FenceChoice
from bridge.cutover.fences.base import (
    Connection,
    Evidence,
    FenceProblem,
    Kind,
    Limits,
    Proof,
    SourceFence,
    Subject,
)
from bridge.cutover.fences.lock_account import LockAccountFence
from bridge.cutover.fences.permissions import base_problems
from bridge.cutover.fences.read_only import ReadOnlyFence, user_tables
from bridge.cutover.fences.revoke import RevokeFence


class NoFence(SourceFence):
    """`none`: only those are kept out who ask for authority; the proof of the drain remains."""

    kind: ClassVar[Kind] = "none"

    def check(self, conn: Connection) -> list[FenceProblem]:
        """What would keep it from holding."""
        nobody = FenceProblem(
            "nobody-fenced",
            "cutover.fence is none: whoever goes around the bridge is not stopped",
            severity="warning",
        )
        return [*base_problems(conn, self.subject.tables), nobody]

    def survey(self, conn: Connection) -> Evidence:
        """What `release` needs."""
        return {"kind": self.kind}

    def plan(self, evidence: Evidence) -> list[str]:
        """The statements of `set`."""
        return []

    def set(self, conn: Connection, evidence: Evidence, limits: Limits) -> Proof:
        """Lets no new write through."""
        return Proof(True)

    @classmethod
    def release(cls, conn: Connection, evidence: Evidence) -> list[str]:  # noqa: ARG003
        """Restores what was there."""
        return []

    def stands(self, conn: Connection, evidence: Evidence) -> bool:
        """Whether it is as `set` left it."""
        return True


FENCES: dict[Kind, type[SourceFence]] = {
    each.kind: each for each in (ReadOnlyFence, RevokeFence, LockAccountFence, NoFence)
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A fence, and why this one."""

    fence: SourceFence
    reason: str

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"fence": self.fence.kind, "reason": self.reason}


def choose(conn: Connection, subject: Subject, wanted: FenceChoice) -> Choice:
    """The fence that the settings ask for; ``auto`` looks at what is possible.

    `check` is still to be asked: where nothing is possible, it says what would have to change.
    """
    if wanted != "auto":
        return Choice(FENCES[wanted](subject), "the settings say so")
    revoke = RevokeFence(subject)
    if base_problems(conn, subject.tables):
        return Choice(revoke, "what is possible can't be seen yet")
    if user_tables(conn, subject.own) - set(subject.tables):
        return Choice(revoke, "the server has tables that are not of the group")
    whole = ReadOnlyFence(subject)
    against = [each.message for each in whole.check(conn) if each.severity == "error"]
    if against:
        return Choice(revoke, f"read_only is not possible: {against[0]}")
    return Choice(whole, "the group is all that there is on the server")
