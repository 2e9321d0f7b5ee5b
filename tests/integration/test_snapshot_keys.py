"""Chunks by keys of every kind hold each row exactly once."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from bridge.capture.chunks import next_bound
from tests.integration.copied import chunks_of, lines_of, plan_of, run, session

ROWS = 150


@pytest.fixture
def conn(source_db: Any) -> Iterator[Any]:
    with closing(session(source_db)) as opened:
        yield opened


def _text(rng: random.Random, alphabet: str, most: int = 6) -> str:
    letters = "".join(rng.choice(alphabet) for _ in range(rng.randint(0, most)))
    return f"_utf8mb4 x'{letters.encode().hex()}'"


def _double(rng: random.Random) -> str:
    while True:
        value: float = struct.unpack("<d", rng.randbytes(8))[0]
        if value == value and abs(value) < 1e308:
            return repr(value)


def _single(rng: random.Random) -> str:
    value: float = struct.unpack("<f", rng.randbytes(4))[0]
    return repr(value) if value == value and abs(value) < 3e38 else "0.1"


def _moment(rng: random.Random) -> str:
    day = f"{rng.randint(1, 9999):04}-{rng.randint(0, 12):02}-{rng.randint(0, 28):02}"
    clock = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}"
    return f"'{day} {clock}.{rng.randint(0, 999999):06}'"


ODD = "aAäÄàeEéßsS zZ😀\u0301\\'\"%_\t"
KINDS: dict[str, tuple[str, Callable[[random.Random], str]]] = {
    "tinyint": ("tinyint", lambda r: str(r.randint(-128, 127))),
    "bigint": ("bigint", lambda r: str(r.randint(-(2**63), 2**63 - 1))),
    "unsigned": ("bigint unsigned", lambda r: str(r.randint(0, 2**64 - 1))),
    "zerofill": ("int(10) unsigned zerofill", lambda r: str(r.randint(0, 2**32 - 1))),
    "decimal": ("decimal(40,20)", lambda r: f"{r.randint(-99, 99)}.{r.randint(0, 10**20 - 1):020}"),
    "float": ("float", _single),
    "double": ("double", _double),
    "year": ("year", lambda r: str(r.choice([0, *range(1901, 2156)]))),
    "bit": ("bit(40)", lambda r: str(r.randrange(2**40))),
    "date": ("date", lambda r: _moment(r)[:11] + "'"),
    "datetime": ("datetime", lambda r: _moment(r)[:20] + "'"),
    "datetime6": ("datetime(6)", _moment),
    "timestamp": ("timestamp(3)", lambda r: f"from_unixtime({r.randint(1, 2**31 - 1)}.125)"),
    "time": ("time(2)", lambda r: f"sec_to_time({r.randint(-3020399, 3020399)}.25)"),
    "default": ("varchar(20)", lambda r: _text(r, ODD)),
    "general": (
        "varchar(20) character set utf8mb4 collate utf8mb4_general_ci",
        lambda r: _text(r, ODD),
    ),
    "unicode": (
        "char(20) character set utf8mb4 collate utf8mb4_unicode_520_ci",
        lambda r: _text(r, ODD),
    ),
    "bin": ("varchar(20) character set utf8mb4 collate utf8mb4_bin", lambda r: _text(r, ODD)),
    "utf8mb3": ("varchar(20) character set utf8", lambda r: _text(r, "aAäéß z€")),
    "latin1": ("varchar(20) character set latin1", lambda r: _text(r, "aAäéß z€")),
    "latin1_bin": (
        "char(20) character set latin1 collate latin1_bin",
        lambda r: _text(r, "aAäéß z€"),
    ),
    "utf16": ("varchar(20) character set utf16", lambda r: _text(r, ODD)),
    "sjis": ("varchar(20) character set sjis", lambda r: _text(r, "aAアｱ表ソ z\\")),
    "binary": ("binary(4)", lambda r: f"x'{r.randbytes(4).hex()}'"),
    "varbinary": ("varbinary(4)", lambda r: f"x'{r.randbytes(r.randint(0, 4)).hex()}'"),
    "enum": (
        f"enum({','.join(repr(f'l{n}') for n in random.Random(5).sample(range(200), 200))})",
        lambda r: str(r.randint(0, 200)),
    ),
    "set": ("set('h','g','f','e','d','c','b','a')", lambda r: str(r.randrange(256))),
}


def _fill(conn: Any, name: str, columns: list[str], key: str, rows: list[str]) -> None:
    listed = ", ".join(f"k{n} {kind} not null" for n, kind in enumerate(columns))
    run(
        conn,
        f"CREATE TABLE {name} ({listed}, v int not null, {key}) CHARACTER SET utf8mb4",
        # Values that are equal under the key's collation are refused, each after the first.
        f"INSERT IGNORE INTO {name} VALUES {', '.join(rows)}",
    )


def _check(conn: Any, database: Any, name: str, rows: int, key: list[str] | None = None) -> int:
    """Each row is in one chunk, and all but the last two hold `rows` rows."""
    targets = {
        row[0]: "text"
        for row in run(conn, f"SHOW COLUMNS FROM {name}")
        if row[1].startswith(("date", "time", "year"))
    }
    plan = plan_of(database, name, targets=targets, key=key)
    chunks = chunks_of(conn, plan, rows)
    found: list[bytes] = []
    for number, (lower, upper) in enumerate(chunks):
        lines = lines_of(conn, plan, lower, upper)
        assert number >= len(chunks) - 1 or len(lines) == rows
        found += [line.rpartition(b"\t")[2] for line in lines]
    expected = [str(row[0]).encode() for row in run(conn, f"SELECT v FROM {name}")]
    assert sorted(found) == sorted(expected)
    return len(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_one_column(source_db: Any, conn: Any, kind: str) -> None:
    declared, value = KINDS[kind]
    rng = random.Random(kind)
    rows = [f"({value(rng)}, {n})" for n in range(ROWS)]
    _fill(conn, "t", [declared], "PRIMARY KEY (k0)", rows)
    assert _check(conn, source_db, "t", 7) > 20
    _check(conn, source_db, "t", 1)


@pytest.mark.parametrize("seed", range(12))
def test_a_key_of_several_columns(source_db: Any, conn: Any, seed: int) -> None:
    rng = random.Random(seed)
    kinds = rng.sample(sorted(KINDS), rng.randint(2, 4))
    few = [[KINDS[kind][1](rng) for _ in range(4)] for kind in kinds]
    rows = [f"({', '.join(rng.choice(part) for part in few)}, {n})" for n in range(ROWS)]
    key = ", ".join(f"k{n}" for n in range(len(kinds)))
    _fill(conn, "t", [KINDS[kind][0] for kind in kinds], f"PRIMARY KEY ({key})", rows)
    _check(conn, source_db, "t", 5)


def test_a_unique_index_serves_in_its_own_order(source_db: Any, conn: Any) -> None:
    rng = random.Random(1)
    rows = [f"({rng.randint(0, 9)}, {_text(rng, 'abcAB')}, {n})" for n in range(ROWS)]
    _fill(conn, "t", ["int", "varchar(9)"], "UNIQUE other (k1, k0)", rows)
    _check(conn, source_db, "t", 6, key=["k0", "k1"])
    explained = str(run(conn, "EXPLAIN SELECT k1 FROM t FORCE INDEX (other) ORDER BY k1, k0"))
    assert "filesort" not in explained


def test_bounds_walk_the_index_and_read_each_row_once(source_db: Any, conn: Any) -> None:
    rows = [f"({n // 1000}, {n}, {n})" for n in range(4000)]
    _fill(conn, "t", ["int", "int"], "PRIMARY KEY (k0, k1)", rows)
    plan = plan_of(source_db, "t")
    lower = next_bound(conn, plan, None, 1500)
    assert lower == (b"1", b"1499")
    upper = next_bound(conn, plan, lower, 100)
    run(conn, "FLUSH STATUS")
    assert len(lines_of(conn, plan, lower, upper)) == 100
    counters = run(conn, "SHOW SESSION STATUS LIKE 'Handler_read%'")
    assert sum(int(count) for _, count in counters) <= 110


def test_nothing_follows_the_last_row(source_db: Any, conn: Any) -> None:
    _fill(conn, "t", ["int"], "PRIMARY KEY (k0)", ["(-5, 0)", "(5, 1)"])
    plan = plan_of(source_db, "t")
    assert next_bound(conn, plan, None, 3) is None
    assert next_bound(conn, plan, None, 2) == (b"5",)
    assert next_bound(conn, plan, (b"5",), 1) is None
    run(conn, "DELETE FROM t")
    assert next_bound(conn, plan, None, 1) is None
    assert lines_of(conn, plan) == []
