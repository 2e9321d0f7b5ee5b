"""The dual-write layer between two fresh databases, without a daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import create_engine

from bridge.capture.catalog import read_catalog
from bridge.dualwrite.http.tables import Tables
from bridge.dualwrite.http.writes import Writes
from bridge.dualwrite.layer import DualWrite
from bridge.dualwrite.lookout import Sides
from bridge.mapping.compile import compile_table
from bridge.mapping.plan import TablePlan
from bridge.mapping.propose import propose_table
from bridge.names import TableName
from bridge.replicate.ops import definitions
from bridge.store.migrate import migrate
from tests.fix_servers import SourceDatabase, TargetDatabase

PIPELINE = "p"
TABLE = "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, n int)"


@dataclass
class Layered:
    """A layer over `plans`, and HTTP's writes over that."""

    source_db: SourceDatabase
    target_db: TargetDatabase
    plans: dict[TableName, TablePlan]
    sides: Sides
    dual: DualWrite
    writes: Writes

    def on_source(self, *statements: str) -> None:
        """As the administrator."""
        with closing(self.source_db.connect()) as conn, conn.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def count(self, table: str) -> int:
        """Rows of a table of the source."""
        with closing(self.source_db.connect()) as conn, conn.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table}")
            row: Any = cursor.fetchone()
            return int(row[0])

    def authority(self, group: str, side: str, epoch: int, mode: str = "cdc") -> None:
        """Gives a group its rows on both sides."""
        place = "_bridge_authority (grp, pipeline, epoch, authority, mode)"
        self.on_source(
            f"REPLACE INTO {place} VALUES ('{group}', '{PIPELINE}', {epoch}, '{side}', '{mode}')"
        )
        with self.target_db.connect() as there:
            there.execute(
                "INSERT INTO dbbridge.authority (pipeline, grp, epoch, authority, mode) VALUES"
                " (%(pipeline)s, %(group)s, %(epoch)s, %(side)s, %(mode)s)"
                " ON CONFLICT (pipeline, grp) DO UPDATE"
                " SET epoch = EXCLUDED.epoch, authority = EXCLUDED.authority",
                {
                    "pipeline": PIPELINE, "group": group, "epoch": epoch, "side": side,
                    "mode": mode,
                },
            )  # fmt: skip


@contextmanager
def layered(
    source_db: SourceDatabase,
    target_db: TargetDatabase,
    *tables: str,
    connect: Callable[[], Any] | None = None,
    open_source: Callable[[], Any] | None = None,
    open_target: Callable[[], psycopg.Connection[Any]] | None = None,
) -> Iterator[Layered]:
    """Makes the tables, the layer's own, and the control schema.

    `connect` opens sessions of the application's engine on the source, `open_source` and
    `open_target` those of the layer.
    """
    with target_db.connect() as there:
        migrate(there)
        there.execute("INSERT INTO dbbridge.pipeline (name) VALUES (%s)", (PIPELINE,))
    plans = made(source_db, *(tables or (TABLE,)))
    source = create_engine(
        "mysql+pymysql://", creator=connect or (lambda: source_db.connect(autocommit=False))
    )
    target = create_engine(
        "postgresql+psycopg://", creator=lambda: target_db.connect(autocommit=False)
    )
    source.connect().close()  # the dialect looks around, and commits nothing
    sides = Sides(
        PIPELINE,
        source_db.name,
        open_source or source_db.connect,
        open_target or target_db.connect,
    )
    dual = DualWrite(sides, plans, source, target)
    writes = Writes(dual, Tables(plans, source_db.name), 24)
    try:
        yield Layered(source_db, target_db, plans, sides, dual, writes)
    finally:
        dual.close()
        source.dispose()
        target.dispose()


def made(source_db: SourceDatabase, *tables: str) -> dict[TableName, TablePlan]:
    """Makes tables, and those of the layer; the plans of the former."""
    with closing(source_db.connect()) as conn, conn.cursor() as cursor:
        for statement in tables:
            cursor.execute(statement)
        names = [str(statement.split()[2]) for statement in tables]
        for statement in definitions(source_db.name).values():
            cursor.execute(statement)
        found = read_catalog(conn, source_db.name, set(names))
    plans = {}
    for name in (TableName(source_db.name, each) for each in names):
        target = TableName("public", name.table)
        plans[name] = compile_table(propose_table(found[name], (), target=target), found[name])
    return plans
