"""Hazards that a table's definition has, and things that are not moved."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress

import pymysql
from pymysql.cursors import Cursor

from bridge.capture.dialect import Dialect
from bridge.findings import Finding, finding
from bridge.mapping.keys import possible_keys
from bridge.mapping.widths import KEY_BYTES, key_bytes
from bridge.names import POSTGRES_NAME_BYTES, TableName
from bridge.types import family_of
from bridge.types.base import SourceColumn
from bridge.types.table import SourceIndex, SourceTable

_TRANSACTIONAL = frozenset({"innodb", "rocksdb", "tokudb"})
_LOGGED_SINCE = (9, 6, 0)
"""From this version on MySQL carries foreign keys out above the engine and logs what they do."""
_TRIGGERS = """
SELECT event_object_table, trigger_name, action_timing, event_manipulation
  FROM information_schema.triggers WHERE event_object_schema = %s ORDER BY 1, 2"""
_LEFT_OUT = """
SELECT table_name, table_type FROM information_schema.tables
 WHERE table_schema = %s AND table_type <> 'BASE TABLE' ORDER BY 1"""


def schema_findings(
    catalog: Mapping[TableName, SourceTable],
    dialect: Dialect,
    consented: Collection[TableName] = (),
) -> list[Finding]:
    """What the definitions say, table by table; no query is made.

    `consented` are the tables whose mapping allows a short lock for the copy.
    """
    found: list[Finding] = []
    for table in catalog.values():
        found += _key(table, dialect, table.name in consented)
        for rule in _RULES:
            found += rule(table)
        found += _cascades(table, dialect, catalog)
    return found


def object_findings(conn: pymysql.Connection[Cursor], database: str) -> list[Finding]:
    """Triggers (as far as the account may see them), views, sequences and the like."""
    found = []
    with suppress(pymysql.err.OperationalError), conn.cursor(Cursor) as cursor:
        cursor.execute(_TRIGGERS, (database,))
        for table, name, timing, event in cursor.fetchall():
            message = f"trigger {name} ({timing} {event})"
            found.append(finding("T013", table=str(TableName(database, table)), message=message))
    with conn.cursor(Cursor) as cursor:
        cursor.execute(_LEFT_OUT, (database,))
        for table, kind in cursor.fetchall():
            name = str(TableName(database, table))
            found.append(finding("T023", table=name, message=f"a {str(kind).lower()}"))
    return found


def _key(table: SourceTable, dialect: Dialect, consented: bool) -> Iterator[Finding]:
    if table.primary_key:
        return
    keys = possible_keys(table)
    if keys:
        message = f"no primary key; its unique key ({', '.join(keys[0])}) takes its place"
        yield _about(table, "T001", message, severity="info", hint="")
    elif dialect.mariadb or consented:
        yield _about(table, "T001", "no key: equal rows are counted", severity="warning")
    else:
        yield _about(table, "T001", "no key, and no consent to a short lock for its copy")


def _engine(table: SourceTable) -> Iterator[Finding]:
    if table.engine.lower() not in _TRANSACTIONAL:
        yield _about(table, "T002", f"its engine is {table.engine or 'not known'}")


def _partitions(table: SourceTable) -> Iterator[Finding]:
    if table.partitioned:
        yield _about(table, "T010", "it is partitioned")


def _columns(table: SourceTable) -> Iterator[Finding]:
    for column in table.columns:
        said: list[tuple[str, str]] = []
        if family_of(column) is None:
            said.append(("T003", f"no conversion of {column.column_type} is known"))
        if column.on_update:
            said.append(("T014", f"ON UPDATE {column.on_update}"))
        if column.column_type.startswith("tinyint(1)"):
            said.append(("T015", "a truth value or a small number"))
        if column.data_type == "bigint" and column.unsigned:
            said.append(("T016", "values may be beyond bigint"))
        if any("?" in label for label in column.labels):
            said.append(("T021", "a label holds a question mark, or a character printed as one"))
        for code, message in said:
            yield finding(code, table=str(table.name), column=column.name, message=message)


def _names(table: SourceTable) -> Iterator[Finding]:
    names = [("", table.name.table), *((c.name, c.name) for c in table.columns)]
    for column, name in names:
        if len(name.encode()) > POSTGRES_NAME_BYTES:
            message = f"the name takes {len(name.encode())} bytes"
            yield finding("T004", table=str(table.name), column=column, message=message)


def _indexes(table: SourceTable) -> Iterator[Finding]:
    for index in table.indexes:
        if index.kind == "FULLTEXT":
            yield _about(table, "T011", f"index {index.name}")
        elif index.kind == "SPATIAL":
            yield _about(table, "T012", f"index {index.name}")
        else:
            yield from _sorted_index(table, index)
    width = sum(key_bytes(table.column(name)) for name in table.primary_key)
    if width > KEY_BYTES:
        yield _about(table, "T008", f"the primary key takes up to {width:,} bytes")
    for name in table.primary_key:
        if caseless(table.column(name)):
            message = f"the primary key compares as {table.column(name).collation}"
            yield finding("T005", table=str(table.name), column=name, message=message)


def _sorted_index(table: SourceTable, index: SourceIndex) -> Iterator[Finding]:
    parts = [(part, table.column(part.column)) for part in index.parts if part.column]
    if index.unique:
        for part, column in parts:
            where = {"table": str(table.name), "column": column.name}
            if caseless(column):
                message = f"unique index {index.name} compares as {column.collation}"
                yield finding("T005", message=message, **where)
            if part.prefix is not None:
                message = f"unique index {index.name} covers {part.prefix} characters"
                yield finding("T007", message=message, **where)
    width = sum(key_bytes(column, part.prefix) for part, column in parts)
    if width > KEY_BYTES and index.kind != "HASH":
        yield _about(table, "T008", f"index {index.name} takes up to {width:,} bytes")


def caseless(column: SourceColumn) -> bool:
    """Whether the source takes different texts of the column for equal."""
    collation = column.collation or ""
    if column.labels:
        return False
    return bool(collation) and not collation.endswith(("_bin", "_cs")) and collation != "binary"


def _foreign_keys(table: SourceTable) -> Iterator[Finding]:
    for key in table.foreign_keys:
        for name in key.columns:
            if caseless(table.column(name)):
                message = f"foreign key {key.name} compares as {table.column(name).collation}"
                yield finding("T006", table=str(table.name), column=name, message=message)


def _cascades(
    table: SourceTable, dialect: Dialect, catalog: Mapping[TableName, SourceTable]
) -> Iterator[Finding]:
    if dialect.mysql_since(*_LOGGED_SINCE):
        return
    for key in table.foreign_keys:
        if key.cascades:
            there = "" if key.parent in catalog else ", which is not among the tables moved"
            actions = f"{_action('DELETE', key.on_delete)}{_action('UPDATE', key.on_update)}"
            message = f"foreign key {key.name} to {key.parent}{there}:{actions}"
            yield _about(table, "T009", message, severity="error" if there else "warning")


def _action(word: str, action: str) -> str:
    return f" ON {word} {action}" if action in ("CASCADE", "SET NULL") else ""


def _about(table: SourceTable, code: str, message: str, **said: str) -> Finding:
    return finding(code, table=str(table.name), message=message, **said)


_RULES: tuple[Callable[[SourceTable], Iterator[Finding]], ...] = (
    _engine,
    _partitions,
    _columns,
    _names,
    _indexes,
    _foreign_keys,
)
