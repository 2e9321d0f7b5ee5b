"""The bridge's own tables in the source, and what their rows say in the source's log.

An operation of the dual-write layer is one row, inserted in the transaction that it describes. A
marker is a row that a switch writes: from its commit on the stream leaves the tables that it names
to the target, or takes them back. Neither is ever updated; old ones are deleted, which the stream
ignores. Who ends a cutover for good renames the tables, by a statement that the log tells from
anybody else's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from uuid import UUID

from bridge.capture.binlog import events as ev
from bridge.capture.binlog.rows import RowDecoder, compile_decoder
from bridge.capture.binlog.table_map import TableMap
from bridge.change.batch import Handover, Image, Op
from bridge.errors import SourceError, TableStopped
from bridge.mapping.compile import compile_table
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, bindable, fit_mysql, quote_mysql
from bridge.reverse.position import REVERSE_TABLE
from bridge.sink.cascade import fields
from bridge.types.base import SourceColumn
from bridge.types.table import SourceTable

OPS_TABLE = "_bridge_op"
AUTHORITY_TABLE = "_bridge_authority"
AUTHORITY_VIEW = "_bridge_authority_now"
ANSWERS_TABLE = "_bridge_answer"
MARKERS_TABLE = "_bridge_marker"
OWN_TABLES = frozenset({OPS_TABLE, AUTHORITY_TABLE, ANSWERS_TABLE, MARKERS_TABLE, REVERSE_TABLE})
"""Tables of the bridge in the source's database, which are carried nowhere."""
PUT_AWAY = "_bridge_old_"


def definitions(database: str) -> dict[str, str]:
    """The statements that make the layer's tables, and a view, in a database of the source."""
    place = quote_mysql(database)
    ops, authority, view, answers, markers = (
        f"{place}.{quote_mysql(name)}"
        for name in (OPS_TABLE, AUTHORITY_TABLE, AUTHORITY_VIEW, ANSWERS_TABLE, MARKERS_TABLE)
    )
    text = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"
    make_ops = (
        f"CREATE TABLE IF NOT EXISTS {ops} ("
        "seq bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, op_id binary(16) NOT NULL,"
        " epoch bigint NOT NULL, made timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,"
        " UNIQUE KEY op_id (op_id)) ENGINE=InnoDB"
    )
    make_authority = (
        f"CREATE TABLE IF NOT EXISTS {authority} ("
        f"grp varchar(64) {text} PRIMARY KEY, pipeline varchar(63) {text},"
        " epoch bigint NOT NULL, authority varchar(6) NOT NULL, mode varchar(11) NOT NULL,"
        " reads_percent int NOT NULL DEFAULT 0) ENGINE=InnoDB"
    )
    make_view = (
        f"CREATE OR REPLACE VIEW {view} AS"
        f" SELECT pipeline, grp, epoch, authority, mode, reads_percent FROM {authority}"
    )
    make_answers = (
        f"CREATE TABLE IF NOT EXISTS {answers} ("
        "op_id binary(16) NOT NULL PRIMARY KEY, request binary(32) NOT NULL, answer longblob,"
        " made timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, KEY made (made)) ENGINE=InnoDB"
    )
    make_markers = (
        f"CREATE TABLE IF NOT EXISTS {markers} ("
        "id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, stage varchar(9) NOT NULL,"
        " tables longtext CHARACTER SET utf8mb4 NOT NULL,"
        " made timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP) ENGINE=InnoDB"
    )
    return {
        OPS_TABLE: make_ops,
        AUTHORITY_TABLE: make_authority,
        AUTHORITY_VIEW: make_view,
        ANSWERS_TABLE: make_answers,
        MARKERS_TABLE: make_markers,
    }


def compile_own(table_map: TableMap) -> RowDecoder:
    """The decoder of operations or markers; raises SourceError for a table of another form."""
    try:
        return compile_decoder(_plan(table_map.name), table_map)
    except TableStopped as error:
        raise SourceError(
            f"{table_map.name} is not the table that the bridge makes: {error.message}",
            "rename it, and make the bridge's with: dbbridge cutover mode",
        ) from error


def inserted_ops(decoder: RowDecoder, kind: int, event: bytes, at: str) -> list[Op]:
    """The operations that a rows event tells of."""
    if kind != ev.INSERT:
        return []
    return [_op(after) for _, after in decoder.pairs(kind, event, at)]


def inserted_markers(decoder: RowDecoder, kind: int, event: bytes, at: str) -> list[Handover]:
    """What the markers of a rows event say."""
    if kind != ev.INSERT:
        return []
    return [_handover(after) for _, after in decoder.pairs(kind, event, at)]


def marker(database: str, stage: str, tables: Iterable[TableName]) -> tuple[str, tuple[str, str]]:
    """The statement that writes a marker, with its values; its insert id is the marker's number."""
    place = bindable(TableName(database, MARKERS_TABLE).mysql)
    names = json.dumps([[name.schema, name.table] for name in tables])
    return f"INSERT INTO {place} (stage, tables) VALUES (%s, %s)", (stage, names)


def put_away_name(table: TableName) -> TableName:
    """What a table is called that the source needs no more."""
    return TableName(table.schema, fit_mysql(f"{PUT_AWAY}{table.table}"))


def put_away(table: TableName) -> str:
    """The statement that gives it that name; it stands in the log as it is sent."""
    return f"/* dbbridge */ RENAME TABLE {table.mysql} TO {put_away_name(table).mysql}"


def _op(image: Image | None) -> Op:
    if type(image) is not bytes:
        raise SourceError("the source's log has an operation without a name", "is its disk well?")
    seq, op_id, *_ = image.split(b"\t")
    return Op(UUID(op_id[-32:].decode()), int(seq))


def _handover(image: Image | None) -> Handover:
    if type(image) is not bytes:
        raise SourceError("the source's log has a marker without tables", "is its disk well?")
    number, stage, tables, *_ = fields(image)
    names = tuple(TableName(schema, table) for schema, table in json.loads(tables or "[]"))
    return Handover(int(number or 0), names, live=stage == "streaming")


@cache
def _plan(name: TableName) -> TablePlan:
    from bridge.mapping.propose import (
        propose_table,
    )  # a tenth of a verb's start, hardly ever needed

    table = SourceTable(
        name,
        "mysql",
        "InnoDB",
        tuple(_COLUMNS[name.table]),
        (_COLUMNS[name.table][0].name,),
    )
    mapping = propose_table(table, (), target=TableName("public", name.table))
    return compile_table(mapping, table)


_COLUMNS = {
    OPS_TABLE: (
        SourceColumn("seq", 1, "bigint", "bigint", nullable=False, precision=19, scale=0),
        SourceColumn("op_id", 2, "binary", "binary(16)", nullable=False, length=16),
        SourceColumn("epoch", 3, "bigint", "bigint", nullable=False, precision=19, scale=0),
        SourceColumn("made", 4, "timestamp", "timestamp", nullable=False),
    ),
    MARKERS_TABLE: (
        SourceColumn("id", 1, "bigint", "bigint", nullable=False, precision=19, scale=0),
        SourceColumn(
            "stage", 2, "varchar", "varchar(9)", nullable=False, length=9, charset="utf8mb4"
        ),
        SourceColumn("tables", 3, "longtext", "longtext", nullable=False, charset="utf8mb4"),
        SourceColumn("made", 4, "timestamp", "timestamp", nullable=False),
    ),
}
