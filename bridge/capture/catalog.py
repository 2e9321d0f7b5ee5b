"""The source's catalogue: every table of a database as a SourceTable.

A handful of queries over information_schema, each for all tables at once. MySQL 5.6 to 9 and
MariaDB 10.5 and later differ in the columns that exist and in what they print; `catalog_text` reads
the latter. A table that changes while the catalogue is read may show a mixture of two definitions:
whoever needs the definition at a position has to prove that no DDL came between.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

import pymysql
from pymysql.cursors import Cursor

from bridge.capture import catalog_text
from bridge.capture.dialect import Dialect, read_dialect
from bridge.errors import SourceError
from bridge.names import TableName
from bridge.types.base import SourceColumn
from bridge.types.table import Action, Check, ForeignKey, IndexPart, SourceIndex, SourceTable

Row = tuple[Any, ...]

_TABLES = """
SELECT table_name, engine, table_rows, data_length, index_length, auto_increment,
       table_collation, create_options, table_comment
  FROM information_schema.tables
 WHERE table_schema = %s AND table_type = 'BASE TABLE'{only}"""

_COLUMNS = """
SELECT table_name, column_name, ordinal_position, data_type, column_type, is_nullable,
       character_maximum_length, numeric_precision, numeric_scale, datetime_precision,
       character_set_name, collation_name, column_default, extra, column_comment, {expression}
  FROM information_schema.columns
 WHERE table_schema = %s{only}
 ORDER BY table_name, ordinal_position"""

_INDEXES = """
SELECT table_name, index_name, column_name, sub_part, collation, non_unique, index_type,
       index_comment, {expression}
  FROM information_schema.statistics
 WHERE table_schema = %s{only}
 ORDER BY table_name, index_name, seq_in_index"""

_KEY_PARTS = """
SELECT table_name, constraint_name, column_name, referenced_table_schema, referenced_table_name,
       referenced_column_name
  FROM information_schema.key_column_usage
 WHERE table_schema = %s AND referenced_table_name IS NOT NULL{only}
 ORDER BY table_name, constraint_name, ordinal_position"""

_KEY_RULES = """
SELECT table_name, constraint_name, delete_rule, update_rule
  FROM information_schema.referential_constraints
 WHERE constraint_schema = %s{only}"""

_CHECKS_MARIADB = """
SELECT table_name, constraint_name, check_clause
  FROM information_schema.check_constraints
 WHERE constraint_schema = %s{only}"""

_CHECKS_MYSQL = """
SELECT t.table_name, c.constraint_name, c.check_clause
  FROM information_schema.table_constraints AS t
  JOIN information_schema.check_constraints AS c
    ON c.constraint_schema = t.constraint_schema AND c.constraint_name = t.constraint_name
 WHERE t.table_schema = %s AND t.constraint_type = 'CHECK' AND t.enforced = 'YES'{only}"""


def read_catalog(
    conn: pymysql.Connection[Cursor], database: str, tables: Collection[str] | None = None
) -> dict[TableName, SourceTable]:
    """All base tables of the database, or those named, in the order of their names.

    Views, sequences and temporary tables are left out; so are MariaDB's system-versioned tables,
    whose rows in the binlog are not those that a query sees. A named table that does not exist is
    simply not in the result. Sets `information_schema_stats_expiry` (MySQL 8.0+) and
    `show_gipk_in_create_table_and_information_schema` (8.0.30+) of the session, so that counters
    are fresh and generated invisible keys are seen. Raises SourceError where a definition cannot
    be read.
    """
    reader = _Reader(conn, read_dialect(conn), database, tables)
    reader.prepare_session()
    columns = reader.columns()
    primary, indexes = reader.indexes()
    foreign_keys = reader.foreign_keys()
    checks = reader.checks()
    found: dict[TableName, SourceTable] = {}
    for row in sorted(reader.rows(_TABLES), key=lambda r: str(r[0])):
        table = str(row[0])
        if table not in columns:
            continue  # dropped between two queries
        json, kept = _split_checks(columns[table], checks.get(table, ()), reader.dialect)
        found[TableName(database, table)] = _table(
            database,
            row,
            reader.dialect,
            columns=tuple(_as_json(c) if c.name in json else c for c in columns[table]),
            primary_key=primary.get(table, ()),
            indexes=tuple(indexes.get(table, ())),
            foreign_keys=tuple(foreign_keys.get(table, ())),
            checks=kept,
        )
    return found


def fingerprint(columns: Iterable[SourceColumn], primary_key: Sequence[str]) -> str:
    """Eight hex digits over what a definition says about rows.

    Names, order, types, charsets, labels, generated, nullability and the primary key; not defaults,
    comments, display widths (but for tinyint(1)), secondary indexes or counters.
    """
    said: list[object] = [tuple(primary_key)]
    said += [
        (
            c.name,
            c.data_type,
            c.column_type.startswith("tinyint(1)"),
            c.unsigned,
            c.length,
            c.precision,
            c.scale,
            c.fsp,
            _modern(c.charset),
            _modern(c.collation),
            c.labels,
            c.generated,
            c.expression,
            c.nullable,
        )
        for c in columns
    ]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:8]


def _modern(name: str | None) -> str | None:
    """``utf8`` in its later spelling utf8mb3, so that a server's upgrade changes no fingerprint."""
    if name is not None and (name == "utf8" or name.startswith("utf8_")):
        return "utf8mb3" + name[4:]
    return name


