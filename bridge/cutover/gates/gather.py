"""Gathers what the gates judge, over one session on each side.

The gates are looked at again right before a fence goes up, so nothing here reads a table's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pymysql

from bridge.cutover.gates.base import ORDER, Gate, Problem
from bridge.cutover.gates.definitions import definitions, missing_indexes
from bridge.cutover.gates.facts import (
    Census,
    Discarded,
    Epochs,
    Facts,
    Instance,
    Limits,
    Quarantined,
    Span,
    Statistics,
    Unproven,
    Writer,
)
from bridge.cutover.gates.judge import judge
from bridge.cutover.gates.reverse import reverse_problems
from bridge.cutover.gates.spans import key_spans
from bridge.cutover.gates.transactions import doubt, transactions
from bridge.dualwrite.authority import Authority, read_source, read_target
from bridge.dualwrite.groups import group_of
from bridge.mapping.model import TableMapping
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.sink.existing import Existing, read_existing
from bridge.store.sql import queries
from bridge.store.state import TableState, read_daemon, read_pipeline, read_tables
from bridge.verify.conclude import evidence_of
from bridge.verify.ledger import Ledger
from bridge.verify.tables import Followed, Unfit, prepare, serving

Q = queries("bridge.cutover.gates", "queries.sql")
Look = Callable[[list[TablePlan]], Iterable[Problem]]
"""Looks at the group's tables for what stands in the way."""


@dataclass(frozen=True)
class Inspector:
    """Looks at one group of a pipeline again and again.

    `mappings`: the mapping files of all tables. `account`: who fences the source. `known_writers`:
    accounts and roles that may be seen to write, as those that the fence stops (``app``,
    ``app@10.%``); `own_accounts`: the bridge's own, whose sessions call themselves so. `sampled`:
    transactions over several groups, of a sample of the log. `fence` and `representable` look at
    what those rooms know; `reverse` in place of `reverse_problems`.
    """

    pipeline: str
    group: str
    mappings: Mapping[TableName, TableMapping]
    capture: str = "binlog"
    limits: Limits = field(default_factory=Limits)
    account: str = ""
    known_writers: frozenset[str] = frozenset()
    own_accounts: frozenset[str] = frozenset()
    sampled: tuple[Span, ...] = ()
    slot: str = ""
    reverse: Look | None = None
    representable: Look | None = None
    fence: Look | None = None

    def gates(
        self,
        source: pymysql.Connection[Any],
        target: psycopg.Connection[Any],
        names: Collection[str] = ORDER,
    ) -> tuple[Gate, ...]:
        """The named gates as of now.

        Both sessions in autocommit mode, of accounts that may look (docs). Raises the drivers'
        errors and BridgeError.
        """
        return judge(self.look(source, target, names), self.limits, names)

    def look(
        self,
        source: pymysql.Connection[Any],
        target: psycopg.Connection[Any],
        names: Collection[str] = ORDER,
    ) -> Facts:
        """What `judge` wants to know; what only gates that are not named need may be left out."""
        every = read_tables(target, self.pipeline)
        tables = self._tables(every)
        states = [state for state in every if state.source in tables]
        ledger = Ledger(target, self.pipeline)
        found = {f.name: f for f in prepare(source, serving(states), self.mappings, tables)}
        plans = [f.plan for f in found.values() if isinstance(f, Followed)]
        existing = read_existing(target, plans)
        proofs = ledger.proofs()
        pipeline = read_pipeline(target, self.pipeline)
        position = str(pipeline.position) if pipeline and pipeline.position else ""
        mine = frozenset(tables)
        return Facts(
            group=self.group,
            capture=self.capture,
            tables=tables,
            states=tuple(states),
            daemon=read_daemon(target, self.pipeline),
            position=position,
            evidence=tuple(evidence_of(f, proofs.get(name)) for name, f in found.items()),
            certificates=tuple(ledger.certificates().values()),
            unproven=tuple(_rows(target, self.pipeline, "unproven", Unproven, mine)),
            quarantined=quarantined(target, self.pipeline, mine),
            discarded=discarded(target, self.pipeline, mine),
            doubt=doubt(source, target, self.pipeline),
            transactions=transactions(source, target),
            definitions=definitions(found.values(), existing),
            statistics=tuple(_statistics(target, found.values(), existing)),
            epochs=self._epochs(source, target),
            instances=tuple(self._instances(target)),
            census=tuple(self._census(target)),
            account=self.account,
            known_writers=self.known_writers,
            own_accounts=self.own_accounts,
            spans=self._spans(source, plans),
            reverse=self._reverse(source, target, plans) if "reverse" in names else None,
            representable=_asked(self.representable, plans, "representable" in names),
            fence=_asked(self.fence, plans, "fence" in names),
        )

    def _tables(self, states: Iterable[TableState]) -> tuple[TableName, ...]:
        """The group's, by the mapping files or by the mapping that was applied."""
        named = {
            m.source
            for m in self.mappings.values()
            if m.target is not None and group_of(m.source, m.group) == self.group
        }
        applied = {
            state.source
            for state in states
            if group_of(state.source, str(state.mapping.get("group", ""))) == self.group
        }
        return tuple(sorted(named | applied))

    def _epochs(self, source: pymysql.Connection[Any], target: psycopg.Connection[Any]) -> Epochs:
        databases = {name.schema for name in self.mappings}
        here: Authority | None = None
        for database in sorted(databases):
            here = here or read_source(source, database).get(self.group)
        there = read_target(target, self.pipeline).get(self.group)
        return Epochs(*((a.side, a.epoch) if a else None for a in (here, there)))

    def _instances(self, target: psycopg.Connection[Any]) -> Iterable[Instance]:
        names = {"pipeline": self.pipeline, "group": self.group}
        return [Instance(*row) for row in target.execute(Q["instances"], names)]

    def _census(self, target: psycopg.Connection[Any]) -> Iterable[Census]:
        names = {"pipeline": self.pipeline, "seconds": self.limits.remember}
        writers = [Writer(*row) for row in target.execute(Q["writers"], names)]
        for side, began, looked, unseen in target.execute(Q["census"], names).fetchall():
            mine = tuple(writer for writer in writers if writer.side == side)
            yield Census(side, began, looked, mine, tuple(unseen))

    def _spans(self, source: pymysql.Connection[Any], plans: list[TablePlan]) -> tuple[Span, ...]:
        groups = {
            m.source: group_of(m.source, m.group)
            for m in self.mappings.values()
            if m.target is not None
        }
        sampled = [span for span in self.sampled if self.group in span.groups]
        return (*key_spans(source, [plan.table for plan in plans], groups, self.group), *sampled)

    def _reverse(
        self,
        source: pymysql.Connection[Any],
        target: psycopg.Connection[Any],
        plans: list[TablePlan],
    ) -> tuple[Problem, ...]:
        if self.reverse is not None:
            return tuple(self.reverse(plans))
        return tuple(reverse_problems(source, target, plans, self.slot))


