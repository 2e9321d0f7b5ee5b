"""What verification writes down: parts of sweeps, proofs, differences. All in the control schema.

A part belongs to whoever claimed it last; one who was superseded (frozen, cut off) finds out when
he saves, and what he would have saved does not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from psycopg.types.json import Jsonb

from bridge.change.position import Position
from bridge.names import TableName
from bridge.report.verification import Difference, Verdict
from bridge.store.sql import queries
from bridge.store.state import Connection, add_event
from bridge.verify.found import Found
from bridge.verify.recheck import Key
from bridge.verify.records import Part, PartState, Proof, Run, Superseded, part_of, proof_of
from bridge.verify.subject import Level

Q = queries("bridge.verify", "queries.sql")
STALE_SECONDS = 30.0
"""A worker that has saved nothing for so long has lost its part."""
MOST_DIFFERENCES = 10_000
"""So many known differences of a table are judged again with each round of changes."""


class Ledger:
    """Reads and writes; `conn` is in autocommit mode and serves one thread."""

    def __init__(self, conn: Connection, pipeline: str) -> None:
        self.conn = conn
        self.pipeline = pipeline

    # -- runs and parts ----------------------------------------------------------------------

    def begin(self, level: Level, via: str, *, certify: bool, scheduled: bool = False) -> Run:
        """A new run; what is known of runs a month old goes."""
        names = {"pipeline": self.pipeline, "level": level, "certify": certify, "via": via}
        (number,) = self._one("begin_verification", {**names, "scheduled": scheduled})
        self._do("forget_verifications", {"pipeline": self.pipeline, "id": number})
        return Run(number, level, certify, via, scheduled)

    def interrupted(self) -> Run | None:
        """The newest run that has no end."""
        row = self.conn.execute(Q["last_verification"], {"pipeline": self.pipeline}).fetchone()
        return None if row is None else Run(*row)

    def unfinished(self, number: int) -> Run | None:
        """The run of that number; None if it has its end, or is forgotten."""
        names = {"pipeline": self.pipeline, "id": number}
        row = self.conn.execute(Q["unfinished_verification"], names).fetchone()
        return None if row is None else Run(*row)

    def newest(self) -> tuple[Run | None, float]:
        """The newest run if it has no end, and for how many seconds nothing came of it."""
        row = self.conn.execute(Q["newest_verification"], {"pipeline": self.pipeline}).fetchone()
        if row is None or not row[1]:
            return None, 0.0
        return self.unfinished(row[0]), row[2]

    def last_scheduled(self) -> float | None:
        """When workers last began a run by themselves, in seconds since 1970."""
        row = self.conn.execute(Q["last_scheduled"], {"pipeline": self.pipeline}).fetchone()
        return None if row is None else float(row[0])

    @contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        """Whether nobody else does `what` for this pipeline; nobody will, until the end."""
        names = {"name": f"dbbridge {what} {self.pipeline}"}
        (taken,) = self._one("lock_alone", names)
        try:
            yield taken
        finally:
            if taken:
                self._do("unlock_alone", names)

    def finish(self, run: Run, verdict: Verdict) -> None:
        """The run has its end."""
        self._do("finish_verification", {"id": run.id, "verdict": verdict})

    def throttled(self, run: Run, reason: str) -> None:
        """Why the run's sweeps wait ('': they go on)."""
        names = {"pipeline": self.pipeline, "id": run.id, "reason": reason}
        self._do("throttle_verification", names)
        if reason:
            add_event(self.conn, self.pipeline, "throttled", "verify", reason)

    def add_parts(self, run: Run, parts: Iterable[Part]) -> None:
        """Plans what is to be swept."""
        with self.conn.transaction():
            for part in parts:
                facts = {"version": part.version, "lower": _bound(part.lower)}
                self._do("add_part", {**_named(run, part), **facts, "upper": _bound(part.upper)})

    def parts(self, run: Run) -> list[Part]:
        """All of them, by table and number."""
        names = {"id": run.id, "schema": None, "table": None, "number": None}
        return [part_of(row) for row in self.conn.execute(Q["parts"], names)]

    def part(self, run: Run, table: TableName, number: int) -> Part | None:
        """One of them; None if the run has none such."""
        found = self.conn.execute(Q["parts"], {"id": run.id, **_place(table, number)}).fetchone()
        return None if found is None else part_of(found)

    def standing(self, run: Run) -> list[PartState]:
        """How far all parts are, without what they found."""
        names = {"id": run.id, "stale": STALE_SECONDS}
        rows = self.conn.execute(Q["standing_parts"], names)
        return [PartState(TableName(schema, table), *rest) for schema, table, *rest in rows]

    def claim(self, run: Run, part: Part, worker: str) -> int | None:
        """The number under which `worker` may save; None if another one works or it is done.

        A worker whose session is gone, or who was silent for `STALE_SECONDS`, works no more.
        """
        names = {**_named(run, part), "worker": worker, "stale": STALE_SECONDS}
        row = self.conn.execute(Q["claim_part"], names).fetchone()
        return None if row is None else int(row[0])

    def save(
        self,
        run: Run,
        part: Part,
        claim: int,
        reached: Key | None,
        found: Found,
        seconds: float,
        *,
        done: bool,
    ) -> None:
        """What is known of the part so far, new differences included. Raises Superseded."""
        state = {
            "reached": _bound(reached),
            "rows": found.tally.rows,
            "total": found.tally.total,
            "suspects": Jsonb([list(key) for key in found.tally.suspects]),
            "found": Jsonb(found.state()),
            "seconds": seconds,
            "done": done,
        }
        with self.conn.transaction():
            saved = self.conn.execute(
                Q["save_part"], {**_named(run, part), "claim": claim, **state}
            )
            if saved.rowcount != 1:
                raise Superseded(
                    f"part {part.number} of {part.table} is in another worker's hands",
                    "nothing is lost; the other one goes on",
                )
            self._add(part.table, found.take_fresh(), run.id, part.number)

    def beat(self, run: Run, part: Part, claim: int) -> bool:
        """Says that the worker still works; False if the part is not his any more."""
        done = self.conn.execute(Q["beat_part"], {**_named(run, part), "claim": claim})
        return done.rowcount == 1

    def fail(self, run: int, table: TableName, number: int, error: str) -> None:
        """Says why an attempt at a part came to nothing."""
        self._do("fail_part", {"id": run, **_place(table, number), "error": error})

    def forgive(self, run: Run) -> None:
        """Forgets how often parts failed: what was in the way is mended."""
        self._do("forgive_parts", {"id": run.id})

    def release(self, run: Run, part: Part, claim: int) -> None:
        """Lets others have an unfinished part at once; it was no attempt that came to nothing."""
        self._do("release_part", {**_named(run, part), "claim": claim})

    # -- proofs ------------------------------------------------------------------------------

    def begin_proof(
        self,
        run: Run,
        table: TableName,
        generation: int,
        version: str,
        fingerprint: str,
        position: Position,
    ) -> None:
        """Nothing is proven yet; what changes after `position` will have to be looked at again."""
        facts = {"level": run.level, "generation": generation, "version": version}
        names = {**self._table(table), "id": run.id, "fingerprint": fingerprint, **facts}
        self._do("begin_proof", {**names, **_position(position)})

    def swept(
        self,
        run: Run,
        table: TableName,
        found: Found,
        equivalences: Sequence[str],
        obstacle: str,
    ) -> None:
        """The run's sweep of the table has ended; `obstacle`: why that proves nothing.

        Where every row was looked at once, what older runs have found is forgotten.
        """
        names = {**self._table(table), "id": run.id}
        facts = {
            "rows": found.tally.rows,
            "total": found.tally.total,
            "open": _keys(found.in_flight),
            "equivalences": Jsonb(list(equivalences)),
            "obstacle": obstacle,
        }
        with self.conn.transaction():
            swept = self.conn.execute(Q["swept_proof"], {**names, **facts})
            if swept.rowcount == 1 and not found.partial:
                self._do("drop_older_differences", names)

    def proofs(self) -> dict[TableName, Proof]:
        """Of all tables."""
        rows = self.conn.execute(Q["proofs"], {"pipeline": self.pipeline})
        return {proof.table: proof for proof in map(proof_of, rows)}

    def changes(self) -> dict[TableName, int]:
        """How many changes of each table have been applied."""
        rows = self.conn.execute(Q["changes"], {"pipeline": self.pipeline})
        return {TableName(schema, table): count for schema, table, count in rows}

    def advance(
        self,
        proof: Proof,
        position: Position,
        judged: Sequence[Key],
        found: Found,
        obstacle: str,
        *,
        changes: int,
        seconds: float,
        log_server: str = "",
    ) -> bool:
        """Keys that changed up to `position` were judged again; False if another one was faster.

        `changes` of the table had been applied before; the judging took `seconds`. `log_server`:
        see `Proof`.
        """
        with self.conn.transaction():
            names = {
                **self._table(proof.table),
                "id": proof.verification,
                "before": proof.position.text,
                "swept": proof.swept,
                "open_before": _keys(proof.open),
                "rechecked": len(judged),
                "open": _keys(found.in_flight),
                "obstacle": obstacle,
                "changes": changes,
                "seconds": seconds,
                "log_server": log_server,
            }
            done = self.conn.execute(Q["advance_proof"], {**names, **_position(position)})
            if done.rowcount != 1:
                return False
            if judged:
                keys = json.dumps([list(key) for key in judged])
                names = {**self._table(proof.table), "keys": keys, "seconds": seconds}
                self._do("drop_differences", names)
            self._add(proof.table, found.take_fresh(), proof.verification, None)
        return True

    # -- differences -------------------------------------------------------------------------

    def differences(self, table: TableName) -> list[tuple[Key, Difference]]:
        """Those of the table that are known, by key; at most `MOST_DIFFERENCES`."""
        names = {**self._table(table), "most": MOST_DIFFERENCES}
        return [
            (tuple(key), Difference.parse(document))
            for key, _, document in self.conn.execute(Q["differences"], names)
        ]

    def all_differences(self, table: TableName) -> Iterator[tuple[Key, Difference]]:
        """All of them, however many."""
        names = {**self._table(table), "most": None}
        with self.conn.transaction(), self.conn.cursor("differences") as cursor:
            for key, _, document in cursor.execute(Q["differences"], names):
                yield tuple(key), Difference.parse(document)

    def differences_of(self, run: Run, part: Part, most: int) -> list[Difference]:
        """The first of those that the part has found, at most so many."""
        names = {**self._table(part.table), "id": run.id, "part": part.number, "most": most}
        rows = self.conn.execute(Q["differences_of_part"], names)
        return [Difference.parse(document) for _, _, document in rows]

    def _add(
        self,
        table: TableName,
        fresh: Iterable[tuple[Key, Difference]],
        verification: int,
        part: int | None,
    ) -> None:
        names = {**self._table(table), "id": verification, "part": part}
        rows = [
            {**names, "key": list(key), "kind": d.kind, "document": Jsonb(d.document())}
            for key, d in fresh
        ]
        if rows:
            with self.conn.cursor() as cursor:
                cursor.executemany(Q["add_difference"], rows)

    # -- certificates ------------------------------------------------------------------------

    def add_certificate(self, group: str, position: str, document: dict[str, Any]) -> int:
        """Keeps it for good; its number."""
        names = {"pipeline": self.pipeline, "group": group, "position": position}
        (number,) = self._one("add_certificate", {**names, "document": Jsonb(document)})
        return int(number)

    def certificates(self) -> dict[str, dict[str, Any]]:
        """The newest one of each group."""
        rows = self.conn.execute(Q["newest_certificates"], {"pipeline": self.pipeline})
        return {
            group: {"id": number, "issued_at": issued, "position": position, **document}
            for group, number, issued, position, document in rows
        }

    # ----------------------------------------------------------------------------------------

    def _table(self, table: TableName) -> dict[str, Any]:
        return {"pipeline": self.pipeline, "schema": table.schema, "table": table.table}

    def _do(self, name: str, values: dict[str, Any]) -> None:
        self.conn.execute(Q[name], values)

    def _one(self, name: str, values: dict[str, Any]) -> tuple[Any, ...]:
        row = self.conn.execute(Q[name], values).fetchone()
        assert row is not None
        return cast("tuple[Any, ...]", row)


def _named(run: Run, part: Part) -> dict[str, Any]:
    return {"id": run.id, **_place(part.table, part.number)}


def _place(table: TableName, number: int) -> dict[str, Any]:
    return {"schema": table.schema, "table": table.table, "number": number}


def _bound(key: Key | None) -> list[str] | None:
    return None if key is None else list(key)


def _keys(keys: Iterable[Key]) -> Jsonb:
    return Jsonb([list(key) for key in keys])


def _position(position: Position) -> dict[str, Any]:
    return {
        "kind": position.kind,
        "text": position.text,
        "file": position.file,
        "offset": position.offset,
    }
