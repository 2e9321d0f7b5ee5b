"""Rows as they are in the source: chunks of a table, a whole table at an exact position, one row.

No lock is taken and nothing is written, but for a table without a key on MySQL. A chunk is read in
one read-only transaction, whose two queries see the same rows: first the lines that the server
makes, then, value by value, the rows that it could make none of.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import pymysql
from pymysql.constants import ER

from bridge.capture.binlog.positions import lower_bound, upper_bound
from bridge.capture.chunks import Bound, chunk_condition, chunk_name, key_index
from bridge.capture.explain import explained
from bridge.capture.keylookup import key_condition
from bridge.capture.prepared import WAY_ON, prepared, undecided
from bridge.capture.rawrows import convert
from bridge.capture.resultset import BLOCK, LineReader, read_rows
from bridge.capture.rowsql import RowSql
from bridge.change.batch import BadRow, Image
from bridge.change.position import Position
from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan

Connection: TypeAlias = "pymysql.Connection[Any]"

LOCK_SECONDS = 5
"""How long a table may be waited for: whoever wants to write it meanwhile waits behind."""
PREPARED_SECONDS = 30
"""How long a copy of a table without a key waits for prepared XA transactions."""
_POLL_SECONDS = 0.1

_NO_LIMIT = (
    "SET SESSION sql_big_selects = 1, sql_select_limit = 18446744073709551615"
    "/*!50708 , max_execution_time = 0 *//*M!100101 , max_statement_time = 0 */"
)
"""No general limit cuts or ends a long read (of time: MySQL 5.7.8, MariaDB 10.1.1)."""
_ALL_WARNINGS = "SET SESSION max_error_count = 65535"
"""MySQL 8 allows that only with SESSION_VARIABLES_ADMIN; what is not shown then stops the table."""
_TOO_LONG = 1301
"""ER_WARN_ALLOWED_PACKET_OVERFLOWED."""
_HARMLESS = frozenset({1287, 1681, 3719, 3720, 3778})
"""Deprecated words and character sets: they say nothing about values."""
_UNCONVERTED = frozenset({1300, 1366, 1977})
"""Bytes without a character were met: `bad` finds them by converting, or a policy replaces them."""
_GATHERED = 64
"""Lines that are converted here and handed out together."""
LOCKED = " LOCK IN SHARE MODE"
"""Waits for who is changing a row, until others see the change; SELECT is all the right it takes.
"""
_SNAPSHOT_ENGINES = frozenset({"innodb", "rocksdb"})


def read_chunk(
    conn: Connection,
    plan: TablePlan,
    lower: Bound | None,
    upper: Bound | None,
    bad: list[BadRow],
) -> Iterator[bytes]:
    """The rows with keys after `lower` up to and with `upper`, as blocks of COPY lines.

    Put together the blocks are lines, each with a newline; a block that ends with a newline ends a
    line. Rows that the target cannot hold are added to `bad`. Closing the iterator early leaves the
    connection usable here (it may be opened anew). Raises TableStopped (``bad-key``,
    ``source-warning``, ``definition-changed``) and pymysql's errors.
    """
    with explained(plan), _transaction(conn):
        condition = chunk_condition(plan, lower, upper)
        yield from _blocks(conn, plan, condition, bad, chunk_name(lower, upper))


def read_row(conn: Connection, plan: TablePlan, key: bytes) -> Image | None:
    """The row with that key (COPY text of its columns) as it is now; None if there is none.

    A commit that stands in the log and that nobody sees yet is waited for. A row that the plan's
    filter leaves out counts as none. Raises what `read_chunk` raises.
    """
    sql = RowSql(plan)
    with explained(plan), _transaction(conn):
        query = _select(plan, sql.values, [key_condition(plan, key)]) + LOCKED
        images = [convert(plan, row, "retry") for row in read_rows(conn, query)]
    return images[0] if images else None


def read_where(
    conn: Connection,
    plan: TablePlan,
    condition: str,
    tags: Sequence[str],
    at: str,
    *,
    locked: bool = False,
) -> list[tuple[tuple[bytes | None, ...], Image]]:
    """The rows under a condition as they are now, each behind the values of the expressions `tags`.

    `at` is where a bad row was met. Rows that the plan's filter leaves out are not among them. With
    `locked` commits that stand in the log and that nobody sees yet are waited for. Raises what
    `read_chunk` raises.
    """
    sql, first = RowSql(plan), len(tags)
    with explained(plan), _transaction(conn):
        query = _select(plan, ", ".join([*tags, sql.values]), [condition])
        query += LOCKED if locked else ""
        return [
            (tuple(row[:first]), convert(plan, row[first:], at)) for row in read_rows(conn, query)
        ]


def prepare_lookups(conn: Connection) -> None:
    """Makes a session fit for `look_up`, for as long as it lasts."""
    _prepare(conn)
    conn.query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")


def look_up(conn: Connection, plan: TablePlan, condition: str, at: str) -> list[Image]:
    """The rows under a condition as they are now, in one round trip and without a transaction.

    The session is one that `prepare_lookups` prepared, in autocommit mode. Otherwise like
    `read_where`.
    """
    sql = RowSql(plan)
    with explained(plan):
        query = _select(plan, sql.values, [condition])
        return [convert(plan, row, at) for row in read_rows(conn, query)]


def keyless_snapshot(
    connect: Callable[[], Connection], plan: TablePlan
) -> tuple[Position, Iterator[bytes]]:
    """All rows of a table without a key, with the position at which exactly they are read.

    Changes up to the position are in the rows, later ones are not. MariaDB's snapshots know their
    position; on MySQL the table is locked for writers for a moment, if the plan allows it. The
    blocks, from a connection of their own, can be read once. Raises TableStopped
    (``needs-brief-lock``, ``needs-transactions``, ``lock-timeout``, ``xa``, and while they are read
    ``bad-row`` and what `read_chunk` raises) and the errors of connections.
    """
    if plan.table.engine.lower() not in _SNAPSHOT_ENGINES:
        raise TableStopped(
            f"{plan.source} has no key, and {plan.table.engine} no snapshots",
            "give the table a primary key, or make it an InnoDB table",
            code="needs-transactions",
        )
    conn = connect()
    try:
        if plan.table.flavor == "mariadb":
            position = _decided_snapshot(conn, plan)
        else:
            position = _locked_snapshot(connect, conn, plan)
    except BaseException:
        conn.close()
        raise
    return position, _whole(conn, plan)


def _decided_snapshot(conn: Connection, plan: TablePlan) -> Position:
    """Opens a snapshot while no XA transaction is prepared.

    One that was prepared before it and is committed later is not in it, and its rows stand in the
    log before it. On MySQL the lock waits for such transactions.
    """
    deadline = time.monotonic() + PREPARED_SECONDS
    while True:
        before = prepared(conn)
        position = lower_bound(conn, with_snapshot=True)
        count = before or prepared(conn)
        if not count:
            return position
        if time.monotonic() > deadline:
            raise TableStopped(
                f"{plan.source}: {undecided(count)}, and it has no key",
                f"{WAY_ON} on the source, then: dbbridge tables resume {plan.source.word}",
                code="xa",
            )
        time.sleep(_POLL_SECONDS)


def _whole(conn: Connection, plan: TablePlan) -> Iterator[bytes]:
    with contextlib.closing(conn), explained(plan):
        _prepare(conn)
        yield from _blocks(conn, plan, "", None, "copy")


def _locked_snapshot(
    connect: Callable[[], Connection], conn: Connection, plan: TablePlan
) -> Position:
    """Opens a snapshot in `conn` while another session keeps writers out of the table.

    The lock is granted when every transaction that wrote the table has ended; those are in
    gtid_executed by then, since a transaction gives its locks back after that. Without GTIDs the
    log's end serves as well: nothing about this table is written there under the lock.
    """
    if not plan.brief_lock:
        raise TableStopped(
            f"{plan.source} has no key, and MySQL gives no exact position without a lock",
            "allow a lock of some milliseconds on the table (copy: {lock: brief} in its mapping"
            " file), or give the table a primary key",
            code="needs-brief-lock",
        )
    with contextlib.closing(connect()) as locking:
        locking.query(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
        try:
            locking.query(f"LOCK TABLES {plan.source.mysql} READ")
        except pymysql.Error as error:
            if error.args[0] != ER.LOCK_WAIT_TIMEOUT:
                raise
            raise TableStopped(
                f"{plan.source}: writers did not let the table go within {LOCK_SECONDS} s",
                "look for long transactions on it (SHOW PROCESSLIST), then:"
                f" dbbridge tables resume {plan.source.word}",
                code="lock-timeout",
            ) from error
        position = lower_bound(conn, with_snapshot=True)
        return position if position.kind == "mysql-gtid" else upper_bound(locking)


def _blocks(
    conn: Connection, plan: TablePlan, condition: str, bad: list[BadRow] | None, at: str
) -> Iterator[bytes]:
    """The rows under a condition; `bad` None: a bad row stops the table."""
    sql = RowSql(plan)
    reader = LineReader(conn, _select(plan, sql.line, [condition]))
    yield from reader
    if reader.warnings:
        _check_warnings(conn, plan, reader)
    if not reader.nulls:
        return
    found = 0
    lines: list[bytes] = []
    for row in read_rows(conn, _select(plan, sql.values, [condition, sql.no_line])):
        found += 1
        image = convert(plan, row, at)
        if isinstance(image, bytes):
            lines.append(image)
        elif bad is None:
            raise _bad_row(plan, image)
        else:
            bad.append(image)
        if len(lines) >= _GATHERED or (lines and len(lines[-1]) > BLOCK // _GATHERED):
            yield from _block(lines)
    yield from _block(lines)
    if found != reader.nulls and plan.table.engine.lower() in _SNAPSHOT_ENGINES:
        raise TableStopped(
            f"{plan.source}, {at}: {reader.nulls} rows had no line, and {found} were read again",
            "the same snapshot gave other rows, which must not be: please report it",
            code="snapshot-differs",
        )


def _block(lines: list[bytes]) -> Iterator[bytes]:
    """The lines as a block, of which nothing is kept; a last long one apart, to copy it less."""
    if lines:
        last = lines.pop()
        if lines:
            yield b"\n".join([*lines, b""])
            lines.clear()
        yield last
        yield b"\n"


def _select(plan: TablePlan, what: str, conditions: list[str]) -> str:
    given = [f"({condition})" for condition in (*conditions, plan.where) if condition]
    where = f" WHERE {' AND '.join(given)}" if given else ""
    hint = key_index(plan).hint if plan.key else ""
    return f"SELECT {what} FROM {plan.source.mysql}{hint}{where}"


def _prepare(conn: Connection) -> None:
    conn.query(_NO_LIMIT)
    try:
        conn.query(_ALL_WARNINGS)
    except pymysql.Error as error:
        if error.args[0] != ER.SPECIFIC_ACCESS_DENIED_ERROR:
            raise


@contextlib.contextmanager
def _transaction(conn: Connection) -> Iterator[None]:
    """One snapshot for all queries inside, taken by the first of them."""
    if not conn.open:
        # A long result that was given up cost the session.
        conn.connect()
    _prepare(conn)
    conn.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    conn.query("START TRANSACTION READ ONLY")
    try:
        yield
    finally:
        # A connection that broke, or was dropped, says so at its next use.
        with contextlib.suppress(pymysql.Error):
            conn.query("COMMIT")


def _check_warnings(conn: Connection, plan: TablePlan, reader: LineReader) -> None:
    """Raises TableStopped unless every warning is one whose rows are cared for."""
    known = {_TOO_LONG} | _HARMLESS
    if reader.nulls or any(column.policy.invalid == "replace" for column in plan.columns):
        known |= _UNCONVERTED
    shown = list(read_rows(conn, "SHOW WARNINGS"))
    for _, code, text in shown:
        if int(code or 0) not in known:
            raise _warned(plan, (text or b"").decode("utf-8", "replace"))
    if len(shown) < reader.warnings:
        raise TableStopped(
            f"{plan.source}: the source has {reader.warnings} warnings while rows are read, and"
            f" shows {len(shown)} of them",
            "grant SESSION_VARIABLES_ADMIN to the bridge's account, so that it can see them all",
            code="source-warning",
        )


def _warned(plan: TablePlan, text: str) -> TableStopped:
    return TableStopped(
        f"{plan.source}: the source warns while its rows are read: {text}",
        "values may come out otherwise than they are stored: look at the filter and the types",
        code="source-warning",
    )


def _bad_row(plan: TablePlan, row: BadRow) -> TableStopped:
    return TableStopped(
        f"{plan.source} has no key, so that a row cannot be set aside:"
        f" the target cannot hold {row.column or 'a row'}: {row.text} ({row.code})",
        "give the column a policy in the mapping file, mend the row, or give the table a key",
        code="bad-row",
    )