def quarantined(
    target: psycopg.Connection[Any], pipeline: str, tables: Collection[TableName]
) -> tuple[Quarantined, ...]:
    """What is in quarantine of these tables."""
    return tuple(_rows(target, pipeline, "quarantined", Quarantined, tables))


def discarded(
    target: psycopg.Connection[Any], pipeline: str, tables: Collection[TableName]
) -> tuple[Discarded, ...]:
    """What operators gave up of them."""
    return tuple(
        Discarded(each.table, each.rows, tuple(each.reasons))
        for each in _rows(target, pipeline, "discarded", Discarded, tables)
    )


def _rows(
    target: psycopg.Connection[Any],
    pipeline: str,
    query: str,
    kind: Callable[..., Any],
    tables: Collection[TableName],
) -> Iterable[Any]:
    for schema, table, *rest in target.execute(Q[query], {"pipeline": pipeline}):
        name = TableName(schema, table)
        if name in tables:
            yield kind(name, *rest)


def _asked(look: Look | None, plans: list[TablePlan], wanted: bool) -> tuple[Problem, ...] | None:
    return tuple(look(plans)) if look is not None and wanted else None


def _statistics(
    target: psycopg.Connection[Any], tables: Iterable[Followed | Unfit], existing: Existing
) -> Iterable[Statistics]:
    followed = [table for table in tables if isinstance(table, Followed)]
    names = {
        "schemas": [table.relation.schema for table in followed],
        "tables": [table.relation.table for table in followed],
    }
    missing = missing_indexes(existing, [table.plan for table in followed])
    for schema, table, analyzed, rows, modified, invalid in target.execute(
        Q["statistics"], names
    ).fetchall():
        name = TableName(schema, table)
        left = tuple(missing.get(name, ()))
        yield Statistics(name, analyzed, rows, modified, tuple(invalid), left)
