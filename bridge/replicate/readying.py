"""What a table needs around its copy: a target that is there and empty, and indexes behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing

import psycopg

from bridge.capture.binlog.positions import logs_replicated
from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.replicate.servers import Servers
from bridge.sink import ddl
from bridge.store.lease import Lease
from bridge.store.state import Connection, Q, TableState


def check_new(
    conn: Connection,
    servers: Servers,
    plan: TablePlan,
    table: TableState,
    *,
    tied: bool,
) -> None:
    """That a new table can be copied; raises TableStopped.

    `tied`: it has no key, and a family.
    """
    if tied:
        raise table_stopped(
            table.source,
            "keyless-in-cascade",
            "it has no key, and cascading foreign keys tie it to other tables",
            "name a unique NOT NULL key in its mapping file, or leave the table out",
        )
    if not plan.key and servers.replica:
        with closing(servers.copy_source()) as source:
            if not logs_replicated(source):
                raise table_stopped(
                    table.source,
                    "needs-replica-log",
                    "it has no key, and the replica that it is copied from does not log",
                    "set log_bin and log_slave_updates=ON there, or take copy_from out of"
                    " bridge.yaml",
                )
    if not exists(conn, table.target):
        raise table_stopped(
            table.source,
            "no-target",
            f"there is no table {table.target} in the target",
            f"make it: dbbridge schema apply, then: dbbridge tables resume {table.source.word}",
        )
    some = conn.execute(f"SELECT EXISTS (SELECT FROM {table.target.postgres})".encode()).fetchone()
    if some and some[0]:
        raise table_stopped(
            table.source,
            "target-not-empty",
            f"{table.target} holds rows already",
            f"empty it if they may go, then: dbbridge tables resume {table.source.word}",
        )


def exists(conn: Connection, relation: TableName) -> bool:
    """Whether the target has a table of this name."""
    found = conn.execute("SELECT to_regclass(%s)", (relation.postgres,)).fetchone()
    return bool(found and found[0])


class IndexBuilder:
    """Builds indexes of a table that is copied, over a session of its own."""

    def __init__(
        self,
        servers: Servers,
        lease: Lease,
        table: TableState,
        statements: Sequence[ddl.Statement],
    ) -> None:
        self._servers = servers
        self._lease = lease
        self._table = table
        self._statements = statements

    def run(self, tick: Callable[[], None]) -> None:
        """Until all are built; raises TableStopped, and what `tick` raises meanwhile."""
        with closing(self._servers.target()) as conn, ThreadPoolExecutor(1) as pool:
            work = pool.submit(self._build, conn)
            try:
                while not work.done():
                    wait([work], timeout=0.1)
                    tick()
            except BaseException:
                conn.cancel_safe()
                raise
            work.result()

    def _build(self, conn: Connection) -> None:
        table = self._table
        conn.execute("SET maintenance_work_mem = '256MB'")
        for statement in self._statements:
            try:
                with conn.transaction():
                    self._lease.guard(conn)
                    conn.execute(statement.sql.encode())
            except (
                psycopg.IntegrityError,
                psycopg.ProgrammingError,
                psycopg.errors.ProgramLimitExceeded,
            ) as error:
                raise table_stopped(
                    table.source,
                    "index-failed",
                    f"{statement.name} cannot be built: {error.diag.message_primary}",
                    "mend it or leave the index out in the mapping file, then: dbbridge tables"
                    f" resume {table.source.word}",
                ) from error
        conn.execute(f"ANALYZE {table.target.postgres}".encode())
        with conn.transaction():
            self._lease.guard(conn)
            conn.execute(Q["indexed"], {"pipeline": self._lease.pipeline, **table.key})


def table_stopped(name: TableName, code: str, what: str, hint: str = "") -> TableStopped:
    """What stops a table; without a hint of its own it is to be mapped and copied again."""
    stop = TableStopped(
        f"{name}: {what}",
        hint or f"run dbbridge init, then: dbbridge tables resync {name.word}",
        code,
    )
    stop.table = name
    return stop
