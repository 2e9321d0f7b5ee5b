"""One pass of values through every form of their types, on real servers.

A case is a column with a decision about it, and values. All cases of a call become one source
table, one row holding the n-th value of each; it is read by `copy_text`, `bad`, `raw` and
`digest_source`, decoded from the binlog, copied into PostgreSQL and read there by `digest_target`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, partial
from struct import unpack
from typing import Any

import psycopg
import pymysql
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from bridge.capture.binlog.connection import BinlogConnection
from bridge.capture.binlog.events import INSERT, ROW_KIND, TABLE_MAP
from bridge.capture.binlog.rowcode import converter
from bridge.capture.binlog.table_map import TableMap, table_map
from bridge.capture.catalog import read_catalog
from bridge.capture.resultset import is_text
from bridge.change.position import Position
from bridge.databases.endpoint import parse_url
from bridge.databases.mysql import connect
from bridge.errors import BadValue
from bridge.names import TableName, literal_mysql, quote_mysql
from bridge.types import family_of
from bridge.types.base import NULL, ColumnPlan, Family, Policy
from bridge.types.copytext import escape
from bridge.types.layout import layout

LONG = 4096
"""Bytes up to which copy and stream agree byte for byte."""
UNCONVERTED = (b"1300", b"1366", b"1977", b"3719", b"1287")
"""Warnings of values that are bad, since they hold no character; and of old character sets."""


@dataclass(frozen=True)
class Sql:
    """A value written as an expression of MySQL."""

    text: str


@dataclass(frozen=True)
class Case:
    """A column of the source, what it becomes, and values for it."""

    column: str
    target: str
    values: Sequence[Any]
    policy: Policy = field(default_factory=Policy)
    generated: SearchStrategy[Any] | None = None
    only: str = ""
    """'mysql' or 'mariadb', for what the other does not have."""


@dataclass(frozen=True)
class Outcome:
    """What became of one value."""

    case: Case
    value: Any
    bad: bool
    copied: bytes
    streamed: bytes | str
    from_raw: bytes | str
    digest: bytes | None
    reread: bytes | None
    same: bool


@cache
def generate(strategy: SearchStrategy[Any], count: int) -> list[Any]:
    """That many values of a strategy, the same ones in each run (made once for both sources)."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found[:count]


