"""Confirmed differences are mended: the rows are taken from the source again.

What `verify` has found is judged anew first, since rows heal by themselves: only those that still
differ are written (`bridge.verify.rewrite`), and are judged once more. A difference is forgotten
when its row is proven equal, not when it is written.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import psycopg

from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.replicate.family import parent_roles
from bridge.report.verification import Difference
from bridge.types.table import SourceTable
from bridge.verify.applied import Quarantined, StoredPosition
from bridge.verify.found import UNCOMPARED, Found
from bridge.verify.judge import Judge, Stuck
from bridge.verify.keys import Keys
from bridge.verify.readers import Sides
from bridge.verify.recheck import Key, Patience
from bridge.verify.records import Proof
from bridge.verify.rewrite import NotNow, Q, Refused, Rewriter
from bridge.verify.source import SourceReader, source_session
from bridge.verify.subject import Subject
from bridge.verify.table import Sessions
from bridge.verify.tables import Followed, Unfit
from bridge.verify.target import TargetReader, target_session
from bridge.verify.values import parts

KINDS = ("missing", "extra", "differs")
SHOWN = 10
ROWS_AT_ONCE = 500
LEAST_AT_ONCE = 10
BYTES_AT_ONCE = 16 << 20
"""About so much is in a batch, for which the stream is held up once."""
ROWS_A_PAGE = 5_000


@dataclass(frozen=True)
class Planned:
    """The known differences of one table, by kind, and the first of them.

    `reason`: why they are not repaired, `hint` the command that helps ('' if they are).
    """

    table: TableName
    counts: Counter[str]
    first: tuple[Difference, ...] = ()
    digest: str = ""
    reason: str = ""
    hint: str = ""

    @property
    def rows(self) -> int:
        """How many rows are to be looked at."""
        return self.counts.total()

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "table": str(self.table),
            **{kind: self.counts[kind] for kind in KINDS},
            "first": [{"key": dict(d.key), "kind": d.kind} for d in self.first],
            "reason": self.reason,
            "hint": self.hint,
        }


@dataclass
class Repaired:
    """What became of one table's differences, in rows.

    `healed`: were equal before anything was done; `inserted`, `replaced`, `deleted` and
    `quarantined`: written; `differing`: still differ for sure; `open`: could not be judged, or not
    be written, for `reason`.
    """

    table: TableName
    healed: int = 0
    inserted: int = 0
    replaced: int = 0
    deleted: int = 0
    quarantined: int = 0
    differing: int = 0
    open: int = 0
    reason: str = ""
    hint: str = ""
    refused: bool = False
    """It must not be repaired; more time would not help."""
    halted: bool = False
    """Nothing further can be done in this table now."""

    @property
    def exit_code(self) -> int:
        """1 where something stays that an operator must look at, 3 where the rest is undecided."""
        if self.refused or self.differing or self.quarantined:
            return 1
        return 3 if self.open else 0

    def hold(self, reason: str, hint: str, *, halted: bool = True, refused: bool = False) -> None:
        """Why not everything was done; the first reason stays."""
        if not self.reason:
            self.reason, self.hint = reason, hint
        self.halted |= halted
        self.refused |= refused

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        counts = {name: value for name, value in vars(self).items() if type(value) is int}
        return {"table": str(self.table), **counts, "reason": self.reason, "hint": self.hint}


# -- the plan ----------------------------------------------------------------------------------


def plan_table(
    conn: psycopg.Connection[Any], pipeline: str, table: Followed | Unfit, proof: Proof | None
) -> Planned:
    """What would be done with one table."""
    counts: Counter[str] = Counter()
    first: list[Difference] = []
    digest = hashlib.sha256()
    runs = set[int]()
    for key, kind, document, run in _known(conn, pipeline, table.name):
        counts[kind] += 1
        runs.add(run)
        digest.update(repr((list(key), kind)).encode())
        if len(first) < SHOWN:
            first.append(Difference.parse(document))
    reason, hint = obstacle(table, proof, runs) if runs else ("", "")
    return Planned(table.name, counts, tuple(first), digest.hexdigest(), reason, hint)


def plan_hash(tables: Iterable[tuple[Planned, Followed]]) -> str:
    """Twelve hex digits over the rows that would be repaired, and over how."""
    said = [
        (str(planned.table), str(t.relation), t.state.generation, t.plan.version, planned.digest)
        for planned, t in tables
    ]
    return hashlib.sha256(repr(sorted(said)).encode()).hexdigest()[:12]


def obstacle(table: Followed | Unfit, proof: Proof | None, runs: set[int]) -> tuple[str, str]:
    """Why the table must not be repaired as it stands, and the command that helps."""
    if isinstance(table, Unfit):
        return table.verdict.reason, table.verdict.hint
    name, state, plan = table.name, table.state, table.plan
    if state.fault is not None:
        return f"stopped: {state.why}", state.fault.hint
    if state.paused:
        return "paused", f"dbbridge tables resume {name.word}"
    if state.stage == "switched":
        return "the target has authority over it", "dbbridge cutover status"
    if state.stage != "streaming":
        return f"still {state.stage}", "dbbridge status --watch"
    compared = None if proof is None else (proof.verification, proof.generation, proof.version)
    if (
        compared is None
        or runs != {compared[0]}
        or compared[1:] != (state.generation, plan.version)
    ):
        reason = "it was copied again, has another mapping, or was compared anew since"
        return reason, f"dbbridge verify {name.word}"
    if proof is not None and UNCOMPARED in proof.obstacle:
        return proof.obstacle, f"dbbridge tables resync {name.word}"
    if plan.version != state.version:
        return "its definition or its mapping is another one than the stream's", (
            f"dbbridge tables resync {name.word}"
        )
    return _unkeyed(plan)


def _unkeyed(plan: TablePlan) -> tuple[str, str]:
    if not plan.key:
        return (
            "without a key its rows cannot be told apart",
            f"dbbridge tables resync {plan.source.word}",
        )
    if not Keys(plan).ordered:
        return "its key is of a type that cannot be looked up on both sides", (
            f"dbbridge tables resync {plan.source.word}"
        )
    return "", ""


def cascades_deeply(name: TableName, tables: Iterable[SourceTable]) -> bool:
    """Whether cascades reach the table that a row newer than they are does not survive unharmed.

    `tables`: all that are followed.
    """
    return any(
        name in role.descendants
        and (role.harms_copy(deleted=True) or role.harms_copy(deleted=False))
        for role in parent_roles(tables).values()
    )


# -- carrying it out ---------------------------------------------------------------------------


@dataclass
class Repairer:
    """Repairs tables; `followed` are all definitions of the pipeline's tables."""

    pipeline: str
    sessions: Sessions
    source_id: str
    followed: Sequence[SourceTable]
    progress: Callable[[TableName, int], None] = field(default=lambda _, __: None)
    patience: Patience | None = None

    def repair(self, table: Followed) -> Repaired:
        """Mends what is known to differ; raises the drivers' errors."""
        done = Repaired(table.name)
        with ExitStack() as stack:
            work = _Work(self, table, stack)
            for keys in _pages(work.control, self.pipeline, table.name):
                if done.halted:
                    done.open += len(keys)
                else:
                    work.page(keys, done)
                self.progress(table.name, len(keys))
            work.again(done)
        return done


