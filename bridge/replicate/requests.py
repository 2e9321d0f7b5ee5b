"""What operators ask of the running daemon, and its answers; both stand in the control schema."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import pymysql
import structlog
from pymysql.constants import ER

from bridge.capture.snapshot import read_row
from bridge.change.batch import BadRow, Batch, Image, Segment, TableOps
from bridge.databases.mysql import limit_locks
from bridge.errors import BridgeError, Inconclusive, LeaseLost
from bridge.names import TableName
from bridge.replicate.servers import Servers, meaning
from bridge.replicate.stage import Stages
from bridge.sink.apply import Applier
from bridge.sink.quarantine import Quarantine
from bridge.sink.swap import InUse
from bridge.sink.target import Target
from bridge.store.checkpoint import Checkpoint
from bridge.store.lease import Lease
from bridge.store.partitions import fence_table
from bridge.store.state import Connection, Q, TableState

log = structlog.get_logger("dbbridge.requests")

LOOK_SECONDS = 0.5
LOCK_SECONDS = 2.0
"""How long a row that is tried again is waited for, while its table or all of them stand still."""
ANSWER_SECONDS = 30.0
"""How long the command line waits for the daemon's answer."""


def leave(conn: Connection, pipeline: str, verb: str, table: TableName, argument: str = "") -> int:
    """Leaves a request for the daemon, or for the next one; gives its number."""
    names = {
        "pipeline": pipeline,
        "verb": verb,
        "schema": table.schema,
        "table": table.table,
        "argument": argument,
    }
    row = conn.execute(Q["add_request"], names).fetchone()
    assert row is not None
    return int(row[0])


def ask(conn: Connection, pipeline: str, verb: str, table: TableName, argument: str = "") -> str:
    """Leaves a request and waits for the answer; raises Inconclusive if none comes."""
    number = leave(conn, pipeline, verb, table, argument)
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        done = conn.execute(Q["request_result"], {"id": number}).fetchone()
        if done and done[0]:
            return str(done[1])
        time.sleep(0.05)
    raise Inconclusive(
        f"the daemon has not answered within {ANSWER_SECONDS:.0f} s; the request stays and is"
        " carried out when it can be",
        "is it running? dbbridge status",
    )