class _Reader:
    """The queries of one reading, for one database and perhaps some tables of it."""

    def __init__(
        self,
        conn: pymysql.Connection[Cursor],
        dialect: Dialect,
        database: str,
        tables: Collection[str] | None,
    ) -> None:
        self.conn = conn
        self.dialect = dialect
        self.database = database
        self.tables = None if tables is None else frozenset(tables)

    def prepare_session(self) -> None:
        """Asks for fresh counters and visible generated keys, where there are such settings."""
        with self.conn.cursor(Cursor) as cursor:
            if self.dialect.mysql_since(8, 0, 0):
                cursor.execute("SET SESSION information_schema_stats_expiry = 0")
            if self.dialect.mysql_since(8, 0, 30):
                cursor.execute("SET SESSION show_gipk_in_create_table_and_information_schema = ON")

    def rows(self, query: str, **parts: str) -> list[Row]:
        """A query's rows whose first column is one of the tables asked for."""
        if self.tables is not None and not self.tables:
            return []
        names = sorted(self.tables or ())
        column = "t.table_name" if " AS t" in query else "table_name"
        only = f" AND {column} IN ({', '.join(['%s'] * len(names))})" if names else ""
        with self.conn.cursor(Cursor) as cursor:
            cursor.execute(query.format(only=only, **parts), (self.database, *names))
            found = [tuple(_text(value) for value in row) for row in cursor.fetchall()]
        # Comparisons in information_schema may ignore case and trailing spaces.
        return [row for row in found if self.tables is None or row[0] in self.tables]

    def columns(self) -> dict[str, list[SourceColumn]]:
        """The columns of each table, in the order of the table."""
        has = self.dialect.mariadb or self.dialect.mysql_since(5, 7, 0)
        by_table: dict[str, list[SourceColumn]] = defaultdict(list)
        for row in self.rows(_COLUMNS, expression="generation_expression" if has else "''"):
            by_table[row[0]].append(_column(row[1:], self.dialect))
        return by_table

    def indexes(self) -> tuple[dict[str, tuple[str, ...]], dict[str, list[SourceIndex]]]:
        """The primary keys, and the other indexes, of each table."""
        expression = "expression" if self.dialect.mysql_since(8, 0, 13) else "NULL"
        grouped: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in self.rows(_INDEXES, expression=expression):
            grouped[row[0], row[1]].append(row)
        primary: dict[str, tuple[str, ...]] = {}
        others: dict[str, list[SourceIndex]] = defaultdict(list)
        for (table, name), rows in grouped.items():
            if name == "PRIMARY":
                primary[table] = tuple(row[2] for row in rows)
            else:
                others[table].append(_index(name, rows))
        return primary, others

    def foreign_keys(self) -> dict[str, list[ForeignKey]]:
        """The foreign keys of each table."""
        rules = {(row[0], row[1]): (row[2], row[3]) for row in self.rows(_KEY_RULES)}
        grouped: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in self.rows(_KEY_PARTS):
            grouped[row[0], row[1]].append(row)
        # MariaDB shows the rules only to accounts that may do more than SELECT.
        for table in sorted({table for table, name in grouped if (table, name) not in rules}):
            unsaid = "RESTRICT" if self.dialect.mariadb else "NO ACTION"
            printed = catalog_text.parse_key_rules(self.show_create(table), unsaid)
            rules |= {(table, name): rule for name, rule in printed.items()}
        by_table: dict[str, list[ForeignKey]] = defaultdict(list)
        for (table, name), rows in grouped.items():
            if (table, name) not in rules:
                raise SourceError(
                    f"the rules of foreign key {name} of {self.database}.{table} cannot be read",
                    "was it dropped just now? run it again",
                )
            on_delete, on_update = rules[table, name]
            by_table[table].append(
                ForeignKey(
                    name,
                    tuple(row[2] for row in rows),
                    TableName(rows[0][3], rows[0][4]),
                    tuple(row[5] for row in rows),
                    cast(Action, on_delete),
                    cast(Action, on_update),
                )
            )
        return by_table

    def show_create(self, table: str) -> str:
        """SHOW CREATE TABLE's text, which may hold bytes that are no text (in binary defaults)."""
        unicode, self.conn.use_unicode = self.conn.use_unicode, False
        try:
            with self.conn.cursor(Cursor) as cursor:
                cursor.execute(f"SHOW CREATE TABLE {TableName(self.database, table).mysql}")
                row = cursor.fetchone()
        finally:
            self.conn.use_unicode = unicode
        return row[1].decode(errors="replace") if row else ""

    def checks(self) -> dict[str, list[Check]]:
        """The enforced CHECK constraints of each table."""
        if self.dialect.mariadb:
            query = _CHECKS_MARIADB
        elif self.dialect.mysql_since(8, 0, 16):
            query = _CHECKS_MYSQL
        else:
            return {}
        by_table: dict[str, list[Check]] = defaultdict(list)
        for table, name, condition in sorted(self.rows(query)):
            text = condition if self.dialect.mariadb else catalog_text.unescape(condition)
            by_table[table].append(Check(name, text))
        return by_table


