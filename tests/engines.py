"""The daemon's parts in this process, between two live databases: no command line, no files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from bridge.capture.catalog import read_catalog
from bridge.databases import mysql, postgres
from bridge.databases.endpoint import parse_url
from bridge.mapping.compile import compile_table
from bridge.mapping.model import TableMapping
from bridge.mapping.propose import propose_table
from bridge.names import TableName
from bridge.replicate.board import Board
from bridge.replicate.engine import Engine
from bridge.replicate.plans import Planner
from bridge.replicate.servers import Servers
from bridge.replicate.stage import Stages
from bridge.replicate.until import Until
from bridge.sink.ddl import create_table
from bridge.store.lease import Lease, acquire
from bridge.store.migrate import migrate
from bridge.store.state import Connection, TableState
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.waiting import until


@dataclass
class Rig:
    """One pipeline, whose lease it holds; `mappings` stands for the files."""

    source_db: SourceDatabase
    target_db: TargetDatabase
    mappings: dict[TableName, TableMapping] = field(default_factory=dict)
    board: Board = field(default_factory=Board)
    opened: list[Connection] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source, self.target = parse_url(self.source_db.url), parse_url(self.target_db.url)
        self.servers = Servers(
            source=lambda: mysql.connect(self.source),
            copy_source=lambda: mysql.connect(self.source),
            target=self._open_target,
            pipeline=self.target_db.name,
        )
        self.control = self.servers.target()
        migrate(self.control)
        self.lease: Lease = acquire(self.servers.target(), self.servers.pipeline)
        self.planner = Planner(self.servers.source, lambda: self.mappings)
        self.stages = Stages(self.control, self.servers, self.lease, self.planner)

    def _open_target(self) -> Connection:
        conn = postgres.connect(self.target, autocommit=True)
        self.opened.append(conn)
        return conn

    def close(self) -> None:
        for conn in self.opened:  # a stream leaves its own to the interpreter
            conn.close()

    def name(self, table: str) -> TableName:
        return TableName(self.source_db.name, table)

    def mysql(self, *statements: str) -> list[Any]:
        """Runs statements in the source; the rows of the last one."""
        with closing(self.source_db.connect()) as conn, conn.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def ask(self, query: str, *values: Any) -> list[Any]:
        """Rows of the target."""
        with closing(self.servers.target()) as conn:
            return conn.execute(query.encode(), values).fetchall()

    def carry(self, *tables: str) -> None:
        """Writes the mapping that `init` would propose, and makes the target's tables."""
        for table in tables:
            name = self.name(table)
            with closing(self.servers.source()) as conn:
                found = read_catalog(conn, name.schema, [table])[name]
            self.mappings[name] = propose_table(found, ())
            for statement in create_table(compile_table(self.mappings[name], found)):
                self.control.execute(statement.encode())

    def engine(self, stopping: threading.Event, servers: Servers | None = None) -> Engine:
        return Engine(
            servers or self.servers,
            self.lease,
            self.planner,
            self.board,
            stopping,
            readers=1,
            until=Until(),
        )

    @contextmanager
    def running(self, servers: Servers | None = None) -> Iterator[None]:
        """An engine runs meanwhile; raises what ended it."""
        stopping, failures = threading.Event(), list[Exception]()

        def run() -> None:
            try:
                self.engine(stopping, servers).run()
            except Exception as error:  # noqa: BLE001 (raised below)
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()
            if failures:
                raise failures[0]

    def states(self, table: str) -> list[TableState]:
        """Each generation."""
        return [t for t in self.stages.tables() if t.source.table == table]

    def streams(self, *tables: str) -> None:
        """Waits until they do."""
        with closing(self.servers.target()) as conn:
            until(lambda: {*_states(conn, *tables)} == {("streaming", None)})

    def same(self, table: str) -> None:
        """Waits until both sides have the same rows."""
        wanted = sorted(self.mysql(f"SELECT * FROM `{table}`"))
        relation = self.name(table).postgres
        until(lambda: sorted(self.ask(f"SELECT * FROM {relation}")) == wanted)


def _states(conn: Connection, *tables: str) -> list[Any]:
    query = "SELECT stage, error_code FROM dbbridge.tables WHERE source_table = ANY(%s)"
    return conn.execute(query, [list(tables)]).fetchall()
