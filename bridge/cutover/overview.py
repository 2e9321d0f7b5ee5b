"""Looks at groups as `cutover status` shows them; nothing is changed, nobody is hindered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any

import psycopg
import pymysql

from bridge.config import Settings
from bridge.cutover.fences.base import SourceFence
from bridge.cutover.fences.choose import FENCES
from bridge.cutover.journal import Journal, Record
from bridge.cutover.opening import Opener, fencing_source, tables_of
from bridge.cutover.standing import FenceStanding, Standing, WayBack
from bridge.cutover.transitions import TABLE
from bridge.cutover.wayback import Q as WAY_BACK
from bridge.databases import mysql
from bridge.dualwrite.authority import Authority, read_source, read_target
from bridge.dualwrite.opening import database_of
from bridge.errors import BridgeError
from bridge.names import TableName
from bridge.report.groups import proofs_given_up
from bridge.reverse.slots import read_slot
from bridge.store.authority import group_of
from bridge.store.state import Q as STORE
from bridge.store.state import TableState, read_daemon, read_pipeline, read_tables
from bridge.verify.ledger import Ledger

_NEWEST = "SELECT to_regclass('dbbridge.way_back') IS NOT NULL, clock_timestamp()"
"""Whether the control schema is as new as this program; and what time it is."""


def standings(
    settings: Settings,
    source: pymysql.Connection[Any],
    target: psycopg.Connection[Any],
    groups: Iterable[str],
) -> list[Standing]:
    """Those of the named groups; both sessions in autocommit mode. Raises the drivers' errors."""
    known, now = target.execute(_NEWEST).fetchone() or (False, datetime.now().astimezone())
    database = database_of(settings.endpoint(settings.pipeline.source))
    here = read_source(source, database)
    there = read_target(target, settings.name)
    if not known:
        return [
            Standing(Record(name), here.get(name), there.get(name), (), daemon=False, now=now)
            for name in groups
        ]
    look = _Look(settings, target, here, there, now)
    return [look.at(name) for name in groups]


class _Look:
    def __init__(
        self,
        settings: Settings,
        target: psycopg.Connection[Any],
        here: Mapping[str, Authority],
        there: Mapping[str, Authority],
        now: datetime,
    ) -> None:
        self._settings = settings
        self._target = target
        self._here, self._there = here, there
        self._now = now
        self._journal = Journal(target, settings.name)
        daemon = read_daemon(target, settings.name)
        self._daemon = daemon is not None and not daemon.silent
        self._tables = read_tables(target, settings.name)
        ledger = Ledger(target, settings.name)
        self._proofs, self._certificates = ledger.proofs(), ledger.certificates()
        known = target.execute(STORE["verified_to"], {"pipeline": settings.name})
        pipeline = read_pipeline(target, settings.name)
        self._reads = pipeline is not None and pipeline.position is not None
        self._given_up = proofs_given_up(target, settings.name)
        self._equal = frozenset(TableName(schema, table) for schema, table, *_ in known)

    def at(self, group: str) -> Standing:
        record = self._journal.read(group)
        mine = [t for t in self._tables if group_of(t.source, t.mapping) == group]
        return Standing(
            record,
            self._here.get(group),
            self._there.get(group),
            tuple(mine),
            daemon=self._daemon,
            now=self._now,
            certified=group in self._certificates and self._proven(mine),
            proven=self._equal,
            provable=self._reads and self._given_up.isdisjoint(t.source for t in mine),
            history=self._journal.history(group),
            way_back=self._way_back(record),
            fence=self._fence(record),
        )

    def _proven(self, tables: Iterable[TableState]) -> bool:
        """Whether what was proven is the tables as they are now; a switch looks closer."""
        for table in tables:
            proof = self._proofs.get(table.source)
            if proof is None or proof.differences or proof.generation != table.generation:
                return False
        return True

    def _way_back(self, record: Record) -> WayBack | None:
        names = {"pipeline": self._settings.name, "group": record.group}
        row = self._target.execute(WAY_BACK["told"], names).fetchone()
        if row is None:
            return None
        name, told = row
        if told and not self._daemon:  # how far it was then says nothing of now
            told = {**told, "lag_seconds": None}
        return WayBack(record.state, name, read_slot(self._target, name), told or {})

    def _fence(self, record: Record) -> FenceStanding | None:
        """Of a group whose fence is set: whether it is still there."""
        noted = record.evidence.get("source_fence")
        if noted is None:
            return None
        kind, opener = noted["kind"], Opener(self._settings, record.group)
        chosen = self._settings.cutover.of(record.group)
        try:
            with closing(mysql.connect(fencing_source(self._settings))) as conn:
                names = tables_of(opener.mappings(), record.group)
                fence: SourceFence = FENCES[kind](opener.subject(chosen, conn, names))
                stands = fence.stands(conn, noted)
        except (BridgeError, pymysql.Error, OSError) as error:
            return FenceStanding(kind, None, str(error))
        under_way = not TABLE[record.state].resting
        lines = () if stands or under_way else tuple(fence.plan(noted))
        return FenceStanding(kind, stands, "", lines)
