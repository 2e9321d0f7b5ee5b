"""Looking for everything that ``dbbridge check`` and ``dbbridge explain`` tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pymysql

from bridge.capture.catalog import read_catalog
from bridge.capture.dialect import read_dialect
from bridge.capture.findings import (
    grant_findings,
    object_findings,
    scan_table,
    schema_findings,
    server_findings,
)
from bridge.capture.findings.probes import probes_of
from bridge.cli.context import Context
from bridge.errors import MappingError
from bridge.findings import Finding, finding
from bridge.mapping.compile import compile_table
from bridge.mapping.judge import mapping_findings, settle
from bridge.mapping.model import TableMapping
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.replicate.ops import OWN_TABLES
from bridge.sink.findings import plan_findings, target_findings
from bridge.store.state import made_targets
from bridge.types.table import SourceTable

if TYPE_CHECKING:
    from bridge.cli.survey_kafka import KafkaSurvey

SOURCE_RIGHTS = ("G001", "G002", "G003", "G005")
TARGET_RIGHTS = ("G010", "G011", "G012")
_ANSWERED_BY = {"T015": "D012", "T016": "D011"}
"""What a definition makes one ask, and the finding about the rows that answers it."""
_ORDER = ("error", "warning", "info")


@dataclass
class Survey:
    """What was found about some mapped tables (all of them, if none are named)."""

    mappings: dict[TableName, TableMapping]
    catalog: dict[TableName, SourceTable] = field(default_factory=dict)
    plans: dict[TableName, TablePlan] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, found: Iterable[Finding]) -> None:
        """Takes findings in, as they stand under the mapping."""
        names = {str(name): name for name in self.mappings}
        for one in found:
            name = names.get(one.table)
            kept: Finding | None = one
            if name is not None:
                kept = settle(one, self.mappings[name], self.plans.get(name))
            if kept is not None:
                self.findings.append(kept)

    def sorted(self) -> list[Finding]:
        """The worst first, then by code, table and column; guesses only without knowledge."""
        known = {(one.code, one.table, one.column) for one in self.findings}
        kept = [
            one
            for one in self.findings
            if (_ANSWERED_BY.get(one.code), one.table, one.column) not in known
        ]
        return sorted(kept, key=lambda f: (_ORDER.index(f.severity), f.code, f.table, f.column))


def survey(context: Context, *, rows: bool = True) -> Survey:
    """Everything about the pipeline; `rows` False looks at no rows. Raises BridgeError."""
    mappings = context.mappings()
    found = Survey({name: m for name, m in mappings.items() if m.target is not None})
    source = context.source(database="")
    database = context.source_endpoint.database
    found.add(server_findings(source))
    may_read = _rights(context, source, found)
    kafka = _kafka(context, found)
    # Without SELECT the catalogue looks empty, and all that follows would be wrong.
    if may_read:
        known = read_catalog(source, database)
        found.catalog = {name: table for name, table in known.items() if name in found.mappings}
        _definitions(found, known, set(mappings), source, database)
        if rows:
            _rows(context, source, found, kafka)
        if kafka is not None:
            plans = list(found.plans.values())
            found.add(kafka.findings(plans, known, found.catalog, source, rows=rows))
            found.findings = kafka.seen(found.findings)
    target = context.target(autocommit=True)
    made = made_targets(target, context.pipeline)
    found.add(target_findings(target, list(found.plans.values()), made))
    return found


def story(context: Context, name: TableName, mapping: TableMapping) -> Survey:
    """What definition, mapping and target say of one table; no rows are looked at."""
    found = Survey({name: mapping})
    source = context.source(database="")
    found.catalog = read_catalog(source, name.schema, [name.table])
    if mapping.target is None or name not in found.catalog:
        return found
    dialect = read_dialect(source)
    _compile(found, found.catalog[name])
    found.add(schema_findings(found.catalog, dialect, _consented(found)))
    found.add(one for one in object_findings(source, name.schema) if one.table == str(name))
    plans = list(found.plans.values())
    found.add(plan_findings(plans))
    return found


def _kafka(context: Context, found: Survey) -> KafkaSurvey | None:
    if context.settings.pipeline.capture.kind != "kafka":
        return None
    # Kafka's client takes a quarter of a second to load.
    from bridge.cli.survey_kafka import survey_kafka

    return survey_kafka(context.settings, found.mappings)


def _rights(context: Context, source: pymysql.Connection[Any], found: Survey) -> bool:
    """Looks at the source account's rights; whether it may SELECT."""
    database = context.source_endpoint.database
    tables = [name.table for name in found.mappings if name.schema == database]
    lock = any(mapping.lock for mapping in found.mappings.values())
    table, _ = context.heartbeat() or (None, 0.0)
    missing = grant_findings(source, database, tables, lock_tables=lock, heartbeat=table)
    if context.copy_endpoint is not context.source_endpoint:
        copy_from = context.copy_source(database="")
        there = grant_findings(copy_from, database, tables, lock_tables=lock)
        missing += [one for one in there if one.code == "G001"]
    found.add(missing)
    return not any(one.code == "G001" and "SELECT" in one.message for one in missing)


def _definitions(
    found: Survey,
    known: dict[TableName, SourceTable],
    mapped: set[TableName],
    source: pymysql.Connection[Any],
    database: str,
) -> None:
    for name in found.mappings:
        if name in known:
            _compile(found, known[name])
        else:
            message = f"there is no table {name} ({found.mappings[name].file})"
            found.findings.append(finding("M003", table=str(name), message=message))
    found.add(
        finding("M002", table=str(name), message="no mapping file is about it")
        for name in known
        if name not in mapped and name.table not in OWN_TABLES
    )
    found.add(schema_findings(found.catalog, read_dialect(source), _consented(found)))
    found.add(object_findings(source, database))
    found.add(plan_findings(list(found.plans.values())))


def _compile(found: Survey, table: SourceTable) -> None:
    mapping = found.mappings[table.name]
    try:
        plan = compile_table(mapping, table)
    except MappingError as error:
        found.findings.append(
            finding("M001", table=str(table.name), message=error.message, hint=error.hint)
        )
        return
    found.plans[table.name] = plan
    found.add(mapping_findings(mapping, plan))


def _rows(
    context: Context, source: pymysql.Connection[Any], found: Survey, kafka: KafkaSurvey | None
) -> None:
    with context.out.progress("looking at rows", total=len(found.plans)) as advance:
        for name, plan in found.plans.items():
            advance(0, str(name))
            probes = probes_of(plan.table) + (kafka.probes(plan) if kafka else [])
            found.add(scan_table(source, plan.table, probes=probes))
            advance(1)


def _consented(found: Survey) -> Sequence[TableName]:
    return [name for name, mapping in found.mappings.items() if mapping.lock]


def rights(findings: Iterable[Finding]) -> dict[str, list[str]]:
    """The lines that give what is missing, for each side."""
    sides = {"source": SOURCE_RIGHTS, "target": TARGET_RIGHTS}
    found = list(findings)
    return {
        side: list(dict.fromkeys(one.hint for one in found if one.code in codes))
        for side, codes in sides.items()
    }
