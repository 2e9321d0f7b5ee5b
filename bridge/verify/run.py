"""A verification from its beginning to its end: sweeps, proofs kept up beside them, the verdict."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import pymysql

from bridge.errors import BridgeError
from bridge.names import TableName
from bridge.report.verification import Verification
from bridge.verify.applied import StoredPosition
from bridge.verify.follow import Follower, OpenLog
from bridge.verify.found import Found
from bridge.verify.gather import gathered
from bridge.verify.ledger import Ledger
from bridge.verify.pace import Throttle
from bridge.verify.probes import Limits
from bridge.verify.recheck import Patience
from bridge.verify.records import Part, Proof, Run
from bridge.verify.source import source_session
from bridge.verify.subject import Level, Subject
from bridge.verify.table import Sessions, Walking, common_position, streams
from bridge.verify.tables import Followed, Unfit, lost, states, with_states
from bridge.verify.work import cut, sweep_part

if TYPE_CHECKING:
    from bridge.change.position import Position

FOLLOW_SECONDS = 20.0
"""How often what changed is judged again beside the sweeps."""
LEAVE_SECONDS = 1.0
"""How long a round of that may take to end when the run does not come to its end."""
WAIT_SECONDS = 1.0

Progress = Callable[[TableName, int], None]


@dataclass(frozen=True)
class Verifier:
    """What a verification works with.

    `open_log` reads the source's log after a position; `source_id` names the source's server.
    `replicas`: what sweeps read instead of the databases themselves, `from_replica` if that is true
    of the source; `limits`: makes what they wait for.
    """

    pipeline: str
    sessions: Sessions
    open_log: OpenLog
    source_id: str
    replicas: Sessions | None = None
    from_replica: bool = False
    limits: Callable[[], Limits] | None = None

    @property
    def walk(self) -> Sessions:
        """What sweeps read."""
        return self.replicas or self.sessions

    @contextmanager
    def walking(self, run: Run, told: Callable[[str], None] = lambda _: None) -> Iterator[Walking]:
        """How sweeps of the run read. `told` hears why they wait, and '' when they go on."""
        if self.limits is None:
            yield Walking(self.walk)
            return
        limits = self.limits()

        def tell(reason: str) -> None:
            with suppress(psycopg.Error, BridgeError):
                limits.control.ask(lambda c: self.ledger(c).throttled(run, reason))
            told(reason)

        with (
            closing(limits),
            Throttle(limits.probes(), tell, limits.statement_seconds, limits.bounded) as pace,
        ):
            yield Walking(self.walk, pace)

    def ledger(self, conn: psycopg.Connection[Any]) -> Ledger:
        """Over a session of its own."""
        return Ledger(conn, self.pipeline)

    # -- beginning ---------------------------------------------------------------------------

    def begin(
        self,
        ledger: Ledger,
        tables: Iterable[Followed | Unfit],
        level: Level,
        *,
        certify: bool,
        part_rows: int | None = None,
        scheduled: bool = False,
    ) -> Run:
        """Plans the parts of a new run. Tables that do not stream get no proof.

        One that cannot be verified gets a part which nobody sweeps: it is missed in the end.
        `part_rows`: workers do it, and large tables are cut in parts of about so many rows.
        """
        walk = self.walk
        with (
            closing(source_session(walk.source())) as source,
            closing(walk.target()) if self.replicas else nullcontext(ledger.conn) as target,
        ):
            held = [(table, self._held(source, target, level, table)) for table in tables]
        planned = [(*each, self._parts(each[0], part_rows)) for each in held]
        via = "local" if part_rows is None else "celery"
        # Together, since a run with some of its parts would be about fewer tables than was meant.
        with ledger.conn.transaction():
            run = ledger.begin(level, via, certify=certify, scheduled=scheduled)
            for table, position, parts in planned:
                if isinstance(table, Followed) and position is not None:
                    self._begin_proof(ledger, run, table, position)
                ledger.add_parts(run, parts)
        return run

    def _parts(self, table: Followed | Unfit, rows: int | None) -> list[Part]:
        if isinstance(table, Unfit):
            return [Part(table.name, 0, "", None, None)]
        return cut(table, self.sessions, rows)

    def _held(
        self,
        source: pymysql.Connection[Any],
        target: psycopg.Connection[Any],
        level: Level,
        table: Followed | Unfit,
    ) -> Position | None:
        """What both sides that are read hold now; None for a table that does not stream."""
        if isinstance(table, Unfit):
            return None
        subject = Subject.of(table.plan, table.relation, level)
        stream = StoredPosition(target, self.pipeline, table.name, self.source_id)
        if not streams(stream, Found(table.plan)):
            return None
        return common_position(source, subject, stream, replica=self.from_replica)

    def _begin_proof(self, ledger: Ledger, run: Run, table: Followed, position: Position) -> None:
        plan, generation = table.plan, table.state.generation
        fingerprint = plan.table.fingerprint
        ledger.begin_proof(run, table.name, generation, plan.version, fingerprint, position)

    # -- in this process ---------------------------------------------------------------------

    def sweep(
        self,
        ledger: Ledger,
        run: Run,
        tables: Mapping[TableName, Followed],
        wanted: Callable[[], bool],
        progress: Progress,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Sweeps all parts that are left, while another thread keeps the proofs up."""
        with Beside(self, list(tables.values())), self.walking(run, told) as walking:
            while left := [p for p in ledger.parts(run) if not p.done and p.table in tables]:
                done = [
                    self.sweep_part(
                        ledger, run, part, tables[part.table], wanted, progress, walking
                    )
                    for part in left
                ]
                if not any(done):
                    time.sleep(WAIT_SECONDS)  # for those that others hold, or who died with them

    def sweep_part(
        self,
        ledger: Ledger,
        run: Run,
        part: Part,
        table: Followed,
        wanted: Callable[[], bool] = lambda: True,
        progress: Progress = lambda _, __: None,
        walking: Walking | None = None,
    ) -> bool:
        """One part, read as `walking` says (as the settings say); see `work.sweep_part`."""
        if walking is None:
            with self.walking(run) as walking:
                return self.sweep_part(ledger, run, part, table, wanted, progress, walking)
        worker = f"{platform.node()}:{os.getpid()}"
        return sweep_part(
            ledger,
            run,
            part,
            table,
            self.sessions,
            self.source_id,
            worker,
            walking=walking,
            wanted=wanted,
            progress=lambda rows: progress(part.table, rows),
        )

    # -- the end -----------------------------------------------------------------------------

    def follow(
        self,
        ledger: Ledger,
        tables: Iterable[Followed],
        halt: threading.Event,
        *,
        switched: bool = False,
        patience: Patience | None = None,
    ) -> dict[TableName, Proof]:
        """One round of what changed; see `follow.Follower`."""
        follower = Follower(
            ledger,
            self.sessions,
            self.open_log,
            self.source_id,
            switched=switched,
            patience=patience,
        )
        return follower.round(tables, halt)

    def finish(
        self,
        ledger: Ledger,
        run: Run,
        carried: Callable[[], Mapping[TableName, Followed | Unfit]],
        names: Iterable[TableName] | None = None,
    ) -> Verification:
        """The verdict on the tables of these `names` (None: on all) once their parts are done.

        Also the certificates if they were asked for. `carried` reads all tables as they are: since
        the run began they may have been altered, paused or copied again. While parts of other
        tables are left the run goes on.
        """
        now = carried()
        chosen = dict.fromkeys(now if names is None else names)
        fit = [t for t in now.values() if isinstance(t, Followed) and t.name in chosen]
        for table in fit:
            self._swept(ledger, run, table)
        self.follow(ledger, fit, threading.Event())
        from bridge.verify.conclude import conclude

        # What went to quarantine meanwhile was judged as such, and is neither open nor different.
        now = with_states(now, states(ledger.conn, self.pipeline))
        result = conclude(ledger, run, [now.get(name) or lost(name) for name in chosen], now)
        if all(part.done or part.table in chosen for part in ledger.standing(run)):
            ledger.finish(run, result.verdict)
        return result

    def _swept(self, ledger: Ledger, run: Run, table: Followed) -> None:
        found = gathered(ledger, run, table)
        equivalences = [
            f"{each.column or 'rows'}: {each.reason}"
            + (f" ({each.rows} rows)" if each.rows is not None else "")
            for each in found.equivalences()
        ]
        ledger.swept(run, table.name, found, equivalences, found.obstacle)


@dataclass
class Beside:
    """Keeps proofs up in a thread of its own, while the sweeps go on."""

    verifier: Verifier
    tables: Sequence[Followed]
    _halt: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Beside:
        self._thread = threading.Thread(target=self._run, name="follow", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._halt.set()
        assert self._thread is not None
        # Whoever is interrupted does not wait for a table that somebody has locked.
        self._thread.join(LEAVE_SECONDS if kind else None)

    def _run(self) -> None:
        while not self._halt.wait(FOLLOW_SECONDS):
            # What goes wrong here goes wrong in the last round as well, and is told there.
            with (
                suppress(BridgeError, psycopg.Error, pymysql.Error, OSError),
                closing(self.verifier.sessions.target()) as conn,
            ):
                self.verifier.follow(self.verifier.ledger(conn), self.tables, self._halt)
