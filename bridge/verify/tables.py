"""The tables of a pipeline as verification sees them: which can be verified, by which plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pymysql

from bridge.capture.catalog import read_catalog
from bridge.errors import BridgeError
from bridge.mapping.compile import compile_table
from bridge.mapping.model import TableMapping, from_document
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.report.verification import TableVerdict
from bridge.store.state import TableState, read_tables
from bridge.types.table import SourceTable


@dataclass(frozen=True, slots=True)
class Followed:
    """A table that the pipeline follows, with the plan that it goes on with.

    `mapping` is the version that the mapping files, as they are now, would give it.
    """

    plan: TablePlan
    state: TableState
    mapping: str

    @property
    def name(self) -> TableName:
        """In the source."""
        return self.plan.source

    @property
    def relation(self) -> TableName:
        """In the target."""
        return self.state.target

    @property
    def rows(self) -> int:
        """As the source's server estimates."""
        return self.plan.table.rows


@dataclass(frozen=True, slots=True)
class Unfit:
    """A table that cannot be verified now, and why."""

    verdict: TableVerdict
    state: TableState | None = None

    @property
    def name(self) -> TableName:
        """In the source."""
        return self.verdict.table


def states(conn: psycopg.Connection[Any], pipeline: str) -> dict[TableName, TableState]:
    """The tables of the pipeline; of one that is being copied again, the one that serves."""
    try:
        found = read_tables(conn, pipeline)
    except psycopg.errors.UndefinedTable:
        return {}
    return serving(found)


def serving(found: Iterable[TableState]) -> dict[TableName, TableState]:
    """By the source's names; of a table that is being copied again the generation that serves."""
    return {state.source: state for state in sorted(found, key=lambda s: -s.generation)}


def with_states(
    tables: Mapping[TableName, Followed | Unfit], known: Mapping[TableName, TableState]
) -> dict[TableName, Followed | Unfit]:
    """The same tables, standing as they are now known to stand."""
    return {
        name: replace(table, state=known[name]) if name in known else lost(name)
        for name, table in tables.items()
    }


def lost(name: TableName) -> Unfit:
    """A table that the pipeline does not know."""
    return _unfit(name, "the pipeline does not follow this table yet", "dbbridge sync")


def prepare(
    source: pymysql.Connection[Any],
    known: Mapping[TableName, TableState],
    mappings: Mapping[TableName, TableMapping],
    names: Iterable[TableName],
) -> list[Followed | Unfit]:
    """The named tables in order, each with the mapping that was applied to it."""
    wanted = list(names)
    catalogue: dict[TableName, SourceTable] = {}
    for schema in sorted({name.schema for name in wanted}):
        tables = [name.table for name in wanted if name.schema == schema]
        catalogue |= read_catalog(source, schema, tables)
    return [
        _prepared(name, known.get(name), catalogue.get(name), mappings.get(name)) for name in wanted
    ]


def _prepared(
    name: TableName,
    state: TableState | None,
    table: SourceTable | None,
    edited: TableMapping | None,
) -> Followed | Unfit:
    if state is None:
        return lost(name)
    if table is None:
        reason = "there is no such table in the source"
        return _unfit(name, reason, f"dbbridge explain {name.word}", state)
    try:
        plan = compile_table(from_document(state.mapping), table)
    except BridgeError as error:
        reason = f"stopped: {state.why}" if state.fault else name.left_out_of(error.message)
        return _unfit(name, reason, f"dbbridge explain {name.word}", state)
    return Followed(plan, state, _version(edited, table))


def _version(mapping: TableMapping | None, table: SourceTable) -> str:
    """'' for files that leave the table out, or that cannot be compiled."""
    if mapping is None or mapping.target is None:
        return ""
    try:
        return compile_table(mapping, table).version
    except BridgeError:
        return ""


def _unfit(name: TableName, reason: str, hint: str, state: TableState | None = None) -> Unfit:
    return Unfit(TableVerdict(name, "inconclusive", reason=reason, hint=hint), state)
