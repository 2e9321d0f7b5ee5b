"""A group of tables that a real daemon follows, and its gates as a switch would ask for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pymysql

from bridge.cutover.gates.base import Gate
from bridge.cutover.gates.facts import Limits
from bridge.cutover.gates.gather import Inspector
from bridge.databases import mysql, postgres
from bridge.databases.endpoint import parse_url
from bridge.mapping.files import read_all
from tests.endtoend.project import Daemon, Project
from tests.waiting import until

ROWS = 1500
INNODB_SECONDS = 0.15
SEES = Limits(transaction=30.0, lag=30.0)
"""Others use the same servers meanwhile."""


@dataclass
class Gated:
    """A project, its daemon, and how its gates are asked for."""

    project: Project
    daemon: Daemon
    inspector: Inspector

    def on_source(self, *statements: str) -> None:
        """Runs them in a session that has ended when this returns, also for the server.

        Until then nobody else may decide about what it has prepared.
        """
        with closing(self.project.source.connect()) as conn, conn.cursor() as cursor:
            number = conn.thread_id()  # type: ignore[no-untyped-call]
            for statement in statements:
                cursor.execute(statement)
        there = f"SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = {number}"
        with closing(self.project.source.connect()) as conn, conn.cursor() as cursor:
            until(lambda: not cursor.execute(there))

    def on_target(self, *statements: str) -> None:
        with self.project.target.connect() as conn:
            for statement in statements:
                conn.execute(statement.encode())

    @contextmanager
    def sessions(
        self,
    ) -> Iterator[tuple[pymysql.Connection[Any], psycopg.Connection[Any]]]:
        """The bridge's own, with its rights."""
        mine = self.project.accounts
        here = parse_url(mine.source_url.replace("env:SOURCE_PW", mine.password))
        there = parse_url(mine.target_url.replace("env:TARGET_PW", mine.password))
        with (
            closing(mysql.connect(here)) as source,
            closing(postgres.connect(there, autocommit=True)) as target,
        ):
            yield source, target

    def gates(self, inspector: Inspector | None = None, **otherwise: Any) -> dict[str, Gate]:
        """All of them by name; `otherwise`: limits that differ."""
        asked = inspector or self.inspector
        asked = replace(asked, limits=replace(asked.limits, **otherwise))
        with self.sessions() as (source, target):
            return {gate.name: gate for gate in asked.gates(source, target)}

    def becomes(self, name: str, passed: bool | None, **otherwise: Any) -> Gate:
        """Asks until the gate says so."""
        seen: list[Gate] = []

        def so() -> bool:
            seen.append(self.gates(**otherwise)[name])
            return seen[-1].passed is passed

        self.passing(so, lambda: str(seen[-1]))
        return seen[-1]

    def passing(self, condition: Callable[[], bool], found: Callable[[], str] = str) -> None:
        """Waits until it is so; fails with what was `found` last.

        InnoDB looks at its transactions again only where nobody has asked for 0.1 s.
        """

        def asked() -> bool:
            holds = condition()
            if not holds:
                time.sleep(INNODB_SECONDS)
            return holds

        try:
            self.project.wait_until(asked, daemon=self.daemon)
        except AssertionError as error:
            error.add_note(found())
            raise


def gated(project: Project) -> Gated:
    """Two tables of one group, one of another, copied and streaming."""
    with closing(project.source.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE customer (id int PRIMARY KEY, name varchar(40), born date)")
        cursor.execute(
            "CREATE TABLE orders (id int PRIMARY KEY, customer int, total decimal(10,2),"
            " KEY by_total (total), FOREIGN KEY (customer) REFERENCES customer (id))"
        )
        cursor.execute("CREATE TABLE note (id int PRIMARY KEY, text varchar(40)) ENGINE=MyISAM")
        values = ",".join(f"({n}, 'name {n}', '1980-01-01')" for n in range(1, ROWS + 1))
        cursor.execute(f"INSERT INTO customer VALUES {values}")
        cursor.execute("INSERT INTO orders SELECT id, id, id / 4 FROM customer")
        cursor.execute("INSERT INTO note VALUES (1, 'a')")
        conn.commit()
    project.begin()
    daemon = project.sync()
    project.wait_streaming(daemon)
    inspector = Inspector(
        project.source.name,
        "customer",
        read_all(project.folder / "mappings"),
        limits=SEES,
        own_accounts=frozenset({project.accounts.name}),
        slot="dbbridge_customer",
        representable=lambda _: (),
        fence=lambda _: (),
    )
    return Gated(project, daemon, inspector)


def permit(found: Gated) -> None:
    """The rights that the gates ask for."""
    mine, name = found.project.accounts, found.project.source.name
    who = f"'{mine.name}'@'%'"
    lines = [f"GRANT PROCESS ON *.* TO {who}"]
    lines += [
        f"GRANT INSERT, UPDATE, DELETE ON `{name}`.`{t}` TO {who}"
        for t in ("customer", "orders", "note")
    ]
    if found.project.source.server.kind == "mysql":
        lines.append(f"GRANT XA_RECOVER_ADMIN ON *.* TO {who}")
        lines.append(f"GRANT SELECT ON performance_schema.* TO {who}")
    found.on_source(*lines)
    role = f'"{mine.name}"'
    found.on_target(f"ALTER ROLE {role} REPLICATION", f"GRANT pg_read_all_stats TO {role}")
