"""Row images into COPY lines, the way that does not need a server to be seen."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.capture.binlog import rows as rows_module
from bridge.capture.binlog.events import DELETE, INSERT, UPDATE
from bridge.capture.binlog.rows import RowDecoder, compile_decoder
from bridge.capture.binlog.table_map import MapColumn, TableMap
from bridge.change.batch import BadRow, Image
from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.types import layout
from bridge.types.base import ColumnPlan, Policy, SourceColumn
from bridge.types.copytext import escape
from bridge.types.table import SourceTable
from tests.unit.capture.binlog.recorded import event

NAME = TableName("shop", "t")
CODES = {
    "int": (layout.LONG, 0), "bigint": (layout.LONGLONG, 0), "varchar": (layout.VARCHAR, 40),
    "longvarchar": (layout.VARCHAR, 900), "mediumblob": (layout.BLOB, 3),
    "longtext": (layout.BLOB, 4), "tinytext": (layout.BLOB, 1), "date": (layout.DATE, 0),
    "double": (layout.DOUBLE, 8),
}  # fmt: skip
TARGETS = {
    "int": "integer", "bigint": "bigint", "varchar": "varchar(40)", "longvarchar": "text",
    "mediumblob": "bytea", "longtext": "text", "tinytext": "text", "date": "date",
    "double": "double precision",
}  # fmt: skip


def column(name: str, kind: str, ordinal: int) -> SourceColumn:
    data_type = kind.replace("longvarchar", "varchar")
    text = kind in ("varchar", "longvarchar", "longtext", "tinytext")
    return SourceColumn(
        name, ordinal, data_type, data_type,
        charset="utf8mb4" if text else None, length=40 if kind == "varchar" else None,
    )  # fmt: skip


def decoder_of(
    kinds: Sequence[str],
    key: Sequence[int],
    *,
    carried: Sequence[int] | None = None,
    mask: bool = False,
) -> RowDecoder:
    """A table with columns c0, c1, … of these kinds; `key` and `carried` are places in it."""
    columns = tuple(column(f"c{n}", kind, n + 1) for n, kind in enumerate(kinds))
    chosen = range(len(kinds)) if carried is None else carried
    order = [*key, *(place for place in chosen if place not in key)]
    plan = TablePlan(
        table=SourceTable(NAME, "mysql", "InnoDB", columns, tuple(f"c{place}" for place in key)),
        target=NAME,
        columns=tuple(
            ColumnPlan(columns[place], f"c{place}", TARGETS[kinds[place]], policy=Policy(mask=mask))
            for place in order
        ),
        key=len(key),
        version="1",
    )
    mapped = tuple(MapColumn(*CODES[kind], nullable=True) for kind in kinds)
    return compile_decoder(plan, TableMap(7, NAME, mapped, None))


def value_bytes(kind: str, value: Any) -> bytes:
    if kind == "int":
        return struct.pack("<i", value)
    if kind == "bigint":
        return struct.pack("<q", value)
    if kind == "double":
        return struct.pack("<d", value)
    if kind == "date":
        year, month, day = value
        return int(year << 9 | month << 5 | day).to_bytes(3, "little")
    data: bytes = value if isinstance(value, bytes) else value.encode()
    width = layout.layout(*CODES[kind])[1]
    return len(data).to_bytes(width, "little") + data


def image(kinds: Sequence[str], values: Sequence[Any]) -> bytes:
    bitmap = bytearray((len(kinds) + 7) // 8)
    body = b""
    for place, (kind, value) in enumerate(zip(kinds, values, strict=True)):
        if value is None:
            bitmap[place >> 3] |= 1 << (place & 7)
        else:
            body += value_bytes(kind, value)
    return bytes(bitmap) + body


def rows_event(
    code: int, columns: int, body: bytes, *, extra: bytes = b"", present: bytes | None = None
) -> bytes:
    """A rows event; all columns are present, with the unused bits set."""
    every = b"\xff" * ((columns + 7) // 8) if present is None else present
    head = (7).to_bytes(6, "little") + b"\1\0"
    if code >= 30:
        head += (2 + len(extra)).to_bytes(2, "little") + extra
    bitmaps = every * (2 if code in (24, 31, 39) else 1)
    return event(code, head + bytes([columns]) + bitmaps + body)


TWO = ("int", "varchar")


def two(*rows: tuple[Any, Any]) -> bytes:
    return b"".join(image(TWO, row) for row in rows)


def applied(decoder: RowDecoder, *changes: tuple[int, bytes]) -> dict[bytes, Image | None]:
    found: dict[bytes, Image | None] = {}
    for kind, each in changes:
        decoder.apply(kind, each, found, "bin.1:5")
    return found


@pytest.fixture(params=[0, 8, 10**9], ids=["compiled", "mixed", "by column"])
def _often(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_OFTEN", request.param)


often = pytest.mark.usefixtures("_often")


@often
@pytest.mark.parametrize("version", [0, 7], ids=["v1", "v2"])
def test_changes_by_key(version: int) -> None:
    decoder = decoder_of(TWO, [0])
    body = two(*((n, "x") for n in range(30)))
    found: dict[bytes, Image | None] = {}
    assert decoder.apply(INSERT, rows_event(23 + version, 2, body), found, "") == 30
    assert found == {b"%d" % n: b"%d\tx" % n for n in range(30)}
    changes = two(*(pair for n in range(30) for pair in ((n, "x"), (n + (n > 20), "y" * (n % 3)))))
    assert decoder.apply(UPDATE, rows_event(24 + version, 2, changes), found, "") == 30
    expected: dict[bytes, bytes | None] = {
        b"%d" % n: b"%d\t%b" % (n, b"y" * (n % 3)) for n in range(21)
    }
    # Each of the keys above 20 moved up by one, in this order.
    expected |= {b"21": None} | {b"%d" % n: None for n in range(22, 30)} | {b"30": b"30\tyy"}
    assert found == expected
    assert (
        decoder.apply(DELETE, rows_event(25 + version, 2, two((0, "x"), (1, None))), found, "") == 2
    )
    assert found[b"0"] is None
    assert found[b"1"] is None


@often
def test_rows_with_and_without_null_in_one_event() -> None:
    decoder = decoder_of(TWO, [0])
    rows = [(n, None if n % 3 else "v") for n in range(40)]
    found = applied(decoder, (INSERT, rows_event(30, 2, two(*rows))))
    assert found == {b"%d" % n: b"%d\t%b" % (n, b"v" if v else rb"\N") for n, v in rows}
    changes = [pair for n, v in rows for pair in ((n, v), (n, "w" if n % 2 else None))]
    found = applied(decoder, (UPDATE, rows_event(31, 2, two(*changes))))
    assert found == {b"%d" % n: b"%d\t%b" % (n, b"w" if n % 2 else rb"\N") for n in range(40)}


@often
def test_key_behind_other_columns_and_columns_left_out() -> None:
    kinds = ("varchar", "int", "mediumblob", "longvarchar", "int")
    decoder = decoder_of(kinds, [3, 1], carried=[1, 3, 4])
    row = ("no", 5, b"\0" * 70_000, "k\\1", 9)
    moved = ("no", 5, b"", "k\t1", None)
    body = b"".join(image(kinds, each) for each in (row, moved))
    for _ in range(2):
        assert applied(decoder, (UPDATE, rows_event(31, 5, body * 10))) == {
            b"k\\\\1\t5": None,
            b"k\\t1\t5": b"k\\t1\t5\t\\N",
        }
    assert decoder.pairs(UPDATE, rows_event(31, 5, body), "") == [
        (b"k\\\\1\t5\t9", b"k\\t1\t5\t\\N")
    ]


@often
def test_only_bytes_that_differ_make_another_key() -> None:
    decoder = decoder_of(("double", "varchar"), [0])
    body = image(("double", "varchar"), (0.0, "a")) + image(("double", "varchar"), (-0.0, "a"))
    found = applied(decoder, (UPDATE, rows_event(31, 2, body * 3)))
    assert found == {b"0": None, b"-0": b"-0\ta"}


@often
def test_a_bad_value_sets_only_its_row_aside() -> None:
    kinds = ("int", "date", "varchar")
    decoder = decoder_of(kinds, [0])
    rows = [(n, (0, 0, 0) if n in (3, 29) else (2024, 1, 31), "t") for n in range(30)]
    body = b"".join(image(kinds, row) for row in rows)
    found = applied(decoder, (INSERT, rows_event(30, 3, body)))
    assert found[b"28"] == b"28\t2024-01-31\tt"
    for key in (b"3", b"29"):
        assert found[key] == BadRow(
            key, "zero-date", "c1", "0000-00-00",
            b"\0" + int(key).to_bytes(4, "little") + b"\0\0\0\1t", "bin.1:5",
        )  # fmt: skip
    pairs = decoder.pairs(INSERT, rows_event(30, 3, body), "bin.1:5")
    assert [after for _, after in pairs] == list(found.values())
    # A bad value in an image that goes away is nobody's concern.
    assert set(applied(decoder, (DELETE, rows_event(32, 3, body))).values()) == {None}


@often
def test_a_bad_key_stops_the_table() -> None:
    kinds = ("date", "varchar")
    for key, shown in (((0, 0, 0), "zero-date"), (None, "NULL")):
        decoder = decoder_of(kinds, [0])
        good = image(kinds, ((2024, 1, 1), "a")) * 20
        bad = image(kinds, (key, "a"))
        body = good + bad
        with pytest.raises(TableStopped, match=shown) as caught:
            applied(decoder, (INSERT, rows_event(30, 2, body)))
        assert caught.value.code == "bad-key"
        assert "c0" in caught.value.message
        with pytest.raises(TableStopped, match=shown):
            applied(decoder, (DELETE, rows_event(32, 2, body)))
        with pytest.raises(TableStopped, match=shown):
            applied(decoder, (UPDATE, rows_event(31, 2, good + bad + good[:6])))
    masked = decoder_of(kinds, [0], mask=True)
    with pytest.raises(TableStopped, match="masked") as caught:
        applied(masked, (INSERT, rows_event(30, 2, image(kinds, ((0, 0, 0), "a")))))
    assert "0000" not in caught.value.message


def test_images_that_are_not_whole_stop_the_table() -> None:
    decoder = decoder_of(TWO, [0])
    for code in (30, 31, 23):
        with pytest.raises(TableStopped) as caught:
            applied(decoder, (INSERT, rows_event(code, 2, two((1, "a")), present=b"\x01")))
        assert caught.value.code == "partial-image"
    with pytest.raises(TableStopped) as caught:
        applied(decoder, (UPDATE, rows_event(39, 2, two((1, "a"), (1, "b")))))
    assert caught.value.code == "partial-image"


def test_unused_bits_and_extra_data_do_not_matter() -> None:
    decoder = decoder_of(TWO, [0])
    body = two((1, "a"))
    for extra in (b"", b"\1\5\0", b"\0\4abcd"):
        for present in (b"\x03", b"\xff"):
            each = rows_event(30, 2, body, extra=extra, present=present)
            assert applied(decoder, (INSERT, each)) == {b"1": b"1\ta"}


@often
def test_events_that_end_elsewhere_stop_the_table() -> None:
    decoder = decoder_of(TWO, [0])
    whole = rows_event(30, 2, two(*((n, "abc") for n in range(20))))
    applied(decoder, (INSERT, whole))
    for broken in (whole[:-1], whole[:-3], whole[:-8], whole + b"\0", whole + b"\0\1\0\0\0\x05"):
        for read in (
            lambda each=broken: applied(decoder, (INSERT, each)),
            lambda each=broken: decoder.pairs(INSERT, each, ""),
            lambda each=broken: applied(decoder, (DELETE, each[:4] + b"\x20" + each[5:])),
        ):
            with pytest.raises(TableStopped) as caught:
                read()
            assert caught.value.code == "undecodable"
    with pytest.raises(TableStopped, match="3 columns"):
        applied(decoder, (INSERT, rows_event(30, 3, b"")))


def test_rows_that_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "ROW_LIMIT", 1000)
    kinds = ("int", "longtext")
    decoder = decoder_of(kinds, [0])
    for size in (10, 2000) * 10:
        each = rows_event(30, 2, image(kinds, (size, "x" * size)))
        (found,) = applied(decoder, (INSERT, each)).values()
        if size == 10:
            assert found == b"10\txxxxxxxxxx"
        else:
            assert isinstance(found, BadRow)
            assert (found.key, found.code, found.raw) == (b"2000", "row-too-large", b"")


def test_the_number_of_functions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_OFTEN", 0)
    monkeypatch.setattr(rows_module, "_FUNCTIONS", 2)
    kinds = ("int",) * 6
    decoder = decoder_of(kinds, [0])
    rows: list[tuple[int | None, ...]] = [
        (n, *(None if n >> bit & 1 else n for bit in range(5))) for n in range(32)
    ]
    body = b"".join(image(kinds, row) for row in rows)
    expected = {line_of(row, [0]): line_of(row, range(6)) for row in rows}
    assert applied(decoder, (INSERT, rows_event(30, 6, body))) == expected
    double = b"".join(image(kinds, row) * 2 for row in rows)
    assert applied(decoder, (UPDATE, rows_event(31, 6, double))) == expected
    assert [after for _, after in decoder.pairs(UPDATE, rows_event(31, 6, double), "")] == list(
        expected.values()
    )


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "varchar": st.text("ab\\\t\n\rä", max_size=6),
    "longvarchar": st.text("ab\\\t\n\r€", max_size=300),
    "longtext": st.text("ab\\\t", max_size=20),
    "tinytext": st.text("ab\\\t", max_size=20),
}


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[str], list[int], list[tuple[Any, Any]]]:
    """Columns, the key among them, and pairs of rows."""
    kinds = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=18))
    places = st.integers(0, len(kinds) - 1)
    key = draw(st.lists(places, min_size=1, max_size=3, unique=True))

    def value(place: int) -> st.SearchStrategy[Any]:
        made = VALUES[kinds[place]]
        return made if place in key else st.none() | made

    row = st.tuples(*(value(place) for place in range(len(kinds))))
    pairs = draw(st.lists(st.tuples(row, row) | row.map(lambda each: (each, each)), max_size=12))
    return kinds, key, pairs


def line_of(row: Sequence[Any], order: Sequence[int]) -> bytes:
    texts = [
        rb"\N" if row[place] is None
        else escape(row[place].encode()) if isinstance(row[place], str)
        else b"%d" % row[place]
        for place in order
    ]  # fmt: skip
    return b"\t".join(texts)


@given(histories(), st.sampled_from([0, 2, 10**9]))
def test_any_rows_of_any_columns(
    history: tuple[list[str], list[int], list[tuple[Any, Any]]], threshold: int
) -> None:
    kinds, key, pairs = history
    order = [*key, *(place for place in range(len(kinds)) if place not in key)]
    decoder = decoder_of(kinds, key)
    body = b"".join(image(kinds, row) for pair in pairs for row in pair)
    each = rows_event(31, len(kinds), body)
    expected: dict[bytes, bytes | None] = {}
    for before, after in pairs:
        if line_of(before, key) != line_of(after, key):
            expected[line_of(before, key)] = None
        expected[line_of(after, key)] = line_of(after, order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "_OFTEN", threshold)
        for _ in range(2):
            assert applied(decoder, (UPDATE, each)) == expected
        assert decoder.pairs(UPDATE, each, "") == [
            (line_of(before, order), line_of(after, order)) for before, after in pairs
        ]
        gone = rows_event(32, len(kinds), b"".join(image(kinds, row) for row, _ in pairs))
        assert applied(decoder, (DELETE, gone)) == {line_of(row, key): None for row, _ in pairs}


def changed(plan: TablePlan, *columns: MapColumn) -> str:
    with pytest.raises(TableStopped) as caught:
        compile_decoder(plan, TableMap(7, NAME, columns, None))
    assert caught.value.code == "definition-changed"
    assert "resync shop.t" in caught.value.hint
    return caught.value.message


def test_another_definition_is_noticed() -> None:
    plan = decoder_of(TWO, [0]).plan
    first = MapColumn(layout.LONG, 0, False, "c0", unsigned=False)
    second = MapColumn(layout.VARCHAR, 160, True, "c1", charset="utf8mb4")
    assert compile_decoder(plan, TableMap(7, NAME, (first, second), None))
    assert "columns" in changed(plan, replace(first, name=None))
    assert "(c0, x)" in changed(plan, first, replace(second, name="x"))
    assert "(c1, c0)" in changed(plan, second, first)
    assert "unsigned" in changed(plan, replace(first, unsigned=True), second)
    assert "latin1" in changed(plan, first, replace(second, charset="latin1"))
    assert "c0" in changed(plan, replace(first, code=layout.LONGLONG), second)
    assert "type 99" in changed(plan, first, replace(second, code=99))
    bare = replace(second, name=None, charset=None), replace(first, name=None, unsigned=None)
    assert "c0" in changed(plan, *bare)


def test_without_names_columns_that_are_not_carried_are_compared_too() -> None:
    plan = decoder_of(("int", "int", "varchar"), [0], carried=[0, 1]).plan
    number = MapColumn(layout.LONG, 0, True)
    assert "c2" in changed(plan, number, number, number)
    named = tuple(replace(number, name=f"c{n}") for n in range(3))
    assert compile_decoder(plan, TableMap(7, NAME, named, None))


def test_bytes_that_became_text_are_noticed() -> None:
    plan = decoder_of(("int", "mediumblob"), [0]).plan
    first = MapColumn(layout.LONG, 0, False, "c0")
    second = MapColumn(layout.BLOB, 3, True, "c1", charset="binary")
    assert compile_decoder(plan, TableMap(7, NAME, (first, second), None))
    assert "utf8mb4" in changed(plan, first, replace(second, charset="utf8mb4"))


def test_other_labels_are_noticed() -> None:
    source = SourceColumn("c0", 1, "enum", "enum('a','b')", charset="utf8mb3", labels=("a", "b"))
    table = SourceTable(NAME, "mysql", "InnoDB", (source,), ())
    plan = TablePlan(table, NAME, (ColumnPlan(source, "c0", "text"),), 0, "1")
    mapped = MapColumn(layout.ENUM, 1, True, "c0", charset="utf8mb3", labels=("a", "b"))
    assert compile_decoder(plan, TableMap(7, NAME, (mapped,), None))
    assert "(b, a)" in changed(plan, replace(mapped, labels=("b", "a")))
