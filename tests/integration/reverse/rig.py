"""A group whose authority is the target's: tables on both sides, and reverse replication.

The bridge's accounts may do what reverse replication needs, and nothing else (`RIGHTS`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from bridge.databases.endpoint import Endpoint, parse_url
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.reverse import slots
from bridge.reverse.run import Facts, Reverse
from bridge.store.migrate import migrate
from tests.endtoend.accounts import Accounts, accounts
from tests.endtoend.compare import assert_same
from tests.fix_servers import SourceDatabase, TargetDatabase
from tests.integration.copied import create_target, plan_of
from tests.waiting import until

PIPELINE, GROUP = "shop", "orders"
PATIENCE = 60.0
LOOK_SECONDS = 0.001
KEEP_SECONDS = 600.0
"""Longer than a test takes: what it puts the source back to must not have been confirmed."""
TABLE_RIGHTS = "SELECT, INSERT, UPDATE, DELETE"
OWN_RIGHTS = "CREATE, SELECT, INSERT, UPDATE"
WAITING = (
    "SELECT COUNT(*) FROM information_schema.PROCESSLIST"
    " WHERE STATE LIKE 'Waiting for table%' AND USER = '{}'"
)
"""How many sessions of an account wait for a table that somebody has locked."""


@dataclass
class Rig:
    """Tables by their names; the target's are the bridge's own."""

    source: SourceDatabase
    target: TargetDatabase
    accounts: Accounts
    plans: dict[str, TablePlan] = field(default_factory=dict)
    reverse: Reverse | None = None
    epoch: int = 1
    options: dict[str, Any] = field(default_factory=lambda: {"keep_seconds": KEEP_SECONDS})

    @property
    def endpoints(self) -> tuple[Endpoint, Endpoint]:
        """Of the bridge's accounts."""
        password = self.accounts.password
        urls = (self.accounts.source_url, self.accounts.target_url)
        here, there = (
            parse_url(url.replace("env:SOURCE_PW", password).replace("env:TARGET_PW", password))
            for url in urls
        )
        return here, there

    def make(self, tables: Mapping[str, str], **choices: Any) -> None:
        """Tables in the source by the bodies of CREATE TABLE, and their plans' in the target."""
        name, who = self.source.name, self.accounts.name
        with closing(self.source.connect()) as conn, conn.cursor() as cursor:
            for table, body in tables.items():
                cursor.execute(f"CREATE TABLE {table} ({body}) ENGINE=InnoDB CHARSET=utf8mb4")
                cursor.execute(f"GRANT {TABLE_RIGHTS} ON `{name}`.`{table}` TO '{who}'@'%'")
            cursor.execute(f"GRANT {OWN_RIGHTS} ON `{name}`.`_bridge_reverse` TO '{who}'@'%'")
        with self.bridge() as there:
            migrate(there)
            there.execute(
                "INSERT INTO dbbridge.pipeline (name) VALUES (%s) ON CONFLICT DO NOTHING",
                (PIPELINE,),
            )
            there.execute(f'CREATE SCHEMA IF NOT EXISTS "{name}"'.encode())
            for table in tables:
                plan = plan_of(self.source, table, **choices.get(table, {}))
                plan = replace(plan, target=TableName(name, table))
                create_target(there, plan)
                self.plans[table] = plan

    def bridge(self) -> psycopg.Connection[Any]:
        """A session of the bridge's role in the target."""
        there = self.endpoints[1]
        return psycopg.connect(
            host=there.host, port=there.port, user=there.user, dbname=there.database,
            password=there.password.reveal(), autocommit=True,
        )  # fmt: skip

    def arm(self) -> None:
        """Publication, identities and slot."""
        with self.bridge() as conn:
            slots.arm(conn, PIPELINE, GROUP, list(self.plans.values()))

    def start(self, **options: Any) -> Reverse:
        """The flip; reverse replication runs from here."""
        if self.reverse is None:
            self.arm()
            with self.bridge() as conn:
                self.flip = slots.marker(conn)
        self.options = options or self.options
        self.reverse = Reverse(
            *self.endpoints, PIPELINE, GROUP, list(self.plans.values()),
            epoch=self.epoch, flip=self.flip, **self.options,
        )  # fmt: skip
        self.reverse.start()
        return self.reverse

    def write(self, *statements: str) -> None:
        """One transaction of the application's in the target."""
        with self.target.connect() as conn:
            conn.execute(f'SET search_path = "{self.source.name}"'.encode())
            with conn.transaction():
                for statement in statements:
                    conn.execute(statement.encode())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the source."""
        with closing(self.source.connect()) as conn, conn.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def drain(self, timeout: float = PATIENCE) -> Facts:
        """Waits until all that has committed is in the source; fails if it stops before."""
        assert self.reverse is not None
        with self.bridge() as conn:
            lsn = slots.marker(conn)
        return self.until(lambda facts: facts.applied >= lsn, timeout)

    def end(self) -> int:
        """Where the target's log ends."""
        with self.bridge() as conn:
            row = conn.execute("SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn").fetchone()
        assert row is not None
        return int(row[0])

    def until(self, condition: Callable[[Facts], bool], timeout: float = PATIENCE) -> Facts:
        """Waits for facts; fails if it stops before."""
        assert self.reverse is not None
        deadline = time.monotonic() + timeout
        while not condition(facts := self.reverse.facts()):
            assert not facts.stopped, facts.error and (facts.error.message, facts.error.hint)
            assert time.monotonic() < deadline, facts
            time.sleep(LOOK_SECONDS)
        return facts

    def same(self, tables: Sequence[str] | None = None) -> int:
        """Fails unless both sides hold the same."""
        return assert_same(self.source, self.target, tables=list(tables or self.plans))

    def close(self) -> None:
        """Ends it."""
        if self.reverse is not None:
            self.reverse.stop()

    def await_idle(self) -> None:
        """Until nobody reads a slot: the server ends a session some time after its connection."""
        query = "SELECT 1 FROM pg_replication_slots WHERE database = %s AND active_pid IS NOT NULL"
        with self.target.connect() as conn:
            until(lambda: not conn.execute(query, (self.target.name,)).fetchall())


def new_rig(source: SourceDatabase, target: TargetDatabase) -> Rig:
    """A rig with accounts of its own; `Rig.close` and `Accounts.drop` end it."""
    mine = accounts(source, target)
    mine.create()
    mine.grant(
        (),
        [
            f'GRANT CONNECT, CREATE ON DATABASE "{target.name}" TO "{mine.name}"',
            f'ALTER ROLE "{mine.name}" REPLICATION',
        ],
    )
    return Rig(source, target, mine)
