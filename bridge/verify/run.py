"""All tables of a pipeline, one after the other: which there are, their plans, their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
import pymysql

from bridge.capture.binlog.positions import server_identity
from bridge.capture.catalog import read_catalog
from bridge.change.position import Position
from bridge.errors import BridgeError
from bridge.mapping.compile import compile_table
from bridge.mapping.model import TableMapping, from_document
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.report.verification import TableVerdict, Verification
from bridge.store.state import TableState, read_tables
from bridge.types.table import SourceTable
from bridge.verify.applied import StoredPosition
from bridge.verify.found import Sink
from bridge.verify.subject import Level
from bridge.verify.table import Sessions, verify_table

Progress = Callable[[TableName, int], None]


@dataclass(frozen=True, slots=True)
class Followed:
    """A table that the pipeline follows, with the plan that it goes on with."""

    plan: TablePlan
    relation: TableName
    rows: int
    """As the server estimates."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """A table that cannot be verified now, and why."""

    verdict: TableVerdict


def followed(conn: psycopg.Connection[Any], pipeline: str) -> dict[TableName, TableState]:
    """The tables of the pipeline; of one that is being copied again, the one that serves."""
    try:
        states = read_tables(conn, pipeline)
    except psycopg.errors.UndefinedTable:
        return {}
    return {state.source: state for state in sorted(states, key=lambda s: -s.generation)}


def prepare(
    source: pymysql.Connection[Any],
    states: Mapping[TableName, TableState],
    names: Iterable[TableName],
) -> list[Followed | Unfit]:
    """The named tables in order, each with the mapping that was applied to it."""
    wanted = list(names)
    catalogue: dict[TableName, SourceTable] = {}
    for schema in sorted({name.schema for name in wanted}):
        tables = [name.table for name in wanted if name.schema == schema]
        catalogue |= read_catalog(source, schema, tables)
    return [_prepared(name, states.get(name), catalogue.get(name)) for name in wanted]


def _prepared(
    name: TableName, state: TableState | None, table: SourceTable | None
) -> Followed | Unfit:
    if state is None:
        return _unfit(name, "the pipeline does not follow this table yet", "dbbridge sync")
    if table is None:
        return _unfit(name, "there is no such table in the source", f"dbbridge explain {name}")
    try:
        mapping: TableMapping = from_document(state.mapping)
        plan = compile_table(mapping, table)
    except BridgeError as error:
        return _unfit(name, error.message, f"dbbridge explain {name}")
    return Followed(plan, state.target, table.rows)


def _unfit(name: TableName, reason: str, hint: str) -> Unfit:
    return Unfit(TableVerdict(name, "inconclusive", reason=reason, hint=hint))


def verify(
    pipeline: str,
    tables: Iterable[Followed | Unfit],
    level: Level,
    sessions: Sessions,
    *,
    sink: Sink = lambda _, __: None,
    progress: Progress = lambda _, __: None,
) -> Verification:
    """Verifies the tables; raises the drivers' errors where a server goes away."""
    verdicts = []
    with closing(sessions.source()) as source, closing(sessions.target()) as control:
        identity = server_identity(source)
        for table in tables:
            if isinstance(table, Unfit):
                verdicts.append(table.verdict)
                continue
            name = table.plan.source
            stream = StoredPosition(control, pipeline, name, identity)
            verdicts.append(
                verify_table(
                    table.plan,
                    table.relation,
                    level,
                    sessions,
                    stream,
                    sink=sink,
                    progress=_of_table(progress, name),
                )
            )
    return Verification(pipeline, level, tuple(verdicts), _oldest(verdicts))


def _of_table(progress: Progress, name: TableName) -> Callable[[int], None]:
    return lambda rows: progress(name, rows)


def _oldest(verdicts: Iterable[TableVerdict]) -> str:
    """The position that all verdicts cover; '' where a table has none."""
    positions = list(_positions(verdicts))
    if not positions or None in positions:
        return ""
    known = [position for position in positions if position is not None]
    for candidate in known:
        if all(other.covers(candidate) for other in known):
            return str(candidate)
    return ""


def _positions(verdicts: Iterable[TableVerdict]) -> Iterator[Position | None]:
    for verdict in verdicts:
        yield Position.parse(verdict.position) if verdict.position else None
