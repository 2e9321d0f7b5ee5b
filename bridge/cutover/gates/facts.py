"""What the gates judge: facts about a group of tables, as they were gathered at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.cutover.gates.base import Problem
from bridge.names import TableName
from bridge.store.state import DaemonState, TableState
from bridge.verify.certificate import Evidence


@dataclass(frozen=True, slots=True)
class Limits:
    """What a switch asks for; seconds all.

    `lag`: the stream may be so far behind. `pause`: so long may the final check take.
    `transaction`: older ones are long. `unconfirmed`: an early write that the stream has not
    brought for so long is in doubt. `silent` and `gone`: an instance that has said nothing for so
    long is not well, and no more counted. `census`: for so long writers must have been looked for;
    those who last wrote longer than `remember` ago are forgotten. `recheck_keys` per second are
    expected where no rate was measured, and `recheck_start` is what any check takes.
    """

    lag: float = 5.0
    pause: float = 5.0
    transaction: float = 5.0
    unconfirmed: float = 10.0
    silent: float = 10.0
    gone: float = 60.0
    census: float = 0.0
    remember: float = 30 * 86_400.0
    recheck_keys: float = 5_000.0
    recheck_start: float = 0.4


@dataclass(frozen=True, slots=True)
class Unproven:
    """How much the final check has to look at in one table.

    `changes`: applied since its proof was moved, each counted (keys that changed twice, too).
    `open`: keys that could not be judged then. `round_keys` were judged in `round_seconds` the last
    time that there were any.
    """

    table: TableName
    changes: int
    open: int
    round_keys: int
    round_seconds: float


@dataclass(frozen=True, slots=True)
class Quarantined:
    """The rows of a table that are in quarantine; `digest` stands for which ones, and why."""

    table: TableName
    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Discarded:
    """Rows of a table that an operator gave up."""

    table: TableName
    rows: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is decided neither way. `unconfirmed` counts early writes, the oldest of `age` seconds.

    `source` and `target` name prepared transactions (None: the account may not ask; the text of
    `refused` says why).
    """

    unconfirmed: int
    age: float
    source: tuple[str, ...] | None
    target: tuple[str, ...]
    refused: str = ""


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """A transaction of somebody else. `writes` None: not told."""

    side: str
    session: int
    user: str
    host: str
    program: str
    seconds: float
    writes: bool | None
    statement: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "side": self.side,
            "session": self.session,
            "user": self.user,
            "host": self.host,
            "program": self.program,
            "seconds": round(self.seconds, 1),
            "writes": self.writes,
            "last_statement": self.statement,
        }


@dataclass(frozen=True, slots=True)
class Transactions:
    """Open transactions of both sides; `unseen`: why some cannot be seen, and what helps."""

    open: tuple[OpenTransaction, ...]
    unseen: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Definitions:
    """Whether both sides' tables are what the pipeline works with.

    `fingerprints` of the source's definitions now; `problems` with them, with the mapping files or
    with the target's tables.
    """

    fingerprints: Mapping[TableName, str]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Statistics:
    """What PostgreSQL's planner knows of a table; `modified` rows changed since ANALYZE."""

    table: TableName
    analyzed: bool
    rows: int
    modified: int
    invalid: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Instance:
    """A process that writes through the bridge; it spoke `silent` seconds ago.

    `epoch`: of the group, as it knows it (None: it knows of none).
    """

    name: str
    kind: str
    host: str
    pid: int
    epoch: int | None
    silent: float


@dataclass(frozen=True, slots=True)
class Epochs:
    """The group's authority on both sides: side and epoch, None where it was never set up."""

    source: tuple[str, int] | None
    target: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Writer:
    """Who was seen to write. `statements`: as the server counts, or how often it was met."""

    side: str
    account: str
    host: str
    program: str
    statements: int
    first_seen: float
    last_seen: float


@dataclass(frozen=True, slots=True)
class Census:
    """Writers of one side. `began` seconds ago; None: nobody looks. `unseen`: what is not seen."""

    side: str
    began: float | None
    looked: float | None
    writers: tuple[Writer, ...]
    unseen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Something that reaches beyond the group.

    `kind` is ``foreign-key`` or ``transaction``; of transactions, `count` were seen in a sample of
    the log, one of them at `example`.
    """

    kind: str
    tables: tuple[str, ...]
    groups: tuple[str, ...]
    count: int = 1
    example: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything, at one moment. None: nobody looked. `account` fences the source ('': any)."""

    group: str
    capture: str
    tables: tuple[TableName, ...]
    states: tuple[TableState, ...]
    daemon: DaemonState | None
    position: str
    evidence: tuple[Evidence, ...]
    certificates: tuple[Mapping[str, Any], ...]
    unproven: tuple[Unproven, ...]
    quarantined: tuple[Quarantined, ...]
    discarded: tuple[Discarded, ...]
    doubt: Doubt
    transactions: Transactions
    definitions: Definitions
    statistics: tuple[Statistics, ...]
    epochs: Epochs
    instances: tuple[Instance, ...]
    census: tuple[Census, ...]
    account: str = ""
    known_writers: frozenset[str] = frozenset()
    own_accounts: frozenset[str] = frozenset()
    spans: tuple[Span, ...] = ()
    reverse: tuple[Problem, ...] | None = None
    representable: tuple[Problem, ...] | None = None
    fence: tuple[Problem, ...] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
