"""Reading one table on either side: sums over ranges, hashes by key, rows of given keys.

A reader holds one session and serves one thread. Each statement sees one consistent state of its
server; nothing is locked.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar

import psycopg
import pymysql
from pymysql.constants import ER

from bridge.capture.binlog.positions import lower_bound, upper_bound
from bridge.capture.chunks import key_index
from bridge.change.position import Position
from bridge.names import bindable, quote_postgres
from bridge.types.base import ColumnPlan
from bridge.verify.digest import SECOND_BITS, SEPARATOR, family, source_text, target_text
from bridge.verify.keys import Keys
from bridge.verify.recheck import Held, Key, Reading, Value
from bridge.verify.subject import VERSION, Subject

T = TypeVar("T")

KEYS_A_QUERY = 500
KEYS_OF_AT_ONCE = 5_000
LOOSE_KEYS_A_QUERY = 50
"""Where whole documents are fetched with the rows."""

LONGEST_SECONDS = 3600.0
"""A statement may take an hour; a shorter limit of the server does not hold here."""
_SOURCE_LIMIT = (
    "SET SESSION sql_mode = '', group_concat_max_len = 1073741824"
    "/*!50708 , max_execution_time = {0:.0f} *//*M!100101 , max_statement_time = {1:.3f} */"
)
"""In milliseconds and seconds (MySQL 5.7.8, MariaDB 10.1.1)."""
_TARGET_LIMIT = (
    "SET statement_timeout = {0:.0f}; SET max_parallel_workers_per_gather = 0;"
    " SET jit = off; SET enable_sort = off"
)
"""In milliseconds. A statement gets one core, as in the source: others have work to do. PostgreSQL
takes ``id / 500`` for as many buckets as there are ids, and would sort all rows to group them;
those that are read in order are read by the key's index."""

Totals = dict[int, tuple[int, int]]
"""By bucket: number of rows, sum of hashes."""


class Glance(NamedTuple):
    """All rows of a range: how many, and one hash over them in the order of their key."""

    rows: int
    hash: str | None
    """None where the server could not build the text that is hashed; equal to nothing."""

    @property
    def short(self) -> int:
        """Its first 60 bits, as of a row's hash."""
        return int(self.hash[:15], 16) if self.hash else 0

    def agrees(self, other: Glance) -> bool:
        """Whether both are of the same rows. A different order makes equal rows look different."""
        return self == other and (self.hash is not None or not self.rows)


class LooseRow:
    """A row with values that may be equal though their texts differ; equal if they are.

    `whole` is the hash over all columns, documents included.
    """

    __slots__ = ("_columns", "_texts", "rest", "whole")

    def __init__(
        self,
        rest: int,
        whole: int,
        texts: tuple[bytes | None, ...],
        columns: tuple[ColumnPlan, ...],
    ) -> None:
        self.rest = rest
        self.whole = whole
        self._texts = texts
        self._columns = columns

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LooseRow) or self.rest != other.rest:
            return False
        pairs = zip(self._columns, self._texts, other._texts, strict=True)
        return all(_same(column, mine, theirs) for column, mine, theirs in pairs)

    def __hash__(self) -> int:
        return hash(self.rest)


def _same(column: ColumnPlan, mine: bytes | None, theirs: bytes | None) -> bool:
    if mine is None or theirs is None:
        return mine is theirs
    return mine == theirs or family(column).same(column, mine, theirs)


def whole_hash(value: Value) -> int:
    """The row hash over all columns."""
    if isinstance(value, LooseRow):
        return value.whole
    assert isinstance(value, int)
    return value


def source_session(
    conn: pymysql.Connection[Any], seconds: float = LONGEST_SECONDS
) -> pymysql.Connection[Any]:
    """The session, giving every value as the text that the server sent (bytes if it is binary).

    Its statements may take so many `seconds`.
    """
    conn.decoders = {}
    with conn.cursor() as cursor:
        cursor.execute(_SOURCE_LIMIT.format(seconds * 1000, seconds))
    return conn


def target_session(
    conn: psycopg.Connection[Any], seconds: float = LONGEST_SECONDS
) -> psycopg.Connection[Any]:
    """The session, planning each statement by its own bounds and without compiling it."""
    conn.prepare_threshold = None
    conn.execute(_TARGET_LIMIT.format(seconds * 1000).encode())
    return conn


SourceSession: TypeAlias = "pymysql.Connection[Any] | Callable[[], pymysql.Connection[Any]]"
TargetSession: TypeAlias = "psycopg.Connection[Any] | Callable[[], psycopg.Connection[Any]]"
"""A session, or what gives it when it is needed (always the same one)."""


