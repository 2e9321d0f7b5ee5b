"""Conditions and constants of chunks, without a server."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bridge.capture.chunks import Bound, chunk_condition, chunk_name, key_index, literal
from bridge.types.base import SourceColumn
from bridge.types.table import IndexPart, SourceIndex
from tests.plans import plan


def _column(data_type: str, **more: object) -> SourceColumn:
    return replace(SourceColumn("c", 1, data_type, data_type), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("column", "value", "constant"),
    [
        (_column("bigint"), b"-9223372036854775808", "-9223372036854775808"),
        (_column("int"), b"00012", "00012"),
        (_column("decimal"), b"-0.5000", "-0.5000"),
        (_column("double"), b"0.1", "0.1e0"),
        (_column("float"), b"1.5e-7", "1.5e-7"),
        (_column("date"), b"0000-00-00", "_utf8mb4 x'303030302d30302d3030'"),
        (_column("varbinary"), b"\x00'", "x'0027'"),
        (_column("blob"), b"", "x''"),
        (_column("varchar", charset="latin1"), b"\xe9", "_latin1 x'e9'"),
        (_column("char", charset="utf8mb3"), "é'".encode(), "_utf8mb4 x'c3a927'"),
        (_column("text", charset="utf16"), b"\x00a", "_utf16 x'0061'"),
        (_column("enum", charset="latin1"), b"3", "3"),
        (_column("set", charset="utf8mb4"), b"9", "9"),
        (_column("bit"), b"18446744073709551615", "18446744073709551615"),
    ],
)
def test_constants(column: SourceColumn, value: bytes, constant: str) -> None:
    assert literal(column, value) == constant


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (_column("int"), b"1 OR 1"),
        (_column("int"), b""),
        (_column("int"), b"1\n"),
        (_column("double"), b"nan"),
        (_column("decimal"), b"1e5"),
        (_column("varchar", charset="utf8 x"), b"a"),
    ],
)
def test_what_is_no_constant(column: SourceColumn, value: bytes) -> None:
    with pytest.raises(ValueError, match=" is not a "):
        literal(column, value)


def _bound(row: tuple[int, ...] | None) -> Bound | None:
    return None if row is None else tuple(b"%d" % part for part in row)


def _found(condition: str, rows: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The rows under a condition, by SQLite, which reads these conditions as MySQL does."""
    with sqlite3.connect(":memory:") as conn:
        names = ", ".join("abc"[: len(rows[0])])
        conn.execute(f"CREATE TABLE t ({names})")
        conn.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(rows[0]))})", rows)
        found = conn.execute(f"SELECT * FROM t WHERE {condition or 'TRUE'}").fetchall()
    conn.close()
    return sorted(found)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_ranges_of_keys_of_several_columns(width: int) -> None:
    made = plan("t", [(name, "integer") for name in "abc"[:width]], key=width)
    rows = list(itertools.product(range(3), repeat=width))
    bounds: list[tuple[int, ...] | None] = [None, *rows]
    for lower, upper in itertools.product(bounds, bounds):
        low, high = _bound(lower), _bound(upper)
        expected = [
            row
            for row in rows
            if (lower is None or row > lower) and (upper is None or row <= upper)
        ]
        assert _found(chunk_condition(made, low, high), rows) == expected


def test_an_enum_is_compared_number_by_number() -> None:
    made = plan("t", [("a", "text"), ("b", "integer")], key=2)
    enum = replace(made.columns[0].source, data_type="enum", labels=("x", "y"))
    made = replace(made, columns=(replace(made.columns[0], source=enum), made.columns[1]))
    rows = list(itertools.product(range(3), range(3)))
    for row in rows:
        bound = _bound(row)
        assert _found(chunk_condition(made, bound, None), rows) == [r for r in rows if r > row]
        assert _found(chunk_condition(made, None, bound), rows) == [r for r in rows if r <= row]


def test_the_index_that_holds_the_key() -> None:
    made = plan("t", [("a", "integer"), ("b", "integer")], key=2)
    assert key_index(made).hint == " FORCE INDEX (`PRIMARY`)"
    indexes = (
        SourceIndex("a", (IndexPart("a"),), unique=True),
        SourceIndex("plain", (IndexPart("a"), IndexPart("b"))),
        SourceIndex("b`a", (IndexPart("b"), IndexPart("a")), unique=True),
    )
    keyless = replace(made, table=replace(made.table, primary_key=(), indexes=indexes))
    assert key_index(keyless).hint == " FORCE INDEX (`b``a`)"
    assert [column.name for column in key_index(keyless).columns] == ["b", "a"]
    unknown = replace(made, table=replace(made.table, primary_key=("c",)))
    assert key_index(unknown).hint == ""


def test_names_of_chunks() -> None:
    assert chunk_name(None, None) == "copy to the end"
    assert chunk_name((b"1", "é".encode()), (b"\xff",)) == "copy after (1, é) to (\\xff)"
