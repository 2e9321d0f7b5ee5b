"""What a fence is, what stands in its way, and what is noted about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import pymysql

from bridge.cutover.fences.accounts import Account
from bridge.names import TableName

Kind = Literal["read_only", "revoke", "lock_account", "none"]
Evidence = dict[str, Any]
"""What was there before a fence, for JSON: all that its release needs. `kind` says whose it is."""
Connection: TypeAlias = "pymysql.Connection[Any]"


@dataclass(frozen=True, slots=True)
class FenceProblem:
    """Why a fence would not hold (`error`), or whom it does not stop (`warning`).

    `code` is stable; `statements` are for an administrator of the server.
    """

    code: str
    message: str
    statements: tuple[str, ...] = ()
    severity: Literal["error", "warning"] = "error"

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "statements": list(self.statements),
        }


@dataclass(frozen=True, slots=True)
class Session:
    """A session of a server. `seconds`: how long its transaction, or else its statement, lasts."""

    id: int
    user: str
    host: str
    program: str = ""
    statement: str = ""
    seconds: float = 0
    table: str = ""

    def __str__(self) -> str:
        program = f" ({self.program})" if self.program else ""
        table = f" on {self.table}" if self.table else ""
        doing = f": {' '.join(self.statement.split())[:200]}" if self.statement else ", idle"
        who = f"session {self.id} of {self.user}@{self.host}{program}"
        return f"{who}{table}, {self.seconds:.0f} s{doing}"

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: getattr(self, name) for name in self.__slots__}


def distinct(sessions: Iterable[Session]) -> tuple[Session, ...]:
    """Each once, as it was first seen: who takes his time to end is ended again."""
    found: dict[int, Session] = {}
    for each in sessions:
        found.setdefault(each.id, each)
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether nobody writes any more, who stands in the way if not, and who was ended for it."""

    holds: bool
    blockers: tuple[Session, ...] = ()
    ended: tuple[Session, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a fence may take in all, and one lock of it, in seconds.

    `end`: whether sessions that stand in the way are ended, once a lock was waited for in vain and
    while there is time left for another try.
    """

    seconds: float = 10
    lock_seconds: float = 2
    end: bool = True


@dataclass(frozen=True, slots=True)
class Subject:
    """What the source's fence is about.

    `accounts`: who is fenced, None for everybody who may write the tables. `exempt`: the bridge's
    own accounts, as CURRENT_USER() tells them. `own`: tables of the bridge's in the source, which
    do not count where a group must be all that there is.
    """

    tables: tuple[TableName, ...]
    accounts: tuple[Account, ...] | None = None
    exempt: tuple[Account, ...] = ()
    own: frozenset[TableName] = field(default=frozenset())


class SourceFence(ABC):
    """A way to keep accounts from writing tables of MySQL or MariaDB.

    `conn` is a session with autocommit of the account that fences, everywhere. What a driver raises
    goes through.
    """

    kind: ClassVar[Kind]

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    @abstractmethod
    def check(self, conn: Connection) -> list[FenceProblem]:
        """What would keep it from holding or from coming off; changes nothing."""

    @abstractmethod
    def survey(self, conn: Connection) -> Evidence:
        """What `set` will change, as it is now; to be noted before `set`. Changes nothing."""

    @classmethod
    def merged(cls, noted: Evidence, now: Evidence) -> Evidence:  # noqa: ARG003
        """What is to be restored, where one that set it was stopped: what he noted at least."""
        return noted

    @abstractmethod
    def plan(self, evidence: Evidence) -> list[str]:
        """The statements of `set`."""

    @abstractmethod
    def set(self, conn: Connection, evidence: Evidence, limits: Limits) -> Proof:
        """Lets no new write through; may be repeated. Those under way are left to `drain`.

        Raises ServerRefused where something else than a session is in the way.
        """

    @classmethod
    @abstractmethod
    def release(cls, conn: Connection, evidence: Evidence) -> list[str]:
        """Restores what was there, from whatever point `set` had reached; may be repeated.

        Returns what could not be restored, since it is no longer there.
        """

    @abstractmethod
    def stands(self, conn: Connection, evidence: Evidence) -> bool:
        """Whether it is as `set` left it: a server that restarts forgets read_only."""

    def leftovers(self, conn: Connection, evidence: Evidence, upto: int) -> list[Session]:
        """Sessions that could still write once the fence is set, and so must be ended.

        `upto`: the youngest session's id when the fence was set.
        """
        return []


class Notes(Protocol):
    """Where the evidence of one fence is kept."""

    def read(self) -> Evidence | None:
        """What was written last; None if nothing was, or it was cleared."""

    def write(self, evidence: Evidence) -> None:
        """Keeps it; durable when this returns."""

    def clear(self) -> None:
        """Forgets it: the fence is off."""