class Bench:
    """A source and a target database, and the source's binlog from now on."""

    def __init__(self, source_url: str, target: psycopg.Connection[Any], server_id: int) -> None:
        self._endpoint = parse_url(source_url)
        self.source: pymysql.Connection[Any] = connect(self._endpoint, raw=True)
        self.database = self._endpoint.database
        self.target = target
        self.target.execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO'")
        self.target.execute("SET IntervalStyle = 'postgres'; SET extra_float_digits = 1")
        version = self.query("SELECT VERSION()")[0][0]
        self.flavor = "mariadb" if b"MariaDB" in (version or b"") else "mysql"
        self._binlog = BinlogConnection.open(
            lambda: connect(self._endpoint), self._position(), server_id, 10.0
        )
        self._tables = 0
        self.last = ""

    def close(self) -> None:
        """Ends the connections to the source."""
        self._binlog.close()
        self.source.close()

    def query(self, statement: str) -> list[tuple[bytes | None, ...]]:
        """Rows as the source sends them."""
        with self.source.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def _position(self) -> Position:
        newer = self.flavor == "mysql"
        row = self.query("SHOW BINARY LOG STATUS" if newer else "SHOW MASTER STATUS")[0]
        assert row[0] is not None and row[1] is not None
        return Position.at(row[0].decode(), int(row[1]))

    def run(self, cases: Sequence[Case], count: int = 60) -> list[Outcome]:
        """Every value of every case in all its forms; values that are NULL are left out."""
        cases = [case for case in cases if case.only in ("", self.flavor)]
        columns = [
            [
                None,
                *case.values,
                *(() if case.generated is None else generate(case.generated, count)),
            ]
            for case in cases
        ]
        table = self._create(cases)
        self._insert(table, columns)
        plans = self._plans(table, cases)
        return self._compare(table, cases, plans, columns)

    def _create(self, cases: Sequence[Case]) -> TableName:
        self._tables += 1
        self.last = f"t{self._tables}"
        table = TableName(self.database, self.last)
        columns = ", ".join(f"c{place} {case.column}" for place, case in enumerate(cases))
        self.query(f"CREATE TABLE {table.mysql} (id int PRIMARY KEY, {columns}) CHARSET utf8mb4")
        return table

    def _insert(self, table: TableName, columns: Sequence[Sequence[Any]]) -> None:
        rows = max(map(len, columns))
        lines = []
        for row in range(rows):
            values = [_literal(values[row]) if row < len(values) else "NULL" for values in columns]
            lines.append(f"({row}, {', '.join(values)})")
        for start in range(0, rows, 100):
            block = ",".join(lines[start : start + 100])
            with self.source.cursor() as cursor:
                cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES'")
                cursor.execute(f"INSERT INTO {table.mysql} VALUES {block}".encode())
                cursor.execute("SET sql_mode = ''")

    def _plans(self, table: TableName, cases: Sequence[Case]) -> list[ColumnPlan]:
        with closing(connect(self._endpoint)) as conn:
            definition = read_catalog(conn, self.database, [table.table])[table]
        plans = []
        for place, case in enumerate(cases):
            source = definition.column(f"c{place}")
            plan = ColumnPlan(source, source.name, case.target, policy=case.policy)
            family = family_of(source)
            assert family is not None, case
            assert family.accepts(plan) == "", case
            plans.append(plan)
        return plans

    def _compare(
        self,
        table: TableName,
        cases: Sequence[Case],
        plans: Sequence[ColumnPlan],
        columns: Sequence[Sequence[Any]],
    ) -> list[Outcome]:
        read = self._read(table, plans)
        self._compare_hidden(table, plans)
        streamed = self._stream(table, plans)
        reread = self._reread(table, plans, read)
        outcomes = []
        for place, (case, plan) in enumerate(zip(cases, plans, strict=True)):
            family = _family(plan)
            for row, value in enumerate(columns[place]):
                copied, bad, raw, digest = read[row][4 * place : 4 * place + 4]
                if raw is None:
                    assert (bad, copied, digest) == (b"0", None, None), (case, "of NULL")
                    continue
                back = reread[row][place]
                outcomes.append(
                    Outcome(
                        case,
                        value,
                        bad == b"1",
                        NULL if copied is None else copied,
                        streamed[row][place],
                        _attempt(lambda: family.from_raw(plan, raw)),  # noqa: B023
                        digest,
                        back,
                        digest == back
                        or (
                            digest is not None
                            and back is not None
                            and family.same(plan, digest, back)
                        ),
                    )
                )
        return outcomes

    def _read(
        self, table: TableName, plans: Sequence[ColumnPlan]
    ) -> list[tuple[bytes | None, ...]]:
        parts = []
        for plan in plans:
            family, q = _family(plan), quote_mysql(plan.source.name)
            bad = family.bad(plan, q) or "0"
            parts += [
                family.copy_text(plan, q),
                bad,
                family.raw(plan, q),
                f"IF({bad}, NULL, {family.digest_source(plan, q)})",
            ]
        rows = self.query(f"SELECT {', '.join(parts)} FROM {table.mysql} ORDER BY id")
        warnings = [row for row in self.query("SHOW WARNINGS") if row[0] != b"Note"]
        assert not [row for row in warnings if row[1] not in UNCONVERTED], warnings[:5]
        return rows

    def _compare_hidden(self, table: TableName, plans: Sequence[ColumnPlan]) -> None:
        """What `hidden` leaves out of `bad` is to be seen in the COPY text."""
        for plan in plans:
            family, q = _family(plan), quote_mysql(plan.source.name)
            bad, hidden = family.bad(plan, q) or "0", family.hidden(plan, q) or "0"
            if bad != hidden:
                for is_bad, is_hidden, text in self.query(
                    f"SELECT {bad}, {hidden}, {family.copy_text(plan, q)} FROM {table.mysql}"
                ):
                    seen = text is not None and not is_text(text)
                    assert (is_bad == b"1") == (is_hidden == b"1" or seen), (plan, text)

    def _stream(self, table: TableName, plans: Sequence[ColumnPlan]) -> list[list[bytes | str]]:
        rows: list[list[bytes | str]] = []
        expected = int(self.query(f"SELECT COUNT(*) FROM {table.mysql}")[0][0] or 0)
        found: TableMap | None = None
        decoders: list[tuple[int, int, Callable[[bytes], bytes]]] = []
        while len(rows) < expected:
            events = self._binlog.read(20.0)
            assert events, "the binlog has gone silent"
            for event in events:
                if event[4] == TABLE_MAP and table_map(event).name == table:
                    found = table_map(event)
                    decoders = _decoders(found, plans)
                elif ROW_KIND.get(event[4]) == INSERT and found:
                    same = int.from_bytes(event[19:25], "little") == found.table_id
                    rows += _rows(event, decoders) if same else ()
        return rows

    def _reread(
        self,
        table: TableName,
        plans: Sequence[ColumnPlan],
        read: Sequence[tuple[bytes | None, ...]],
    ) -> list[tuple[bytes | None, ...]]:
        """The digests of the target, to which the good values were copied."""
        names = [f'"{plan.target_name}" {plan.target_type}' for plan in plans]
        self.target.execute(f"DROP TABLE IF EXISTS {table.table}")
        self.target.execute(
            f"CREATE TEMP TABLE {table.table} (id int PRIMARY KEY, {', '.join(names)})"
        )
        load = f"COPY {table.table} FROM STDIN"
        with self.target.cursor() as cursor, cursor.copy(load) as copy:
            for row, fields in enumerate(read):
                line = [b"%d" % row]
                for place in range(len(plans)):
                    copied, bad, raw, _ = fields[4 * place : 4 * place + 4]
                    line.append(NULL if copied is None or raw is None or bad == b"1" else copied)
                copy.write(b"\t".join(line) + b"\n")
        digests = ", ".join(
            f"convert_to({_family(plan).digest_target(plan, plan.target_name)}, 'UTF8')"
            for plan in plans
        )
        found = self.target.execute(f"SELECT {digests} FROM {table.table} ORDER BY id")
        return [tuple(row) for row in found]


