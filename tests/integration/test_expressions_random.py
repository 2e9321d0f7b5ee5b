"""Random expressions: whatever is translated gives what the source's server gives."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from typing import Any

import pymysql
import pytest

from bridge.mapping.expressions import Untranslatable, generated
from tests.integration import test_expressions as known

COLUMNS = 30
_INTS = ("i", "s", "u", "flag", "0", "1", "7", "-3", "1000000")
_DECIMALS = ("d", "e", "1.5", "0.25")
_TEXTS = ("v", "bin", "a", "en", "'x'", "'it''s'", "''")
_CONDITIONS = ("i > 0", "s <> 3", "v is null", "en = 'new'", "day > dt", "u <=> 12")


class Grammar:
    """Expressions over the columns of the known ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def number(self, depth: int) -> str:
        pick = self.random.choice
        if depth <= 0:
            return pick((*_INTS, *_INTS, *_DECIMALS))
        a, b = self.number(depth - 1), self.number(depth - 1)
        condition = self.condition(depth - 1)
        return pick(
            (
                f"({a} {pick('+-*')} {b})",
                f"({a} {pick('+-*')} {b})",
                f"({a} {pick(('div', '%'))} {b})",
                f"(-{a})",
                f"ifnull({a}, {b})",
                f"if({condition}, {a}, {b})",
                f"(case when {condition} then {a} when {self.condition(depth - 1)} then {b} end)",
                f"char_length({self.text(depth - 1)})",
                pick(("year(day)", "month(dt)", "dayofmonth(dt)")),
                condition,
            )
        )

    def condition(self, depth: int) -> str:
        pick = self.random.choice
        if depth <= 0:
            return f"({pick(_CONDITIONS)})"
        a, b = self.number(depth - 1), self.number(depth - 1)
        operator = pick(("=", "<>", "<", "<=", ">", ">=", "<=>"))
        return pick(
            (
                f"({a} {operator} {b})",
                f"({self.condition(depth - 1)} {pick(('and', 'or'))} {self.condition(depth - 1)})",
                f"(not {self.condition(depth - 1)})",
                f"({a} is null)",
                f"({a} between {b} and {self.number(depth - 1)})",
            )
        )

    def text(self, depth: int) -> str:
        pick = self.random.choice
        if depth <= 0:
            return pick(_TEXTS)
        a, b = self.text(depth - 1), self.text(depth - 1)
        start, length = self.random.randrange(1, 5), self.random.randrange(5)
        return pick(
            (
                f"concat({a}, {b})",
                f"concat({a}, {self.number(depth - 1)})",
                f"left({a}, {length})",
                f"substr({a}, {start}, {length})",
                f"coalesce({a}, {b})",
            )
        )

    def column(self) -> tuple[str, str]:
        depth = self.random.choice((1, 2, 2, 3))
        kind, make = self.random.choice(
            (
                ("bigint", self.number),
                ("decimal(40,6)", self.number),
                ("tinyint", self.condition),
                ("varchar(200)", self.text),
            )
        )
        return kind, make(depth)


@pytest.fixture
def conn(source_db: Any) -> Any:
    with source_db.connect() as connection:
        known.run(connection, "SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'")
        yield connection


def test_random_expressions(conn: known.Conn, source_db: Any, target_db: Any) -> None:
    seed = int(os.environ.get("DBBRIDGE_SOAK_SEED") or random.randrange(10**6))
    print(f"\nDBBRIDGE_SOAK_SEED={seed}")
    grammar = Grammar(seed)
    made = {f"g{n}": grammar.column() for n in range(COLUMNS)}
    columns = known.create(conn, source_db, made)
    plain = {
        name: known.plan(column)
        for name, column in columns.items()
        if not column.generated and name != "ts"
    }
    translated = {}
    for name in made:
        if name in columns:
            plan = known.plan(columns[name])
            with suppress(Untranslatable):
                translated[name] = (plan, generated(plan, plain))
            if name not in translated:
                known.run(conn, f"ALTER TABLE t DROP {name}")
    assert translated
    names = ", ".join(known.NASTY).replace("%", "%%")
    for row in known.rows()[:30]:
        marks = ", ".join(["%s"] * len(row))
        # A value that a server cannot compute (from a latin1 text, say) is no row of the source.
        with suppress(pymysql.err.MySQLError):
            known.run(conn, f"INSERT INTO t ({names}) VALUES ({marks})", *row)
    with target_db.connect() as target:
        known.compare(conn, target, plain, translated)
