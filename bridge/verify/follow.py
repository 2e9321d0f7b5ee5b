"""Keeps proofs up: what the log says has changed is looked at again, by its key.

A proof holds at position X: every row was swept, and every key that changed after the sweep began
was judged again with both sides at or past X. One round reads the log from X to its present end Y,
judges the changed keys (with those that were open or known to differ), and moves the proof to Y.
Rounds may be cut off anywhere and done twice: the proof moves in the transaction that writes down
what was found.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from functools import cached_property
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol

from bridge.capture.binlog.positions import upper_bound
from bridge.change.position import Position
from bridge.names import TableName
from bridge.sink.target import Target
from bridge.verify.applied import StoredPosition
from bridge.verify.changes import Changes, Dump, Touched, read_changes
from bridge.verify.found import Found
from bridge.verify.judge import Judge, MultisetJudge, Stuck
from bridge.verify.keys import Keys
from bridge.verify.ledger import Ledger
from bridge.verify.readers import Sides
from bridge.verify.recheck import Key, Patience
from bridge.verify.records import Proof
from bridge.verify.source import SourceReader, source_session
from bridge.verify.subject import Subject
from bridge.verify.table import Sessions
from bridge.verify.tables import Followed
from bridge.verify.target import TargetReader, target_session
from bridge.verify.values import KEYS_A_QUERY, parts

if TYPE_CHECKING:
    import psycopg

MOST_OPEN = 50_000
"""So many keys that cannot be judged, and the proof is given up."""


class OpenLog(Protocol):
    """Reads the source's log after a position."""

    def __call__(self, start: Position, server: str = "") -> Dump:
        """By GTID, if there are any; or where `server` is the one that is asked, by coordinates.

        Those have to be where that server's log was read to: no event before them may be needed. By
        a GTID the server reads the file from its beginning, which is most of a round's time.
        """
        ...


