"""Every value of the contract's cases, carried to PostgreSQL, comes back as the same value."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from bridge.names import TableName
from bridge.reverse.session import SESSION
from bridge.reverse.values import Unheld, constant_of, null_of
from bridge.types import family_of
from bridge.types.base import ColumnPlan, Policy
from tests.contract import (
    test_addresses,
    test_charsets,
    test_json,
    test_labels,
    test_numbers,
    test_text,
    test_times,
)
from tests.contract.harness import Bench, Case, Outcome

MODULES = (
    test_numbers, test_times, test_text, test_charsets, test_labels, test_json, test_addresses
)  # fmt: skip


def _cases() -> Iterator[Any]:
    """The modules' tests that only need a bench, with each of their parameters."""
    for module in MODULES:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if not name.startswith("test_"):
                continue
            wanted = set(inspect.signature(function).parameters)
            marks = [mark.args for mark in getattr(function, "pytestmark", [])]
            if wanted == {"bench"}:
                yield pytest.param(function, id=name)
            for argument, values in marks:
                if wanted == {"bench", argument}:
                    for place, value in enumerate(values):
                        yield pytest.param(
                            partial(function, **{argument: value}), id=f"{name}-{place}"
                        )


_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_LETTERS = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
LOSSLESS = Policy()
EXPECTED = {b"1265", b"1287"}
"""Warnings: an ENUM's empty text (an error, in the strict session); character sets of old."""
_DECIMAL = re.compile(rb"[0-9.]{18,}")
AS_TEXT = ("char", "varchar", "enum", "json")
"""Types in which two stored forms may be the same text."""


class RoundTrip(Bench):
    """Instead of comparing the ways to PostgreSQL, goes there by the copy's and comes back."""

    def run(self, cases: Sequence[Case], count: int = 60) -> list[Outcome]:
        """As ever; and what came back is compared with what was there."""
        outcomes = super().run(cases, count)
        cases = [case for case in cases if case.only in ("", self.flavor)]
        table = TableName(self.database, self.last)
        plans = self._plans(table, cases)
        back = self._write_back(table, cases, plans)
        self._judge(table, back, plans)
        return outcomes

    def _write_back(
        self, table: TableName, cases: Sequence[Case], plans: Sequence[ColumnPlan]
    ) -> TableName:
        back = TableName(table.schema, f"{table.table}b")
        self.query(f"CREATE TABLE {back.mysql} LIKE {table.mysql}")
        constants = [constant_of(plan) for plan in plans]
        nulls = [null_of(plan) or b"NULL" for plan in plans]
        rows = []
        for number, line in self._printed(table, plans):
            made = [number]
            for place, text in enumerate(line):
                made.append(nulls[place] if text is None else _made(constants, plans, place, text))
            rows.append(b"(" + b",".join(made) + b")")
        with self.source.cursor() as cursor:
            cursor.execute(SESSION)
            for row in rows:
                cursor.execute(_lenient(row, cases))
                cursor.execute(b"INSERT INTO " + back.mysql.encode() + b" VALUES " + row)
                found = self.query("SHOW WARNINGS") if cursor.warning_count else []
                assert {code for _, code, _ in found} <= EXPECTED, (row, found)
            cursor.execute("SET sql_mode = ''")
        return back

    def _printed(
        self, table: TableName, plans: Sequence[ColumnPlan]
    ) -> Iterator[tuple[bytes, list[bytes | None]]]:
        """Ids and rows as output functions print them, as a replication session sends them."""
        names = ", ".join(["id", *(f'"{plan.target_name}"' for plan in plans)])
        copy = f"COPY (SELECT {names} FROM {table.table} ORDER BY id) TO STDOUT"
        with self.target.cursor() as cursor, cursor.copy(copy) as lines:
            for line in b"".join(lines).splitlines():
                first, *rest = line.split(b"\t")
                yield first, [None if field == b"\\N" else _plain(field) for field in rest]

    def _judge(self, table: TableName, back: TableName, plans: Sequence[ColumnPlan]) -> None:
        read, again = self._read(table, plans), self._read(back, plans)
        wrong = []
        for place, plan in enumerate(plans):
            for before, after in zip(read, again, strict=True):
                was, now = (row[4 * place : 4 * place + 4] for row in (before, after))
                if was[1] == b"1" or was[2] is None:
                    continue  # it never came to the target
                if not _same(plan, was, now):
                    wrong.append(f"{plan.source.column_type} -> {plan.target_type}: {was} {now}")
        assert not wrong, "\n".join([f"{len(wrong)} differ", *wrong[:20]])


def _same(plan: ColumnPlan, was: tuple[bytes | None, ...], now: tuple[bytes | None, ...]) -> bool:
    """Equal as stored; by what policies lose, as carried."""
    if plan.policy == LOSSLESS and plan.source.data_type not in AS_TEXT:
        return was[2] == now[2]
    if was[3] == now[3] or (plan.source.data_type == "json" and now[2] is None):
        return True
    family = family_of(plan.source)
    assert family is not None
    return None not in (was[3], now[3]) and family.same(plan, was[3] or b"", now[3] or b"")


def _made(
    constants: Sequence[Callable[[bytes], bytes]],
    plans: Sequence[ColumnPlan],
    place: int,
    text: bytes,
) -> bytes:
    try:
        return constants[place](text)
    except Unheld as error:
        plan = plans[place]
        if error.code == "not-as-printed" or _DECIMAL.search(text):
            return b"NULL"  # a DECIMAL inside a document of MySQL: no text makes one
        raise AssertionError(
            f"{plan.source.column_type} -> {plan.target_type}: {text!r:.200}: {error}"
        ) from error


def _lenient(row: bytes, cases: Sequence[Case]) -> str:
    """An ENUM's empty text is refused by strict modes."""
    return (
        "SET sql_mode = ''" if b",0" in row and any("enum" in c.column for c in cases) else SESSION
    )


def _plain(field: bytes) -> bytes:
    return _ESCAPED.sub(lambda found: _LETTERS.get(found[1], found[1]), field)


@pytest.fixture(scope="module")
def bench_kind() -> type[Bench]:
    return RoundTrip


@pytest.mark.parametrize("case", list(_cases()))
def test_round_trip(case: Callable[..., None], bench: Bench) -> None:
    case(bench=bench)