def _text(value: object) -> object:
    """MySQL 8 gives some columns of information_schema as binary strings."""
    return value.decode() if isinstance(value, bytes) else value


def _column(row: Row, dialect: Dialect) -> SourceColumn:
    (name, ordinal, kind, column_type, nullable, length, precision, scale, fsp) = row[:9]
    charset, collation, default, extra, comment, expression = row[9:]
    data_type = str(kind).lower()
    generated = catalog_text.parse_generated(extra)
    if dialect.mariadb:
        value, is_expression = catalog_text.default_mariadb(default)
    else:
        value, is_expression = catalog_text.default_mysql(default, extra, data_type)
        if dialect.version >= (8, 0, 0):
            expression = catalog_text.unescape(expression or "")
    labels = catalog_text.parse_labels(column_type)
    if data_type == "bit":
        length, precision = precision, None
    return SourceColumn(
        name=name,
        ordinal=int(ordinal),
        data_type=data_type,
        column_type=column_type,
        nullable=nullable == "YES",
        unsigned="unsigned" in column_type.lower() and not labels,
        length=None if labels or length is None else int(length),
        precision=None if precision is None else int(precision),
        scale=None if scale is None else int(scale),
        fsp=int(fsp or 0),
        charset=charset,
        collation=collation,
        labels=labels,
        default=None if generated else value,
        default_is_expression=is_expression and not generated,
        generated=generated,
        expression=expression if generated else "",
        auto_increment="auto_increment" in extra.lower(),
        on_update=catalog_text.parse_on_update(extra),
        comment=comment or "",
        invisible="INVISIBLE" in extra.upper(),
        flavor=dialect.flavor,
    )


def _as_json(column: SourceColumn) -> SourceColumn:
    return replace(column, data_type="json")


def _split_checks(
    columns: Sequence[SourceColumn], checks: Iterable[Check], dialect: Dialect
) -> tuple[frozenset[str], tuple[Check, ...]]:
    """The columns that are MariaDB's JSON, and the checks that say more than that.

    MariaDB's JSON is longtext in utf8mb4_bin with a json_valid check (manual, "JSON Data Type").
    """
    if not dialect.mariadb:
        return frozenset(), tuple(checks)
    texts = {c.name for c in columns if c.data_type == "longtext" and c.collation == "utf8mb4_bin"}
    json = {
        name for check in checks if (name := catalog_text.json_column(check.condition)) in texts
    }
    return frozenset(json), tuple(
        check for check in checks if catalog_text.json_column(check.condition) not in json
    )


def _index(name: str, rows: Sequence[Row]) -> SourceIndex:
    kind = str(rows[0][6]).upper()
    plain = kind not in ("FULLTEXT", "SPATIAL")  # those print a length that means nothing
    parts = tuple(
        IndexPart(
            column=row[2] or "",
            prefix=int(row[3]) if plain and row[3] is not None else None,
            expression=catalog_text.unescape(row[8]) if row[8] else "",
            descending=row[4] == "D",
        )
        for row in rows
    )
    return SourceIndex(name, parts, unique=not int(rows[0][5]), kind=kind, comment=rows[0][7] or "")


def _table(
    database: str,
    row: Row,
    dialect: Dialect,
    *,
    columns: tuple[SourceColumn, ...],
    primary_key: tuple[str, ...],
    indexes: tuple[SourceIndex, ...],
    foreign_keys: tuple[ForeignKey, ...],
    checks: tuple[Check, ...],
) -> SourceTable:
    name, engine, count, data, index, counter, collation, options, comment = row
    return SourceTable(
        name=TableName(database, name),
        flavor=dialect.flavor,
        engine=engine or "",
        columns=columns,
        primary_key=primary_key,
        indexes=indexes,
        foreign_keys=foreign_keys,
        checks=checks,
        rows=int(count or 0),
        bytes=int(data or 0) + int(index or 0),
        charset=str(collation or "utf8mb4").partition("_")[0],
        comment=comment or "",
        auto_increment=None if counter is None else int(counter),
        partitioned="partitioned" in str(options or "").lower(),
        fingerprint=fingerprint(columns, primary_key),
    )