class Follower:
    """Moves the proofs of some tables; `source_id` names the source's server.

    Tables of which the target has authority are left alone, but with `switched`: then what differs
    is on its way perhaps, so the last round is one while nobody writes. `patience`: with rows that
    change while they are judged; those that are not judged by then stay open.
    """

    def __init__(
        self,
        ledger: Ledger,
        sessions: Sessions,
        open_log: OpenLog,
        source_id: str,
        *,
        switched: bool = False,
        patience: Patience | None = None,
    ) -> None:
        self._ledger = ledger
        self._sessions = sessions
        self._open_log = open_log
        self._source_id = source_id
        self._switched = switched
        self._patience = patience

    def round(self, tables: Iterable[Followed], halt: Event) -> dict[TableName, Proof]:
        """Brings the proofs of `tables` to the log's present end; returns them as they are then.

        Those that cannot be kept up get an obstacle. Ends early when `halt` is set. Raises the
        drivers' errors and SourceError.
        """
        watched = {table.name: table for table in tables}
        proofs = self._current(watched)
        if proofs:
            with closing(_Opened(self._sessions)) as opened:
                self._move(watched, proofs, opened, halt)
        return {name: p for name, p in self._ledger.proofs().items() if name in watched}

    def _current(self, watched: Mapping[TableName, Followed]) -> dict[TableName, Proof]:
        """The proofs that are about the tables as they are, and can be kept up."""
        return {
            name: proof
            for name, proof in self._ledger.proofs().items()
            if name in watched
            and (self._switched or watched[name].state.stage != "switched")
            and not proof.obstacle
            and (proof.generation, proof.version)
            == (watched[name].state.generation, watched[name].plan.version)
        }

    def _move(
        self,
        watched: Mapping[TableName, Followed],
        proofs: dict[TableName, Proof],
        opened: _Opened,
        halt: Event,
    ) -> None:
        targets = [
            Target(watched[name].plan, watched[name].state.generation, watched[name].relation)
            for name in proofs
        ]
        start = oldest(proof.position for proof in proofs.values())
        servers = {each.log_server for each in proofs.values() if each.position == start}
        server = servers.pop() if len(servers) == 1 else ""
        applied = self._ledger.changes()
        until = upper_bound(opened.source)
        pieces = read_changes(self._open_log, targets, start, server, until, halt)
        with closing(pieces):
            for changes in pieces:
                for name, proof in list(proofs.items()):
                    subject = Subject.of(watched[name].plan, watched[name].relation, proof.level)
                    moved = self._judge(proof, subject, opened, changes, applied.get(name, 0))
                    if moved is None:
                        del proofs[name]
                    else:
                        proofs[name] = moved
                if halt.is_set():
                    return

    def _judge(
        self,
        proof: Proof,
        subject: Subject,
        opened: _Opened,
        changes: Changes,
        applied: int,
    ) -> Proof | None:
        """Judges what changed in one table; None if the proof cannot be kept up any longer.

        `applied`: how many of its changes were applied when the round began.
        """
        began = time.monotonic()
        touched = changes.tables.get(proof.table, Touched())
        found = Found(subject.plan, keyed=subject.keys.ordered)
        obstacle = touched.lost
        if subject.plan.key and touched.rows and not found.keyed:
            obstacle = "rows changed, and its key is of a type that cannot be looked up"
        judged: list[Key] = []
        if obstacle:
            found.in_flight = dict.fromkeys(proof.open)
        else:
            judged = self._settled(proof, subject, opened, touched, found)
        if len(found.in_flight) > MOST_OPEN:
            obstacle = f"{len(found.in_flight)} rows could not be judged"
            judged = [key for key in judged if key not in found.in_flight]
            found.in_flight = {}
        moved = self._ledger.advance(
            proof,
            changes.position,
            judged,
            found,
            obstacle,
            changes=applied,
            seconds=time.monotonic() - began,
            log_server=changes.server,
        )
        if not moved or obstacle:
            return None
        after = self._ledger.proofs().get(proof.table)
        # A run that has begun since wants to know what changed before this position as well.
        if after is None or after.verification != proof.verification:
            return None
        return after if after.position.text == changes.position.text else None

    def _settled(
        self,
        proof: Proof,
        subject: Subject,
        opened: _Opened,
        touched: Touched,
        found: Found,
    ) -> list[Key]:
        """Judges what changed, what was open and what is known to differ; the keys."""
        known = [k for k, _ in self._ledger.differences(proof.table)] if proof.differences else []
        keys = dict.fromkeys([*proof.open, *known])
        if touched.rows or touched.references:
            keys |= dict.fromkeys(self._changed(opened.sides(subject), touched))
        found.tally.suspects = dict.fromkeys(keys)
        if keys:
            self._settle(opened.sides(subject), proof.table, found)
        return list(keys)

    def _settle(self, sides: Sides, name: TableName, found: Found) -> None:
        stream = StoredPosition(
            self._ledger.conn, self._ledger.pipeline, name, self._source_id, switched=self._switched
        )
        judge = Judge if found.keyed else MultisetJudge
        with suppress(Stuck):
            judge(sides, stream, found, self._patience).finish()

    def _changed(self, sides: Sides, touched: Touched) -> list[Key]:
        from bridge.sink.cascade import fields  # by now what reads the log has imported it

        lines = [fields(line) for line in touched.rows]
        found = sides.target.keys_of(lines)
        for names, values in touched.references.items():
            found += referring(sides, names, list(values))
        return found


class _Opened:
    """Sessions of a round; the target's is opened when something has to be judged."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._closing = ExitStack()
        self.source = self._closing.enter_context(closing(source_session(sessions.source())))

    @cached_property
    def target(self) -> psycopg.Connection[Any]:
        """The target's."""
        return self._closing.enter_context(closing(target_session(self._sessions.target())))

    def sides(self, subject: Subject) -> Sides:
        """Both, for one table."""
        return Sides(SourceReader(self.source, subject), TargetReader(self.target, subject))

    def close(self) -> None:
        """Ends them."""
        self._closing.close()


def referring(
    sides: Sides, names: Sequence[str], values: Sequence[tuple[str | None, ...]]
) -> list[Key]:
    """The rows, on either side, whose foreign key over `names` has one of the values."""
    subject = sides.source.subject
    own = {column.source.name: column for column in subject.plan.columns}
    reference = Keys(subject.plan, tuple(own[name] for name in names))
    found: list[Key] = []
    for some in parts(sides.target.texts_of(reference, values), KEYS_A_QUERY):
        condition = reference.source_condition(some)
        if condition:
            found += sides.source.keys_where(condition)
        found += sides.target.keys_where(
            reference.target_condition(), reference.target_arrays(some)
        )
    return found


def oldest(positions: Iterable[Position]) -> Position:
    """The one that all others cover, or else the one whose coordinates come first."""
    known = list(positions)
    for candidate in known:
        if all(other.covers(candidate) for other in known):
            return candidate
    return min(known, key=lambda position: position.coordinates)
