"""Follows tables through the binlog into dicts, and reads the same from the tables."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pymysql
import pytest

from bridge.capture.binlog import events as ev
from bridge.capture.binlog.connection import BinlogConnection
from bridge.capture.binlog.positions import upper_bound
from bridge.capture.binlog.rows import RowDecoder, compile_decoder
from bridge.capture.binlog.table_map import TableMap, table_map
from bridge.capture.catalog import read_catalog
from bridge.change.batch import BadRow, Image
from bridge.change.position import Position
from bridge.databases.endpoint import parse_url
from bridge.databases.mysql import connect
from bridge.mapping.plan import TablePlan
from bridge.names import TableName, quote_mysql
from bridge.types import family_of
from bridge.types.base import NULL, ColumnPlan
from bridge.types.table import SourceTable

Connect = Callable[[], "pymysql.Connection[Any]"]


def connector(url: str, **options: Any) -> Connect:
    """Opens sessions as the program does."""
    endpoint = parse_url(url)
    return lambda: connect(endpoint, **options)


def purge(open_source: Connect, file: str) -> None:
    """Purges the files before that one; those that a dump thread still holds are waited for."""
    deadline = time.monotonic() + 60
    with closing(open_source()) as source, source.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(f"PURGE BINARY LOGS TO '{file}'")
            cursor.execute("SHOW BINARY LOGS")
            if cursor.fetchall()[0][0] == file:
                return
    pytest.fail("the files are not purged")


def read_table(open_source: Connect, name: TableName) -> SourceTable:
    """The table as the catalogue has it."""
    with closing(open_source()) as source:
        return read_catalog(source, name.schema, [name.table])[name]


def plan_of(table: SourceTable, *, without: tuple[str, ...] = ()) -> TablePlan:
    """Every column in its first proposed form, the key first."""
    key = table.primary_key
    others = [column.name for column in table.columns if column.name not in key]
    columns = []
    for name in (*key, *others):
        column = table.column(name)
        family = family_of(column)
        if family is not None and name not in without:
            target = family.proposals(column)[0].target_type
            columns.append(ColumnPlan(column, name, target, target_nullable=column.nullable))
    return TablePlan(table, table.name, tuple(columns), len(key), "1")


def drain(binlog: BinlogConnection, end: Position) -> Iterator[bytes]:
    """Events until the coordinates of `end` are reached."""
    file = ""
    offset = 0
    while True:
        for event in binlog.read(10):
            code = event[4]
            if code == ev.ROTATE:
                file, offset = ev.rotate(event)
            elif code in (ev.HEARTBEAT, ev.HEARTBEAT_V2):
                file, offset = ev.heartbeat(event)
            elif not event[17] & ev.ARTIFICIAL:
                offset = max(offset, int.from_bytes(event[13:17], "little"))
            yield event
        if Position.at(file or "x.0", offset).coordinates >= end.coordinates:
            return


class Follower:
    """The rows of some tables as the binlog leaves them.

    `rows` holds keyed tables as key → line, `bags` the lines of tables without a key.
    """

    def __init__(
        self, plans: list[TablePlan], *, by_pairs: bool = False, keep: bool = False
    ) -> None:
        self._plans = {plan.source: plan for plan in plans}
        self._by_pairs = by_pairs
        self._maps: dict[int, RowDecoder | None] = {}
        self.rows: dict[TableName, dict[bytes, Image | None]] = {name: {} for name in self._plans}
        self.bags: dict[TableName, Counter[Image]] = {name: Counter() for name in self._plans}
        self.seen: Counter[int] = Counter()
        self.maps: dict[TableName, TableMap] = {}
        self._keep = keep
        self.kept: list[bytes] = []

    def feed(self, event: bytes) -> None:
        """Takes one event in."""
        code = event[4]
        self.seen[code] += 1
        if self._keep:
            self.kept.append(event)
        if code == ev.TABLE_MAP:
            found = table_map(event)
            plan = self._plans.get(found.name)
            self._maps[found.table_id] = compile_decoder(plan, found) if plan else None
            self.maps[found.name] = found
        elif code in ev.ROW_KIND:
            decoder = self._maps[ev.rows_table(event)]
            if decoder is not None:
                self._apply(decoder, ev.ROW_KIND[code], event)

    def _apply(self, decoder: RowDecoder, kind: int, event: bytes) -> None:
        plan = decoder.plan
        if plan.key and not self._by_pairs:
            assert decoder.apply(kind, event, self.rows[plan.source], "here") > 0
            return
        for before, after in decoder.pairs(kind, event, "here"):
            if not plan.key:
                self.bags[plan.source].update({before: -1} if before is not None else {})
                self.bags[plan.source].update({after: 1} if after is not None else {})
                continue
            if before is not None:
                self.rows[plan.source][key_of(before, plan.key)] = None
            if after is not None:
                self.rows[plan.source][key_of(after, plan.key)] = after

    def live(self, name: TableName) -> dict[bytes, bytes | None]:
        """Key → line of the rows that are there; None for one that cannot be represented."""
        return {
            key: None if isinstance(image, BadRow) else image
            for key, image in self.rows[name].items()
            if image is not None
        }


def key_of(image: Image, columns: int) -> bytes:
    """COPY text of the key."""
    if isinstance(image, BadRow):
        return image.key
    return b"\t".join(image.split(b"\t")[:columns])


def follow(
    open_source: Connect,
    start: Position,
    plans: list[TablePlan],
    server_id: int,
    *,
    by_pairs: bool = False,
    keep: bool = False,
) -> Follower:
    """Everything from `start` to now."""
    with closing(open_source()) as source:
        end = upper_bound(source)
    follower = Follower(plans, by_pairs=by_pairs, keep=keep)
    with BinlogConnection.open(open_source, start, server_id, 1.0) as binlog:
        for event in drain(binlog, end):
            follower.feed(event)
    return follower


def selected(open_source: Connect, plan: TablePlan) -> dict[bytes, bytes | None]:
    """Key → line as the copy's expressions give them, None for rows with bad values."""
    fields, bad = [], []
    for column in plan.columns:
        family = family_of(column.source)
        assert family is not None
        name = quote_mysql(column.source.name)
        fields.append(f"IF({name} IS NULL, NULL, {family.copy_text(column, name)})")
        condition = family.bad(column, name)
        bad += [f"COALESCE({condition}, 0)"] if condition else []
    query = f"SELECT {' OR '.join(bad) or 0}, {', '.join(fields)} FROM {plan.source.mysql}"
    found: dict[bytes, bytes | None] = {}
    with closing(open_source()) as source, source.cursor() as cursor:
        cursor.execute(query)
        for is_bad, *values in cursor.fetchall():
            texts = [NULL if value is None else _bytes(value) for value in values]
            key = b"\t".join(texts[: plan.key])
            found[key] = None if int(is_bad) else b"\t".join(texts)
    return found


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