class SourceReader:
    """MySQL's or MariaDB's side, over a session of `source_session`."""

    def __init__(self, session: SourceSession, subject: Subject) -> None:
        self._session = session
        self.subject = subject

    @property
    def _conn(self) -> pymysql.Connection[Any]:
        return self._session() if callable(self._session) else self._session

    def cancel(self) -> None:
        """Ends the session, and so the wait of the thread that has a statement under way."""
        sock = vars(self._conn)["_sock"]
        if sock is not None:  # else the connection broke
            with suppress(OSError):  # ended already
                sock.shutdown(socket.SHUT_RDWR)

    def about(self, subject: Subject) -> SourceReader:
        """The same session for another subject."""
        return SourceReader(self._session, subject)

    def totals(self, conditions: Sequence[str], bucket: str = "0") -> Totals:
        """Rows and hash sums by bucket."""
        sums = [f"SUM({each})" for each in self.subject.hash.sources]
        outputs = [bucket, "COUNT(*)", *sums]
        rows = self.query(self.subject.source(outputs, conditions, "GROUP BY 1"))
        return {int(place): (int(count), joined(total)) for place, count, *total in rows}

    def glance(self, conditions: Sequence[str]) -> Glance:
        """All rows at once, read by the key's index, which is their order.

        What is longer than max_allowed_packet is cut off or NULL, and then agrees with nothing.
        """
        subject = self.subject
        text = f"GROUP_CONCAT({subject.hash.texts[0]} SEPARATOR 0x{SEPARATOR.encode().hex()})"
        ((rows, found),) = self.query(
            subject.source(
                ["COUNT(*)", f"SHA2({text},256)"], conditions, hint=key_index(subject.plan).hint
            )
        )
        return Glance(int(rows), found)

    def hashes(self, conditions: Sequence[str]) -> dict[Key, int]:
        """The hash of every row."""
        outputs, key = (
            [*self.subject.keys.source, *self.subject.hash.sources],
            self.subject.plan.key,
        )
        rows = self.query(self.subject.source(outputs, conditions))
        return {_key(row[:key]): joined(row[key:]) for row in rows}

    def next_bound(
        self, lower: Key | None, rows: int, conditions: Sequence[str] = ()
    ) -> Key | None:
        """The key of the row that is `rows` rows after `lower`; None if there are fewer."""
        keys = self.subject.keys
        where = [*keys.source_range(lower, None), *conditions]
        condition = f" WHERE {' AND '.join(where)}" if where else ""
        found = self.query(
            f"SELECT {','.join(keys.source)} FROM {self.subject.plan.source.mysql}"
            f"{key_index(self.subject.plan).hint}{condition}"
            f" ORDER BY {','.join(keys.source_order())} LIMIT 1 OFFSET {rows - 1}"
        )
        return _key(found[0]) if found else None

    def extent(self, column: str) -> tuple[int, int] | None:
        """Least and greatest value of an integer column that begins an index."""
        (low, high), *_ = self.query(
            f"SELECT MIN({column}),MAX({column}) FROM {self.subject.plan.source.mysql}"
        )
        return None if low is None else (int(low), int(high))

    def read(self, keys: Sequence[Key]) -> Reading:
        """See `recheck.Source`. A table that is emptied meanwhile is read again."""
        while True:
            low = self._snapshot()
            try:
                rows = self.sample(keys)
            except pymysql.err.OperationalError as error:
                if error.args[0] != ER.TABLE_DEF_CHANGED:
                    raise
                continue
            finally:
                self._conn.rollback()
            return Reading(rows, low, self.upper_bound())

    def lower_bound(self, *, by_gtid: bool) -> Position | None:
        """Everything up to there is visible to reads that begin now; None if no bound is known.

        On MariaDB it has no GTIDs unless they are asked for.
        """
        if by_gtid:
            return lower_bound(self._conn)
        try:
            return self._snapshot()
        finally:
            self._conn.rollback()

    def _snapshot(self) -> Position | None:
        """Begins a transaction that reads one state; everything up to the position is in it.

        MariaDB's coordinates do: to find their GTID, the server would read its log from the start.
        """
        if self.subject.plan.table.flavor != "mariadb":
            return lower_bound(self._conn, with_snapshot=True)
        self.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.query("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        said = {str(n).lower(): v for n, v in self.query("SHOW STATUS LIKE 'binlog_snapshot_%'")}
        file = str(said.get("binlog_snapshot_file", ""))
        return Position.at(file, int(said["binlog_snapshot_position"])) if file else None

    def sample(self, keys: Sequence[Key]) -> Mapping[Key, Value]:
        """See `recheck.Source`."""
        subject, found = self.subject, dict[Key, Value]()
        texts = [source_text(column) for column in subject.loose]
        outputs = [*subject.keys.source, *subject.strict_hash.sources]
        outputs += [*subject.hash.sources, *texts] if texts else []
        for some in parts(keys, LOOSE_KEYS_A_QUERY if texts else KEYS_A_QUERY):
            condition = subject.keys.source_condition(some)
            if condition:
                wanted = set(some)
                for row in self.query(subject.source(outputs, [condition])):
                    key = _key(row[: subject.plan.key])
                    if key in wanted:
                        found[key] = _value(row[subject.plan.key :], subject.loose)
        return found

    def existing(self, keys: Sequence[Key]) -> set[Key]:
        """Those of the keys that have a row."""
        found: set[Key] = set()
        for some in parts(keys, KEYS_A_QUERY):
            condition = self.subject.keys.source_condition(some)
            if condition:
                rows = self.query(self.subject.source(self.subject.keys.source, [condition]))
                found.update(map(_key, rows))
        return found

    def keys_where(self, condition: str) -> list[Key]:
        """The keys of the rows for which the condition holds; of keyless tables, the hashes."""
        subject = self.subject
        outputs = subject.keys.source if subject.keys.ordered else [subject.hash.source]
        return [_key(row) for row in self.query(subject.source(outputs, [condition]))]

    def upper_bound(self) -> Position:
        """See `recheck.Source`."""
        return upper_bound(self._conn)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows, their values as the server's text."""
        with self._conn.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())


