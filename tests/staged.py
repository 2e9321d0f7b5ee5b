"""Tables that seem to be followed: the control schema says whatever the test wants it to say."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from bridge.capture.binlog.positions import lower_bound, server_identity, upper_bound
from bridge.mapping.model import TableMapping, to_document
from bridge.mapping.propose import propose_table
from bridge.names import TableName
from bridge.report.verification import Verification
from bridge.store.migrate import migrate
from bridge.verify.ledger import Ledger
from bridge.verify.pipeline import SourceLog
from bridge.verify.recheck import Patience
from bridge.verify.records import Proof, Run
from bridge.verify.run import Verifier
from bridge.verify.tables import Followed, Unfit, prepare, states
from bridge.verify.work import sweep_part
from tests.verifying import World

PIPELINE = "p"
SERVER_ID = 0x42000000
HASTY = Patience(stall=0.3, reach=1, settle=1)
"""Gives up soon where the stream stands still."""


class Stage:
    """Copied tables, and a control schema that says whatever the test wants it to say."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.conn = world.target()
        migrate(self.conn)
        self.conn.execute("INSERT INTO dbbridge.pipeline (name) VALUES ('p')")
        self.conn.execute(
            "INSERT INTO dbbridge.daemon (pipeline, epoch, host, boot, pid, backend, renewed_at)"
            " VALUES ('p', 0, '', '', 0, 0, now() + interval '1 hour')"
        )
        with closing(world.source()) as source:
            identity = server_identity(source)
        self.verifier = Verifier(
            PIPELINE,
            world,
            SourceLog(world.source, SERVER_ID),
            identity,
        )
        self.ledger = Ledger(self.conn, PIPELINE)
        self.tables: list[Followed] = []
        self.patience = HASTY
        self.mappings: dict[TableName, TableMapping] = {}

    def copied(self, *names: str) -> None:
        """Copies the tables and lets them stream."""
        for name in names:
            plan = self.world.copied(name)
            mapping = self.mappings[plan.source] = propose_table(plan.table, ())
            self.conn.execute(
                "INSERT INTO dbbridge.tables (pipeline, source_schema, source_table, target_schema,"
                " target_table, stage, mapping, version)"
                " VALUES ('p', %s, %s, %s, %s, 'streaming', %s, %s)",
                [
                    plan.source.schema, plan.source.table, plan.target.schema, plan.target.table,
                    json.dumps(to_document(mapping)), plan.version,
                ],
            )  # fmt: skip
        with closing(self.world.source()) as source:
            applied(source, self.conn)
        self.tables = [t for t in self.carried().values() if isinstance(t, Followed)]
        assert len(self.tables) == len(names)

    def carried(self) -> dict[TableName, Followed | Unfit]:
        """All tables as they are."""
        known = states(self.conn, PIPELINE)
        with closing(self.world.source()) as source:
            tables = prepare(source, known, self.mappings, sorted(known))
        return {table.name: table for table in tables}

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """The stream says that it has applied everything, whatever others do on the source."""
        done = threading.Event()

        def advance() -> None:
            with closing(self.world.source()) as source, closing(self.world.target()) as target:
                while not done.wait(0.02):
                    applied(source, target)

        thread = threading.Thread(target=advance)
        thread.start()
        self.patience = Patience()
        try:
            yield
        finally:
            self.patience = HASTY
            done.set()
            thread.join()

    # -- a verification, step by step ----------------------------------------------------------

    def begin(self, part_rows: int | None = None) -> Run:
        """A run over all tables."""
        return self.verifier.begin(
            self.ledger, self.tables, "values", certify=True, part_rows=part_rows
        )

    def sweep(self, run: Run, *numbers: int) -> None:
        """Sweeps the parts of these numbers (without any, all); gives up soon without a stream."""
        named = {table.name: table for table in self.tables}
        for part in self.ledger.parts(run):
            if not numbers or part.number in numbers:
                assert sweep_part(
                    self.ledger,
                    run,
                    part,
                    named[part.table],
                    self.world,
                    self.verifier.source_id,
                    "worker",
                    patience=self.patience,
                )

    def finish(self, run: Run) -> Verification:
        """The verdict and the certificates, while the stream goes on."""
        with self.streaming():
            return self.verifier.finish(self.ledger, run, self.carried)

    def verify(self) -> Verification:
        """All of it, while the stream goes on."""
        with self.streaming():
            run = self.begin()
            self.sweep(run)
            return self.verifier.finish(self.ledger, run, self.carried)

    def swept(self) -> None:
        """Proves all tables."""
        result = self.verify()
        assert result.verdict == "match", result

    def round(self) -> dict[str, Proof]:
        """One round of what changed; the proofs by the tables' names."""
        with self.streaming():
            self.verifier.follow(self.ledger, self.tables, threading.Event())
        return {name.table: proof for name, proof in self.ledger.proofs().items()}

    def proof(self, table: str = "t") -> Proof:
        """What is proven of a table."""
        return self.ledger.proofs()[TableName(self.world.source_db.name, table)]

    def differences(self, table: str) -> dict[tuple[str, ...], str]:
        """Known ones: key and kind."""
        name = TableName(self.world.source_db.name, table)
        return {key: d.kind for key, d in self.ledger.differences(name)}


def applied(source: Any, target: Any) -> None:
    """Writes down that the stream has applied everything."""
    low, high = lower_bound(source), upper_bound(source)
    target.execute(
        "UPDATE dbbridge.pipeline SET position_kind = %s, position = %s, position_file = %s,"
        " position_offset = %s",
        [low.kind, low.text, high.file, high.offset],
    )