class Requests:
    """The daemon's side: looks for requests and carries them out between two streams."""

    def __init__(
        self,
        conn: Connection,
        servers: Servers,
        lease: Lease,
        stages: Stages,
    ) -> None:
        self._conn = conn
        self._servers = servers
        self._lease = lease
        self._stages = stages
        self._looked = 0.0

    def waiting(self) -> bool:
        """Whether anything is asked for; looks every half second."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        if self._open():
            self._looked = 0.0
            return True
        return False

    def to_copy(self) -> frozenset[TableName]:
        """The tables that shall be copied again."""
        return frozenset(
            TableName(schema, table)
            for _, verb, schema, table, _ in self._open()
            if verb == "resync"
        )

    def serve(self) -> None:
        """Carries out what is asked for; no copy and no stream of the log runs meanwhile.

        A server's refusal is the answer. Raises what is transient, and LeaseLost: those requests
        stay for the next one.
        """
        for number, verb, schema, table, argument in self._open():
            try:
                result = self._carry_out(verb, TableName(schema, table), argument)
            except Exception as error:  # noqa: BLE001 (raised again unless it is an answer)
                result = _refusal(error)
            self._conn.execute(Q["answer_request"], {"id": number, "result": result})
            tell = log.warning if result.startswith("refused: ") else log.info
            tell("request", verb=verb, table=f"{schema}.{table}", answer=result)

    def _open(self) -> list[Any]:
        return self._conn.execute(Q["open_requests"], {"pipeline": self._lease.pipeline}).fetchall()

    def _carry_out(self, verb: str, name: TableName, argument: str) -> str:
        states = [t for t in self._stages.tables() if t.source == name]
        if not states:
            return f"refused: {name} is not followed"
        members = self._stages.family(name)
        if any(t.stage == "switched" and t.source in members for t in self._stages.tables()):
            return (
                f"refused: the target has authority over {name}, whose rows must not be taken from"
                " the source; dbbridge cutover reverse gives it back"
            )
        family = sorted(map(str, members))
        if verb == "retry":
            return self._retry(states[0], int(argument))
        acts = {
            "pause": self._stages.pause,
            "resume": self._stages.resume,
            "resync": self._stages.resync,
        }
        with self._conn.transaction():  # what is refused in the middle has changed nothing
            acts[verb](name)
        together = f" (with its family: {', '.join(family)})" if len(family) > 1 else ""
        return f"{verb}: {name}{together}"

    def _retry(self, state: TableState, entry: int) -> str:
        """Reads the quarantined row again and applies it.

        The row may be newer than the stream's position; the stream's older images of it, and then
        the one just read, pass over it again.
        """
        if state.stage != "streaming" or not state.active:
            return f"refused: {state.source} is {state.state}; only a streaming table can retry"
        row = self._conn.execute(
            Q["quarantine_list"], {"pipeline": self._lease.pipeline, "id": entry}
        ).fetchone()
        if row is None:
            return f"refused: there is no entry {entry} any more"
        target = self._stages.targets([state])[0]
        # Not of a replica: it may not have what the stream has applied.
        with closing(self._servers.source()) as source, closing(self._servers.target()) as conn:
            fresh = _FreshRow(self._lease, source, target, bytes(row[3]))
            applier = Applier(conn, [target], fresh, Quarantine(self._lease.pipeline))
            position = state.frontier or self._stages.position()
            try:
                applier.apply(Batch([Segment(tables={state.source: fresh.ops})], position))
            except Exception as error:
                raise meaning(error) from error
        if fresh.held:
            return f"refused: a session in the source holds the row of entry {entry}; try again"
        image = fresh.image
        if isinstance(image, BadRow):
            answer = f"entry {entry} stays: {image.code} in {image.column} ({image.text})"
            if self._stages.edited(state):
                return (
                    f"{answer}; dbbridge tables resync {state.source.word} takes the edited mapping"
                )
            return answer
        about = {"pipeline": self._lease.pipeline, **state.key, "key": bytes(row[3])}
        left = self._conn.execute(Q["quarantine_of"], about).fetchone()
        if left is not None:  # what PostgreSQL refuses again is an entry anew
            now = "" if left[0] == entry else f"; it is entry {left[0]} now"
            return f"entry {entry} stays: {left[1]}{now}"
        return f"entry {entry}: the row " + ("is applied" if image else "is gone from the source")


def _refusal(error: Exception) -> str:
    """What is answered where an error is one; else raises it."""
    known = meaning(error)
    waits = isinstance(known, BridgeError) and known.transient and not isinstance(known, InUse)
    if not isinstance(known, BridgeError) or waits or isinstance(known, LeaseLost):
        raise known from error
    return f"refused: {'; '.join(filter(None, (known.message, known.hint)))}"


class _FreshRow(Checkpoint):
    """Puts a row into the batch as the source has it once nobody else can write its table.

    By Kafka consumers apply all the time: none of them can commit from the fence to the end of the
    transaction, so the row is at least as new as all that is applied, and what is newer is still to
    come. They begin anew afterwards, and see the entries that there are. By the log no stream runs,
    and nothing is there to be fenced. Moves nothing.

    `held`: somebody was changing the row, and the batch stayed empty.
    """

    def __init__(
        self, lease: Lease, source: pymysql.Connection[Any], target: Target, key: bytes
    ) -> None:
        self._lease = lease
        self._source = source
        self._target = target
        self._key = key
        self.ops = TableOps()
        self.held = False

    @property
    def image(self) -> Image | None:
        """The row; None: there is none."""
        return self.ops.rows.get(self._key)

    def begin(self, conn: Connection, batch: Batch) -> None:
        """See Checkpoint. What was read before a rollback may be old, and is read again."""
        fence_table(conn, self._lease.pipeline, self._target.source)
        self.ops.rows.clear()
        limit_locks(self._source, LOCK_SECONDS)
        try:
            self.ops.rows[self._key] = read_row(self._source, self._target.plan, self._key)
        except pymysql.Error as error:
            if error.args[0] not in (ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK):
                raise
            self.held = True

    def save(self, conn: Connection, batch: Batch) -> None:
        """See Checkpoint."""
        self._lease.guard(conn)
