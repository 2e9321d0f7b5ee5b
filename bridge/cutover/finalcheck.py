"""The final check: under the fence, what changed since both sides were proven equal is compared.

The proofs of a verification are kept up by the source's log, in rounds; the last one, while nobody
writes, brings them to the fence. So its length follows what changed since the round before, not the
size of the tables.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
import pymysql

from bridge.change.position import Position
from bridge.databases.ahead import Stock
from bridge.errors import BridgeError
from bridge.mapping.model import TableMapping
from bridge.names import TableName
from bridge.verify.certificate import Evidence, Refusal, refusals
from bridge.verify.conclude import evidence_of
from bridge.verify.recheck import Patience
from bridge.verify.records import Proof
from bridge.verify.run import Verifier
from bridge.verify.table import Sessions
from bridge.verify.tables import Followed, Unfit, prepare, states

ROUNDS = 5
"""Rounds before the fence at most; under load each finds what was written during the one before."""
SHORT_SECONDS = 0.5
"""A round of that length is short enough to be the last before the fence."""
GLANCE = Patience(settle=0.2)
"""While the target has authority and is written to: rows that change all the time are not found
equal then, since the source shows what the target had before. And right before the fence. Such rows
are looked at twice, and left to the round under the fence."""
AT_ONCE = Patience(settle=0.0)
TRIES = 2
"""Rounds that foretell how long one takes."""
SOURCES, TARGETS = 3, 2
"""Sessions that a round uses."""


class NotEqual(BridgeError):
    """The sides are not proven equal at the fence."""

    exit_code = 1

    def __init__(self, found: Iterable[Refusal]) -> None:
        self.refusals = tuple(found)
        first = self.refusals[0]
        more = f" (and {len(self.refusals) - 1} more)" if len(self.refusals) > 1 else ""
        super().__init__(f"final check: {first.table}: {first.reason}{more}", first.hint)


class Opened:
    """Sessions of which as many as a round uses can be opened beforehand; see `table.Sessions`.

    Under the fence writers would wait for them.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sources = Stock(sessions.source, lambda conn: conn.ping(reconnect=False), SOURCES)
        self._targets = Stock(sessions.target, lambda conn: conn.execute("SELECT 1"), TARGETS)

    def fill(self) -> None:
        """Opens them."""
        self._sources.fill()
        self._targets.fill()

    def source(self) -> pymysql.Connection[Any]:
        """On the source."""
        return self._sources.take()

    def target(self) -> psycopg.Connection[Any]:
        """On the target."""
        return self._targets.take()

    def close(self) -> None:
        """Ends those that nobody used."""
        self._sources.close()
        self._targets.close()


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks the `tables` of one group; `mappings` are the files of all.

    While the target has authority, the stream back writes to the source's log, which so tells what
    changed as well. `opened` is what the verifier opens sessions by.
    """

    verifier: Verifier
    mappings: Mapping[TableName, TableMapping]
    tables: tuple[TableName, ...]
    opened: Opened

    def approach(self, *, back: bool) -> None:
        """Rounds while writers write, until one was short; `back`: they write to the target."""
        patience = GLANCE if back else None
        for _ in range(ROUNDS):
            began = time.monotonic()
            self.round(patience)
            if time.monotonic() - began < SHORT_SECONDS:
                break

    def make_ready(self) -> None:
        """Leaves as little as may be to the round under the fence, which comes next.

        Waits for no row for long: the gates have been looked at, and are to hold then.
        """
        self.round(GLANCE)
        self.opened.fill()

    def foretell(self, *, back: bool) -> float:
        """Seconds that the round under the fence will take: one is tried that waits for no row.

        It uses sessions that are there, as the one under the fence will.

        Writers take their share of the machines meanwhile, and will not then, so that it is between
        what this process itself works and what it takes: the middle is never less than half of it.
        Of some tries the shortest counts. All is up to now afterwards, as after `approach`.
        """
        found = float("inf")
        for _ in range(TRIES):
            self.approach(back=back)
            self.opened.fill()
            began, worked = time.monotonic(), time.process_time()
            self.round(AT_ONCE)
            took, worked = time.monotonic() - began, time.process_time() - worked
            found = min(found, (took + worked) / 2)
        self.approach(back=back)
        return found

    def conclude(self, fence: Position, *, kept_out: bool) -> dict[str, int]:
        """The round under the fence; `fence` covers everything that was written before it.

        `kept_out`: rows in quarantine, which the target lacks, may stay there. Returns how many
        rows each table was proven by, and raises NotEqual.
        """
        excused = {"not-streaming", "quarantine"} if kept_out else {"not-streaming"}
        evidence, found = self._judged(fence, excused)
        for _ in range(ROUNDS):
            if {refusal.code for refusal in found} != {"unchecked"}:
                break
            # Another verification was at it as well, and moved the proofs less far.
            evidence, found = self._judged(fence, excused)
        if found:
            raise NotEqual(found)
        return {str(each.table): each.proof.rows for each in evidence if each.proof}

    def _judged(
        self, fence: Position, excused: Collection[str]
    ) -> tuple[list[Evidence], list[Refusal]]:
        known, proofs = self.round()
        evidence = [evidence_of(table, proofs.get(table.name)) for table in known]
        found = refusals(evidence, fence)
        return evidence, [refusal for refusal in found if refusal.code not in excused]

    def round(
        self, patience: Patience | None = None
    ) -> tuple[list[Followed | Unfit], dict[TableName, Proof]]:
        """Brings the proofs to the log's present end; all tables, and the proofs as they are."""
        sessions = self.verifier.sessions
        with closing(sessions.target()) as target:
            with closing(sessions.source()) as source:
                known = states(target, self.verifier.pipeline)
                tables = prepare(source, known, self.mappings, self.tables)
            fit = [table for table in tables if isinstance(table, Followed)]
            ledger = self.verifier.ledger(target)
            proofs = self.verifier.follow(
                ledger, fit, threading.Event(), switched=True, patience=patience
            )
        return tables, proofs