class _Trying(StoredPosition):
    """As if no row were in quarantine, so that those rows are tried again too.

    The stream may have put a row there only because a wrong one stood in its way.
    """

    def quarantined(self) -> list[Quarantined]:
        """None."""
        return []


class _Work:
    """The repair of one table, with its sessions."""

    def __init__(self, repairer: Repairer, table: Followed, stack: ExitStack) -> None:
        sessions, pipeline = repairer.sessions, repairer.pipeline
        self.control = stack.enter_context(closing(sessions.target()))
        self._names = _names(pipeline, table.name)
        self._plan = table.plan
        self._patience = repairer.patience
        self._batches = 0
        self._kept_out: list[Key] = []
        subject = Subject.of(table.plan, table.relation, "values")
        source = source_session(stack.enter_context(closing(sessions.source())))
        target = target_session(stack.enter_context(closing(sessions.target())))
        self._sides = Sides(SourceReader(source, subject), TargetReader(target, subject))
        self._stream = StoredPosition(self.control, pipeline, table.name, repairer.source_id)
        self._trying = _Trying(self.control, pipeline, table.name, repairer.source_id)
        self._rewriter = Rewriter(
            stack.enter_context(closing(sessions.target())),
            source_session(stack.enter_context(closing(sessions.source()))),
            pipeline,
            table,
            repairer.source_id,
            exact=cascades_deeply(table.name, repairer.followed),
        )
        # What a row must make room for is best in the same batch.
        most = ROWS_A_PAGE if self._rewriter.unique else ROWS_AT_ONCE
        self._most = rows_at_once(table.plan.table, most)

    def page(self, keys: Sequence[Key], done: Repaired) -> None:
        """Judges, writes, judges again; adds to `done`."""
        first = self._judge(keys, done, self._trying)
        done.healed += first.equal
        done.open += first.undecided
        self._mend(first.differing, done)

    def again(self, done: Repaired) -> None:
        """Tries once more what went to quarantine: what was in its way may have moved since."""
        kept_out, self._kept_out = self._kept_out, []
        if self._batches > 1:
            done.quarantined -= len(kept_out)
            left = self._mend(kept_out, done)
            done.open -= len(left)
            done.quarantined += len(left)

    def _mend(self, keys: Sequence[Key], done: Repaired) -> list[Key]:
        """Writes rows and judges them; those that could not be written come back, and are open."""
        written, left = list[Key](), list[Key]()
        for some in parts(keys, self._most):
            if not done.halted and self._write(some, done):
                written += some
            else:
                left += some
        if written:
            second = self._judge(written, done, self._stream)
            done.differing += len(second.differing)
            done.open += second.undecided
        done.open += len(left)
        return left

    def _write(self, keys: Sequence[Key], done: Repaired) -> bool:
        try:
            written = self._rewriter.write(keys)
        except NotNow as error:
            done.hold(error.message, error.hint)
            return False
        except (Refused, TableStopped) as error:
            done.hold(error.message, error.hint, refused=True)
            return False
        self._batches += 1
        self._kept_out += written.kept_out
        done.inserted += written.inserted
        done.replaced += written.replaced
        done.deleted += written.deleted
        done.quarantined += len(written.kept_out)
        return True

    def _judge(self, keys: Sequence[Key], done: Repaired, stream: StoredPosition) -> _Judged:
        """Judges the keys; the differences that are gone are forgotten."""
        (begun,) = self.control.execute("SELECT clock_timestamp()").fetchone() or (None,)
        found = Found(self._plan)
        found.tally.suspects = dict.fromkeys(keys)
        try:
            Judge(self._sides, stream, found, self._patience).finish()
        except Stuck:
            done.hold(found.reason, found.hint)
        differing = dict(found.take_fresh())
        gone = [key for key in keys if key not in differing and key not in found.in_flight]
        if gone:
            # A difference that was found after this began is somebody's later word.
            listed = json.dumps([list(key) for key in gone])
            names = {**self._names, "before": begun, "keys": listed}
            self.control.execute(Q["drop_gone"], names)
        if found.in_flight:
            done.hold(found.reason, found.hint, halted=False)
        equal = len(gone) - len(found.quarantined)
        return _Judged([key for key in keys if key in differing], len(found.in_flight), equal)


