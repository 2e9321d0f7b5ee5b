"""The dual-write layer's tables in the source, and its operations in the source's log.

An operation is one row, inserted in the transaction that it describes. The row is never updated;
old ones are deleted, which the stream ignores.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from uuid import UUID

from bridge.capture.binlog import events as ev
from bridge.capture.binlog.rows import RowDecoder, compile_decoder
from bridge.capture.binlog.table_map import TableMap
from bridge.change.batch import Image, Op
from bridge.errors import SourceError, TableStopped
from bridge.mapping.compile import compile_table
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, quote_mysql
from bridge.types.base import SourceColumn
from bridge.types.table import SourceTable

OPS_TABLE = "_bridge_op"
AUTHORITY_TABLE = "_bridge_authority"
AUTHORITY_VIEW = "_bridge_authority_now"
ANSWERS_TABLE = "_bridge_answer"
OWN_TABLES = frozenset({OPS_TABLE, AUTHORITY_TABLE, ANSWERS_TABLE})
"""Tables of the bridge in the source's database, which are carried nowhere."""


def definitions(database: str) -> dict[str, str]:
    """The statements that make the layer's tables, and a view, in a database of the source."""
    place = quote_mysql(database)
    ops, authority, view, answers = (
        f"{place}.{quote_mysql(name)}"
        for name in (OPS_TABLE, AUTHORITY_TABLE, AUTHORITY_VIEW, ANSWERS_TABLE)
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
    return {
        OPS_TABLE: make_ops,
        AUTHORITY_TABLE: make_authority,
        AUTHORITY_VIEW: make_view,
        ANSWERS_TABLE: make_answers,
    }


def compile_ops(table_map: TableMap) -> RowDecoder:
    """The decoder of the rows of operations; raises SourceError for a table of another form."""
    try:
        return compile_decoder(_plan(table_map.name), table_map)
    except TableStopped as error:
        raise SourceError(
            f"{table_map.name} is not the table that the dual-write layer makes: {error.message}",
            "rename it, and make the layer's with: dbbridge cutover mode",
        ) from error


def inserted(decoder: RowDecoder, kind: int, event: bytes, at: str) -> list[Op]:
    """The operations that a rows event tells of."""
    if kind != ev.INSERT:
        return []
    return [_op(after) for _, after in decoder.pairs(kind, event, at)]


def _op(image: Image | None) -> Op:
    if type(image) is not bytes:
        raise SourceError("the source's log has an operation without a name", "is its disk well?")
    seq, op_id, *_ = image.split(b"\t")
    return Op(UUID(op_id[-32:].decode()), int(seq))


@cache
def _plan(name: TableName) -> TablePlan:
    from bridge.mapping.propose import (
        propose_table,
    )  # a tenth of a verb's start, hardly ever needed

    table = SourceTable(
        name,
        "mysql",
        "InnoDB",
        tuple(_columns()),
        ("seq",),
    )
    mapping = propose_table(table, (), target=TableName("public", name.table))
    return compile_table(mapping, table)


def _columns() -> Iterable[SourceColumn]:
    yield SourceColumn("seq", 1, "bigint", "bigint", nullable=False, precision=19, scale=0)
    yield SourceColumn("op_id", 2, "binary", "binary(16)", nullable=False, length=16)
    yield SourceColumn("epoch", 3, "bigint", "bigint", nullable=False, precision=19, scale=0)
    yield SourceColumn("made", 4, "timestamp", "timestamp", nullable=False)
