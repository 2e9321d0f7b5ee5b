"""Tables copied as the bridge copies them, and streams that are where the test says, for verify."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
from pymysql.connections import Connection

from bridge.capture.binlog.positions import lower_bound, upper_bound
from bridge.capture.catalog import read_catalog
from bridge.capture.snapshot import read_chunk
from bridge.change.batch import BadRow
from bridge.change.position import Position
from bridge.config.urls import resolve_url
from bridge.databases import mysql, postgres
from bridge.mapping.compile import compile_table
from bridge.mapping.model import TableMapping
from bridge.mapping.plan import TablePlan
from bridge.mapping.propose import propose_table
from bridge.names import TableName
from bridge.report.verification import TableVerdict
from bridge.sink.copy import copy_blocks
from bridge.sink.ddl import create_table
from bridge.verify.applied import Discarded, Quarantined
from bridge.verify.recheck import Patience, Standing
from bridge.verify.subject import Level
from bridge.verify.table import verify_table
from tests.fix_servers import SourceDatabase, TargetDatabase


@dataclass
class CurrentStream:
    """A stream that has applied whatever the source holds: true while nobody writes there."""

    source: Connection[Any]
    kept_out: list[Quarantined] = field(default_factory=list)
    given_up: dict[bytes, Discarded] = field(default_factory=dict)

    def standing(self) -> Standing:
        low, high = lower_bound(self.source), upper_bound(self.source)
        return Standing(Position(low.kind, low.text, high.file, high.offset))

    def quarantined(self) -> list[Quarantined]:
        return self.kept_out

    def discarded(self) -> dict[bytes, Discarded]:
        return self.given_up


@dataclass(frozen=True)
class StandingStill:
    """A stream with something in its way."""

    at: Standing

    def standing(self) -> Standing:
        return self.at

    def quarantined(self) -> list[Quarantined]:
        return []

    def discarded(self) -> dict[bytes, Discarded]:
        return {}


@dataclass
class World:
    """One source database and one target database."""

    source_db: SourceDatabase
    target_db: TargetDatabase

    def source(self) -> Connection[Any]:
        return mysql.connect(resolve_url(self.source_db.url, {}, "test", Path()))

    def target(self) -> psycopg.Connection[Any]:
        return postgres.connect(
            resolve_url(self.target_db.url, {}, "test", Path()), autocommit=True
        )

    def mysql(self, *statements: str) -> None:
        with closing(self.source()) as conn, conn.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def postgres(self, *statements: str) -> None:
        with closing(self.target()) as conn:
            for statement in statements:
                conn.execute(statement.encode())

    def plan(
        self, table: str, edit: Callable[[TableMapping], TableMapping] = lambda m: m
    ) -> TablePlan:
        """The plan that `init` would propose, edited."""
        with closing(self.source()) as conn:
            name = TableName(self.source_db.name, table)
            found = read_catalog(conn, name.schema, [table])[name]
            return compile_table(edit(propose_table(found, ())), found)

    def copied(
        self, table: str, edit: Callable[[TableMapping], TableMapping] = lambda m: m
    ) -> TablePlan:
        """Makes the target's table and copies the rows."""
        plan = self.plan(table, edit)
        with closing(self.target()) as target:
            for statement in create_table(plan):
                target.execute(statement.encode())
        self.recopy(plan)
        return plan

    def recopy(self, plan: TablePlan) -> None:
        """Copies the rows into the empty table."""
        bad: list[BadRow] = []
        with closing(self.source()) as source, closing(self.target()) as target:
            lines = read_chunk(source, plan, None, None, bad)
            with target.transaction():
                copy_blocks(target, plan, plan.target, lines, bad)
        self.bad = bad

    def verify(
        self,
        plan: TablePlan,
        level: Level = "values",
        stream: Any = None,
        patience: Patience | None = None,
    ) -> TableVerdict:
        """The verdict; with no stream given, of one that has applied everything."""
        with closing(self.source()) as conn:
            return verify_table(
                plan,
                plan.target,
                level,
                self,
                stream or CurrentStream(conn),
                patience=patience or Patience(stall=2, reach=5, settle=10),
            )


def keys_of(verdict: TableVerdict, kind: str) -> list[tuple[str, ...]]:
    """The keys of the differences of one kind, sorted."""
    return sorted(tuple(d.key.values()) for d in verdict.differences if d.kind == kind)


def columns_of(verdict: TableVerdict) -> dict[str, tuple[str | None, str | None]]:
    """Column → (source, target) of the only difference."""
    (difference,) = verdict.differences
    return {c.name: (c.source, c.target) for c in difference.columns}


def retyped(**types: str) -> Callable[[TableMapping], TableMapping]:
    """An edit that gives columns other target types."""

    def edit(mapping: TableMapping) -> TableMapping:
        columns = tuple(
            replace(c, target_type=types[c.source]) if c.source in types else c
            for c in mapping.columns
        )
        return replace(mapping, columns=columns)

    return edit