def check(outcomes: Sequence[Outcome]) -> None:
    """All forms agree, and values that differ have digests that differ."""
    wrong = []
    for each in outcomes:
        if each.bad:
            agree = isinstance(each.streamed, str) and isinstance(each.from_raw, str)
        else:
            agree = each.streamed == each.from_raw == _as_streamed(each.copied) and each.same
        if not agree:
            wrong.append(_told(each))
    assert not wrong, f"{len(wrong)} of {len(outcomes)} disagree:\n" + "\n".join(wrong[:40])
    texts: dict[tuple[str, str, Policy, bytes | None], set[bytes]] = {}
    for each in outcomes:
        if not each.bad:
            key = (each.case.column, each.case.target, each.case.policy, each.digest)
            texts.setdefault(key, set()).add(each.copied)
    doubled = [f"{key}: {found}" for key, found in texts.items() if len(found) > 1]
    assert not [line for line in doubled if "-0" not in line], doubled


def _as_streamed(copied: bytes) -> bytes:
    """Long COPY text in the stream's words: less is escaped there."""
    if len(copied) <= LONG:
        return copied
    plain = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f"}
    whole = re.sub(rb"\\(.)", lambda found: plain.get(found[1], found[1]), copied)
    return escape(whole)


def _told(each: Outcome) -> str:
    return (
        f"{each.case.column} -> {each.case.target} {each.value!r:.80}: bad={each.bad}"
        f" copied={each.copied!r:.80} streamed={each.streamed!r:.80}"
        f" from_raw={each.from_raw!r:.80} digest={each.digest!r:.80} reread={each.reread!r:.80}"
    )


def _family(plan: ColumnPlan) -> Family:
    family = family_of(plan.source)
    assert family is not None
    return family


def _attempt(convert: Callable[[], bytes]) -> bytes | str:
    """The converted value, or the code of its BadValue."""
    try:
        return convert()
    except BadValue as error:
        return error.code


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, Sql):
        return value.text
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, str):
        return literal_mysql(value)
    if isinstance(value, float):
        return f"{value!r}e0" if "e" not in repr(value) else repr(value)
    return str(value)


def _decoders(
    found: TableMap, plans: Sequence[ColumnPlan]
) -> list[tuple[int, int, Callable[[bytes], bytes]]]:
    """(size, width of prefix, bytes of the value to COPY text) of each column behind the id."""
    decoders: list[tuple[int, int, Callable[[bytes], bytes]]] = []
    for plan, mapped in zip(plans, found.columns[1:], strict=True):
        wire = _family(plan).wire(plan, mapped.code, mapped.meta)
        size, prefix = layout(mapped.code, mapped.meta)
        convert = converter(wire)

        decoders.append((size, prefix, partial(_decode, convert, wire.struct)))
    return decoders


def _decode(convert: Callable[[Any], bytes], struct: str, value: bytes) -> bytes:
    return convert(unpack("<" + struct, value)[0] if struct else value)


def _rows(
    event: bytes, decoders: Sequence[tuple[int, int, Callable[[bytes], bytes]]]
) -> Iterator[list[bytes | str]]:
    """Converted values of each row of an insert event of version 1 or 2."""
    at = 27
    if event[4] in (30, 31, 32):
        at += int.from_bytes(event[27:29], "little")
    count = event[at]
    at += 1 + (count + 7) // 8
    width = (count + 7) // 8
    while at < len(event):
        nulls = event[at : at + width]
        at += width + 4
        row: list[bytes | str] = []
        for place, (size, prefix, decode) in enumerate(decoders, 1):
            if nulls[place >> 3] >> (place & 7) & 1:
                row.append(NULL)
                continue
            length = int.from_bytes(event[at : at + prefix], "little") if prefix else size
            at += prefix
            value = event[at : at + length]
            at += length
            row.append(_attempt(lambda: decode(value)))  # noqa: B023
        yield row
