"""What ``dbbridge init`` does table by table: propose a file, or add what is new to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

from bridge import yamlfile
from bridge.capture.catalog import read_catalog
from bridge.capture.findings import scan_table
from bridge.cli.context import Context
from bridge.errors import ConfigError
from bridge.mapping import files
from bridge.mapping.groups import propose_groups
from bridge.mapping.merge import merge
from bridge.mapping.model import DEFAULT_POLICIES, Defaults, TableMapping
from bridge.mapping.notation import write_table
from bridge.mapping.propose import UNDECIDED, propose_table
from bridge.mapping.write import write_defaults, write_mapping
from bridge.names import TableName
from bridge.replicate.ops import OWN_TABLES
from bridge.types.table import SourceTable

_SHOWN_BYTES = 10**9
"""From this size on a new file says how large the table is."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one table's file: new, updated, kept, left out, or gone (from the source).

    `added` is what a merge added, `open` what a person has to decide.
    """

    table: str
    target: str
    file: str
    outcome: str
    columns: int = 0
    added: tuple[str, ...] = ()
    open: tuple[str, ...] = ()


def look(context: Context) -> Mapping[TableName, SourceTable]:
    """The source's tables. Raises ConfigError if there are none, and BridgeError."""
    found = read_catalog(context.source(), context.source_endpoint.database)
    catalog = {name: table for name, table in found.items() if name.table not in OWN_TABLES}
    if not catalog:
        raise ConfigError(
            f"there are no tables in {context.source_endpoint.place}",
            "check the database's name, and that the account may SELECT from its tables",
        )
    return catalog


def bring_up(context: Context, catalog: Mapping[TableName, SourceTable]) -> list[Outcome]:
    """Brings the mapping files up to the source's catalogue. Raises BridgeError."""
    directory = context.settings.mappings
    database = context.source_endpoint.database
    known = files.read_all(directory) if any(directory.glob("**/*.yaml")) else {}
    source = context.source()
    work = _Work(source, directory, known, propose_groups(catalog.values()))
    work.write_defaults(database)
    outcomes = []
    with context.out.progress("looking at tables", total=len(catalog)) as advance:
        for table in catalog.values():
            advance(0, str(table.name))
            outcomes.append(work.one(table))
            advance(1)
    gone = [name for name in known if name.schema == database and name not in catalog]
    files.read_all(directory)
    return [*outcomes, *(_gone(known[name]) for name in gone)]


class _Work:
    """One run over all tables."""

    def __init__(
        self,
        source: pymysql.Connection[Any],
        directory: Path,
        known: Mapping[TableName, TableMapping],
        groups: Mapping[TableName, str],
    ) -> None:
        self.source = source
        self.directory = directory
        self.known = known
        self.groups = groups
        self.taken = set(directory.glob("**/*.yaml"))

    def write_defaults(self, database: str) -> None:
        path = self.directory / files.file_name(database) / files.DEFAULTS_FILE
        if not path.exists():
            policies = dict.fromkeys(DEFAULT_POLICIES, "quarantine")
            files.write_file(path, write_defaults(Defaults(policies=policies)))

    def one(self, table: SourceTable) -> Outcome:
        mapping = self.known.get(table.name)
        if mapping is None:
            return self.new(table)
        if mapping.target is None:
            return Outcome(str(table.name), "nothing", mapping.file, "left out")
        return self.merged(mapping, table)

    def new(self, table: SourceTable) -> Outcome:
        proposal = self.proposal(table)
        path = files.path_for(self.directory, table.name, self.taken)
        self.taken.add(path)
        files.write_file(path, write_mapping(proposal, _size(table)))
        return _outcome(proposal, str(path), "new")

    def merged(self, mapping: TableMapping, table: SourceTable) -> Outcome:
        path = Path(mapping.file)
        text = yamlfile.read_text(path)
        result = merge(text, mapping, self.proposal(table), table)
        if result.text != text:
            files.write_file(path, result.text)
        outcome = "updated" if result.text != text else "kept"
        now = files.read_file(path, mapping.defaults)
        return _outcome(now, mapping.file, outcome, result.added, result.open)

    def proposal(self, table: SourceTable) -> TableMapping:
        """The rows are looked at only where something has to be proposed."""
        mapping = self.known.get(table.name)
        unchanged = mapping is not None and mapping.fingerprint == table.fingerprint
        findings = () if unchanged else scan_table(self.source, table)
        return propose_table(table, findings, group=self.groups[table.name])


def _outcome(
    mapping: TableMapping,
    file: str,
    outcome: str,
    added: tuple[str, ...] = (),
    open_: tuple[str, ...] = (),
) -> Outcome:
    undecided = tuple(
        f"column {column.source} ({column.source_type}) cannot be carried: write type: dropped"
        for column in mapping.columns
        if column.target_type == UNDECIDED
    )
    return Outcome(
        table=str(mapping.source),
        target=write_table(mapping.target) if mapping.target else "nothing",
        file=file,
        outcome=outcome,
        columns=sum(not column.dropped for column in mapping.columns),
        added=added,
        open=(*open_, *undecided),
    )


def _gone(mapping: TableMapping) -> Outcome:
    question = ("the table is gone from the source: remove its file",)
    return Outcome(str(mapping.source), "", mapping.file, "gone", open=question)


def _size(table: SourceTable) -> str:
    if table.bytes < _SHOWN_BYTES:
        return ""
    return f"about {table.rows:,} rows, {table.bytes / 10**9:,.0f} GB"
