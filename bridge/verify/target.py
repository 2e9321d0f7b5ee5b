"""Reading one table in the target: sums over ranges, hashes by key, rows of given keys.

A reader is used as one of the source is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import psycopg

from bridge.names import bindable, quote_postgres
from bridge.types.base import ColumnPlan
from bridge.verify.digest import SEPARATOR, target_text
from bridge.verify.keys import Keys
from bridge.verify.recheck import Held, Key
from bridge.verify.subject import VERSION, Subject
from bridge.verify.values import (
    KEYS_A_QUERY,
    KEYS_OF_AT_ONCE,
    LONGEST_SECONDS,
    LOOSE_KEYS_A_QUERY,
    Glance,
    Totals,
    joined,
    parts,
    value_of_row,
)

_LIMIT = (
    "SET statement_timeout = {0:.0f}; SET max_parallel_workers_per_gather = 0;"
    " SET jit = off; SET enable_sort = off"
)
"""In milliseconds. A statement gets one core, as in the source: others have work to do. PostgreSQL
takes ``id / 500`` for as many buckets as there are ids, and would sort all rows to group them;
those that are read in order are read by the key's index."""


def target_session(
    conn: psycopg.Connection[Any], seconds: float = LONGEST_SECONDS
) -> psycopg.Connection[Any]:
    """The session, planning each statement by its own bounds and without compiling it."""
    conn.prepare_threshold = None
    conn.execute(_LIMIT.format(seconds * 1000).encode())
    return conn


TargetSession: TypeAlias = "psycopg.Connection[Any] | Callable[[], psycopg.Connection[Any]]"
"""A session, or what gives it when it is needed (always the same one)."""


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
                    found[key] = Held(value_of_row(rest, subject.loose), row[0])
        return found

    def query(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """All rows."""
        return self._conn.execute(sql, values).fetchall()