class TargetReader:
    """PostgreSQL's side, over a session of `target_session` in autocommit mode."""

    def __init__(self, session: TargetSession, subject: Subject) -> None:
        self._session = session
        self.subject = subject

    @property
    def _conn(self) -> psycopg.Connection[Any]:
        return self._session() if callable(self._session) else self._session

    def cancel(self) -> None:
        """Ends the statement that another thread waits for, if the server can be asked to."""
        with suppress(psycopg.OperationalError):
            self._conn.cancel_safe()

    def about(self, subject: Subject) -> TargetReader:
        """The same session for another subject."""
        return TargetReader(self._session, subject)

    def totals(self, conditions: Sequence[str], values: Sequence[Any], bucket: str = "0") -> Totals:
        """Rows and hash sums by bucket."""
        sums = [f"sum({each})" for each in self.subject.hash.targets]
        outputs = [bucket, "count(*)", *sums]
        rows = self.query(self.subject.target(outputs, conditions, "GROUP BY 1"), values)
        return {int(place): (count, joined(total)) for place, count, *total in rows}

    def glance(self, conditions: Sequence[str], values: Sequence[Any]) -> Glance:
        """All rows at once, in the order of the key."""
        subject = self.subject
        order = f"ORDER BY {','.join(subject.keys.target_order())}"
        each = subject.target([f"{subject.hash.texts[1]} AS line"], conditions, order)
        text = f"textsend(string_agg(line, chr({ord(SEPARATOR)})))"
        query = f"SELECT count(*), encode(sha256({text}), 'hex') FROM ({each}) AS lines"
        return Glance(*self.query(query, values)[0])

    def hashes(
        self, conditions: Sequence[str], values: Sequence[Any], limit: int = 0
    ) -> dict[Key, int]:
        """The hash of every row; with `limit` of the first so many, in the order of the key."""
        keys, key = self.subject.keys, self.subject.plan.key
        outputs = [*keys.target(), *self.subject.hash.targets]
        tail = f"ORDER BY {','.join(keys.target_order())} LIMIT {limit}" if limit else ""
        rows = self.query(self.subject.target(outputs, conditions, tail), values)
        return {row[:key]: joined(row[key:]) for row in rows}

    def hashes_of(self, keys: Sequence[Key]) -> dict[Key, int]:
        """The hashes of the rows of these keys."""
        condition, found = [self.subject.keys.target_condition()], dict[Key, int]()
        for some in parts(keys, KEYS_A_QUERY):
            rows = self.hashes(condition, self.subject.keys.target_arrays(some))
            wanted = set(some)
            found.update((key, value) for key, value in rows.items() if key in wanted)
        return found

    def keys_after(self, lower: Key | None, rows: int) -> list[Key]:
        """The next keys in the target's order."""
        keys = self.subject.keys
        conditions, values = keys.target_range(lower, None)
        order = f"ORDER BY {','.join(keys.target_order())} LIMIT {rows}"
        return list(self.query(self.subject.target(keys.target(), conditions, order), values))

    def ascending(self, lower: Key, upper: Key) -> bool:
        """Whether the bounds are in the target's order."""
        keys = self.subject.keys
        values = [*keys.target_values(lower), *keys.target_values(upper)]
        return bool(self.query(f"SELECT {keys.ascending()}", values)[0][0])

    def keys_of(self, rows: Iterable[Sequence[str | None]]) -> list[Key]:
        """Keys by the values of their columns, or hashes by those of whole rows, as COPY gave them.

        For rows that need not exist (any longer).
        """
        subject = self.subject
        if subject.keys.ordered:
            return self.texts_of(subject.keys, rows)
        return self._computed(subject.plan.columns, [f"({subject.hash.target})::text"], rows)

    def texts_of(self, keys: Keys, rows: Iterable[Sequence[str | None]]) -> list[Key]:
        """The canonical texts of values of the columns that `keys` is over."""
        return self._computed([column.plan for column in keys.columns], keys.target(), rows)

    def keys_where(self, condition: str, values: Sequence[Any]) -> list[Key]:
        """The keys of the rows for which the condition holds; of keyless tables, the hashes."""
        subject = self.subject
        texts = subject.keys.target()
        outputs = texts if subject.keys.ordered else [f"({subject.hash.target})::text"]
        return list(self.query(subject.target(outputs, [condition]), values))

    def _computed(
        self,
        columns: Sequence[ColumnPlan],
        outputs: Sequence[str],
        rows: Iterable[Sequence[str | None]],
    ) -> list[Key]:
        given = ",".join(
            f"u.v{at}::{column.target_type} AS {quote_postgres(column.target_name)}"
            for at, column in enumerate(columns)
        )
        names = ",".join(f"v{at}" for at in range(len(columns)))
        arrays = ",".join("%s::text[]" for _ in columns)
        query = (
            f"SELECT {bindable(','.join(outputs))}"
            f" FROM (SELECT {bindable(given)} FROM unnest({arrays}) AS u ({names})) AS k"
        )
        found: list[Key] = []
        for some in parts([*rows], KEYS_OF_AT_ONCE):
            found += self.query(query, [list(column) for column in zip(*some, strict=True)])
        return found

    def extent(self, column: str) -> tuple[int, int] | None:
        """Least and greatest value of an integer column."""
        (low, high), *_ = self.query(self.subject.target([f"min({column})", f"max({column})"]), [])
        return None if low is None else (int(low), int(high))

    def in_byte_order(self) -> bool:
        """Whether the text columns of the key are ordered by their bytes."""
        rows = self.query(
            "SELECT count(*) FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation"
            " WHERE a.attrelid = to_regclass(%s) AND a.attname = ANY(%s)"
            " AND c.collname IN ('C','POSIX','ucs_basic','pg_c_utf8')",
            [self.subject.relation.postgres, list(self.subject.collations)],
        )
        return bool(rows[0][0] == len(self.subject.collations))

    def read(self, keys: Sequence[Key]) -> Mapping[Key, Held]:
        """See `recheck.Target`."""
        subject, found = self.subject, dict[Key, Held]()
        texts = [target_text(column) for column in subject.loose]
        outputs = [VERSION, *subject.keys.target(), *subject.strict_hash.targets]
        outputs += [*subject.hash.targets, *texts] if texts else []
        query = subject.target(outputs, [subject.keys.target_condition()])
        for some in parts(keys, LOOSE_KEYS_A_QUERY if texts else KEYS_A_QUERY):
            wanted = set(some)
            for row in self.query(query, subject.keys.target_arrays(some)):
                key, rest = row[1 : 1 + subject.plan.key], row[1 + subject.plan.key :]
                if key in wanted:
                    found[key] = Held(_value(rest, subject.loose), row[0])
        return found

    def query(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """All rows."""
        return self._conn.execute(sql, values).fetchall()


class Helpers(NamedTuple):
    """A second reader of either side, for the thread of the other one.

    The source has an application to serve: it gets one only where nobody has limited its load, and
    where the ranges are known before they are read.
    """

    source: SourceReader | None = None
    target: TargetReader | None = None

    def cancel(self) -> None:
        """Ends what they have under way."""
        for reader in self:
            if reader is not None:
                reader.cancel()


ALONE = Helpers()
"""Each side has one reader."""


@dataclass(frozen=True, slots=True)
class Sides:
    """A reader of either side, for one thread."""

    source: SourceReader
    target: TargetReader
    helpers: Helpers = ALONE


def joined(hashes: Sequence[Any]) -> int:
    """One or two hashes (or sums of them) as one integer."""
    first, *second = map(int, hashes)
    return first + (second[0] << SECOND_BITS) if second else first


def parts(keys: Sequence[T], size: int) -> list[Sequence[T]]:
    """The keys in pieces of at most `size`."""
    return [keys[at : at + size] for at in range(0, len(keys), size)]


def _value(parts: Sequence[Any], loose: tuple[ColumnPlan, ...]) -> Value:
    if not loose:
        return joined(parts)
    rest, *whole = parts[: -len(loose)]
    texts = parts[-len(loose) :]
    documents = tuple(text.encode() if isinstance(text, str) else text for text in texts)
    return LooseRow(int(rest), joined(whole), documents, loose)


def _key(row: Sequence[str | bytes]) -> Key:
    return tuple(text.decode() if isinstance(text, bytes) else text for text in row)