@dataclass(frozen=True)
class _Judged:
    """Keys that differ for sure, and how many are undecided or equal."""

    differing: list[Key]
    undecided: int
    equal: int


def _names(pipeline: str, table: TableName) -> dict[str, Any]:
    return {"pipeline": pipeline, "schema": table.schema, "table": table.table}


def rows_at_once(table: SourceTable, most: int) -> int:
    """Rows of a batch, by the server's estimate of how long they are."""
    fitting = BYTES_AT_ONCE * max(1, table.rows) // max(1, table.bytes)
    return max(LEAST_AT_ONCE, min(most, fitting))


def _known(
    conn: psycopg.Connection[Any], pipeline: str, table: TableName, *, extra: bool | None = None
) -> Iterator[tuple[Key, str, dict[str, Any], int]]:
    """The table's differences in the order of their keys, however many there are.

    `extra`: only rows that the source has not, or only the others.
    """
    after: list[str] | None = None
    names = {**_names(pipeline, table), "extra": extra}
    while True:
        page = {**names, "after": after, "most": ROWS_A_PAGE}
        rows = conn.execute(Q["repairable"], page).fetchall()
        for key, kind, document, run in rows:
            yield tuple(key), kind, document, run
        if len(rows) < ROWS_A_PAGE:
            return
        after = rows[-1][0]


def _pages(conn: psycopg.Connection[Any], pipeline: str, table: TableName) -> Iterator[list[Key]]:
    """The keys, extra rows first: what they hold may be what another row needs."""
    for extra in (True, False):
        known = (key for key, _, _, _ in _known(conn, pipeline, table, extra=extra))
        while page := list(islice(known, ROWS_A_PAGE)):
            yield page
