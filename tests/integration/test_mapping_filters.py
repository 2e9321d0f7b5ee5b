"""A row filter selects in the source what it selects over COPY lines, for random rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bridge.capture.catalog import read_catalog
from bridge.mapping.compile import compile_table
from bridge.mapping.propose import propose_table
from bridge.names import TableName, quote_mysql
from bridge.types import family_of
from bridge.types.base import NULL
from tests.fix_servers import SourceDatabase

DEFINITION = """
CREATE TABLE t (
  id int PRIMARY KEY, i int, u bigint unsigned, d decimal(10,3), flag tinyint(1), small tinyint,
  day date, at datetime(3), ts timestamp(6) NULL,
  state enum('new','Paid','') CHARACTER SET latin1,
  code varchar(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  fixed char(6) CHARACTER SET latin1 COLLATE latin1_bin)"""
SEED = 7
ROWS = 300
CONDITIONS = 250
VALUES: dict[str, list[str]] = {
    "i": ["0", "1", "-1", "2147483647", "-2147483648", "7"],
    "u": ["0", "1", "18446744073709551615", "9223372036854775808"],
    "d": ["0", "1.5", "-1.5", "1.500", "1.501", "-9999999.999"],
    "flag": ["0", "1"],
    "small": ["-128", "127", "0"],
    "day": ["'1000-01-01'", "'2024-02-29'", "'2024-03-01'", "'9999-12-31'"],
    "at": ["'2024-02-29'", "'2024-02-29 00:00:00.001'", "'2024-03-01 23:59:59.999'"],
    "ts": ["'2024-02-29'", "'2024-02-29 01:30:00.000001'", "'1970-01-02 00:00:00'"],
    "state": ["'new'", "'Paid'", "''"],
    "code": ["'a'", "'A'", "'a '", "''", "'é'", "'日本'", "'it''s'", "'a\tb'"],
    "fixed": ["'a'", "'A'", "''", "'é'", "'ab cd'"],
}
ORDERED = frozenset({"i", "u", "d", "flag", "small", "day", "at", "ts"})
OUTSIDE = {
    "i": ["2147483648", "1.5", "-0.5", "99999999999999999999"],
    "u": ["-1", "0.5", "18446744073709551616"],
    "d": ["12345678901234567890.123456789", "1.5005"],
    "small": ["128", "-1000"],
    "ts": ["'1000-01-01'", "'2500-01-01 00:00:00'"],
    "at": ["'2024-02-29 00:00:00.0005'"],
    "code": ["'nothing of it'"],
}


def condition(rng: random.Random, depth: int = 0) -> str:
    kind = rng.random()
    if depth < 3 and kind < 0.45:
        joined = f" {rng.choice(['AND', 'OR'])} ".join(
            condition(rng, depth + 1) for _ in range(rng.choice([2, 2, 3]))
        )
        return rng.choice([f"({joined})", joined, f"NOT ({joined})"])
    name = rng.choice(list(VALUES))
    constants = VALUES[name] + OUTSIDE.get(name, [])
    shape = rng.random()
    if shape < 0.1:
        return f"{name} IS {rng.choice(['', 'NOT '])}NULL"
    if shape < 0.3:
        listed = ", ".join(rng.choices(VALUES[name], k=rng.randint(1, 3)))
        return f"{rng.choice([name, name.upper()])} {rng.choice(['', 'NOT '])}IN ({listed})"
    if shape < 0.45 and name in ORDERED:
        low, high = rng.choice(constants), rng.choice(constants)
        return f"{name} {rng.choice(['', 'NOT '])}BETWEEN {low} AND {high}"
    operators = ["=", "<>", "!=", "<", "<=", ">", ">="] if name in ORDERED else ["=", "<>", "!="]
    operator = rng.choice(operators)
    sides = [f"`{name}`", rng.choice(constants)]
    if rng.random() < 0.3:
        sides.reverse()
    text = f"{sides[0]} {operator} {sides[1]}"
    return f"NOT {text}" if rng.random() < 0.2 else text


def test_source_and_stream_agree(source_db: SourceDatabase) -> None:
    rng = random.Random(SEED)
    conn = source_db.connect(init_command="SET sql_mode='', time_zone='+00:00'")
    name = TableName(source_db.name, "t")
    with conn.cursor() as cursor:
        cursor.execute(DEFINITION)
        for row in range(ROWS):
            values = [
                "NULL" if rng.random() < 0.2 else rng.choice(choices) for choices in VALUES.values()
            ]
            cursor.execute(f"INSERT INTO t VALUES ({row}, {', '.join(values)})")
        table = read_catalog(conn, source_db.name)[name]
        plain = compile_table(propose_table(table, ()), table)
        lines = _lines(cursor, plain)
        for number in range(CONDITIONS):
            text = condition(rng)
            plan = compile_table(replace(propose_table(table, ()), where=text), table)
            assert plan.keep is not None
            meant = _ids(cursor, text)
            assert _ids(cursor, plan.where) == meant, (number, text, plan.where)
            kept = {key for key, line in lines.items() if plan.keep(line)}
            assert kept == meant, (number, text)
    conn.close()


def _lines(cursor: Any, plan: Any) -> dict[int, list[bytes]]:
    texts = []
    for column in plan.columns:
        family = family_of(column.source)
        assert family is not None
        texts.append(f"CAST({family.copy_text(column, quote_mysql(column.source.name))} AS BINARY)")
    cursor.execute(f"SELECT {', '.join(texts)} FROM t")
    decode: Callable[[Any], bytes] = lambda field: NULL if field is None else field  # noqa: E731
    return {int(row[0]): [decode(field) for field in row] for row in cursor.fetchall()}


def _ids(cursor: Any, where: str) -> set[int]:
    cursor.execute(f"SELECT id FROM t WHERE {where}")
    return {int(row[0]) for row in cursor.fetchall()}
