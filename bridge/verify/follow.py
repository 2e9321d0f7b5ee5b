"""Keeps proofs up: what the log says has changed is looked at again, by its key.

A proof holds at position X: every row was swept, and every key that changed after the sweep began
was judged again with both sides at or past X. One round reads the log from X to its present end Y,
judges the changed keys (with those that were open or known to differ), and moves the proof to Y.
Rounds may be cut off anywhere and done twice: the proof moves in the transaction that writes down
what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from threading import Event
from typing import Any

from bridge.capture.binlog.connection import BinlogConnection
from bridge.capture.binlog.positions import upper_bound
from bridge.change.position import Position
from bridge.names import TableName
from bridge.sink.cascade import fields
from bridge.sink.target import Target
from bridge.verify.applied import StoredPosition
from bridge.verify.changes import Touched, read_changes
from bridge.verify.found import Found
from bridge.verify.judge import Judge, MultisetJudge, Stuck
from bridge.verify.keys import Keys
from bridge.verify.ledger import Ledger, Proof
from bridge.verify.readers import (
    KEYS_A_QUERY,
    Sides,
    SourceReader,
    TargetReader,
    parts,
    source_session,
    target_session,
)
from bridge.verify.recheck import Key
from bridge.verify.subject import Subject
from bridge.verify.table import Sessions
from bridge.verify.tables import Followed

MOST_OPEN = 50_000
"""So many keys that cannot be judged, and the proof is given up."""


class Follower:
    """Moves the proofs of some tables; `source_id` names the source's server."""

    def __init__(
        self,
        ledger: Ledger,
        sessions: Sessions,
        open_log: Callable[[Position], BinlogConnection],
        source_id: str,
    ) -> None:
        self._ledger = ledger
        self._sessions = sessions
        self._open_log = open_log
        self._source_id = source_id

    def round(self, tables: Iterable[Followed], halt: Event) -> dict[TableName, Proof]:
        """Brings the proofs of `tables` to the log's present end; returns them as they are then.

        Those that cannot be kept up get an obstacle. Ends early when `halt` is set. Raises the
        drivers' errors and SourceError.
        """
        watched = {table.name: table for table in tables}
        proofs = self._current(watched)
        if proofs:
            with (
                closing(source_session(self._sessions.source())) as source,
                closing(target_session(self._sessions.target())) as target,
            ):
                self._move(watched, proofs, source, target, halt)
        return {name: p for name, p in self._ledger.proofs().items() if name in watched}

    def _current(self, watched: Mapping[TableName, Followed]) -> dict[TableName, Proof]:
        """The proofs that are about the tables as they are, and can be kept up."""
        return {
            name: proof
            for name, proof in self._ledger.proofs().items()
            if name in watched
            and not proof.obstacle
            and (proof.generation, proof.version)
            == (watched[name].state.generation, watched[name].plan.version)
        }

    def _move(
        self,
        watched: Mapping[TableName, Followed],
        proofs: dict[TableName, Proof],
        source: Any,
        target: Any,
        halt: Event,
    ) -> None:
        targets = [
            Target(watched[name].plan, watched[name].state.generation, watched[name].relation)
            for name in proofs
        ]
        start = oldest(proof.position for proof in proofs.values())
        pieces = read_changes(self._open_log, targets, start, upper_bound(source), halt)
        with closing(pieces):
            for changes in pieces:
                for name, proof in list(proofs.items()):
                    subject = Subject.of(watched[name].plan, watched[name].relation, proof.level)
                    sides = Sides(SourceReader(source, subject), TargetReader(target, subject))
                    touched = changes.tables.get(name, Touched())
                    moved = self._judge(proof, sides, touched, changes.position)
                    if moved is None:
                        del proofs[name]
                    else:
                        proofs[name] = moved
                if halt.is_set():
                    return

    def _judge(
        self, proof: Proof, sides: Sides, touched: Touched, position: Position
    ) -> Proof | None:
        """Judges what changed in one table; None if the proof cannot be kept up any longer."""
        plan = sides.source.subject.plan
        found = Found(plan, keyed=sides.source.subject.keys.ordered)
        known = [k for k, _ in self._ledger.differences(proof.table)] if proof.differences else []
        keys = dict.fromkeys([*proof.open, *known])
        obstacle = touched.lost
        if plan.key and touched.rows and not found.keyed:
            obstacle = "rows changed, and its key is of a type that cannot be looked up"
        if not obstacle:
            keys |= dict.fromkeys(self._changed(sides, touched))
        found.tally.suspects = dict.fromkeys(keys)
        if keys and not obstacle:
            self._settle(sides, proof.table, found)
        if len(found.in_flight) > MOST_OPEN:
            obstacle, found.in_flight = "too many rows cannot be judged", {}
        if not self._ledger.advance(proof, position, list(keys), found, obstacle) or obstacle:
            return None
        return self._ledger.proofs().get(proof.table)

    def _settle(self, sides: Sides, name: TableName, found: Found) -> None:
        stream = StoredPosition(self._ledger.conn, self._ledger.pipeline, name, self._source_id)
        judge = Judge if found.keyed else MultisetJudge
        with suppress(Stuck):
            judge(sides, stream, found, None).finish()

    def _changed(self, sides: Sides, touched: Touched) -> list[Key]:
        lines = [fields(line) for line in touched.rows]
        found = sides.target.keys_of(lines)
        for names, values in touched.references.items():
            found += referring(sides, names, list(values))
        return found


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
