"""What Debezium 3.6.1 really sent, beside what the server prints; see tests/data/debezium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bridge.capture.debezium.envelope import (
    Heartbeat,
    Message,
    RowChange,
    SchemaChange,
    Tombstone,
    TransactionMark,
    classify,
)
from bridge.capture.debezium.rows import EventDecoder, compile_events
from bridge.capture.debezium.settings import judge, judge_tables, read_settings
from bridge.change.batch import Image
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.types.base import NULL, ColumnPlan, SourceColumn
from bridge.types.table import SourceTable
from tests.data.debezium.record import DATABASE, EVERY, LATER, MODES, plan_of
from tests.unit.types.columns import family

DATA = Path(__file__).parents[3] / "data" / "debezium"


@cache
def lines(name: str) -> list[dict[str, Any]]:
    with (DATA / f"{name}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def config(mode: str) -> dict[str, str]:
    said: dict[str, str] = lines(mode)[0]["config"]
    return said


def messages(mode: str, topic: str = "") -> Iterator[bytes | None]:
    for line in lines(mode)[1:]:
        if not topic or line["topic"] == topic:
            yield None if line["value"] is None else line["value"].encode()


def plan(mode: str, rename: dict[str, str] | None = None) -> TablePlan:
    """All columns that the mode keeps."""
    names = rename or {}
    sources = tuple(
        SourceColumn(
            **{
                **line,
                "labels": tuple(line["labels"]),
                "name": names.get(line["name"], line["name"]),
            }
        )
        for line in lines("columns")
    )
    table = SourceTable(EVERY, "mysql", "InnoDB", sources, ("id",))
    whole = TablePlan(table, TableName("public", "every"), tuple(map(plan_of, sources)), 1, "v1")
    found = judge_tables([whole], read_settings(config(mode)))
    lost = {one.column for one in found if one.code == "K018"}
    kept = tuple(column for column in whole.columns if column.source.name not in lost)
    return TablePlan(table, whole.target, kept, 1, "v1")


def expected(made: TablePlan, key: int) -> list[bytes]:
    """The row's fields, in the plan's order; the two last columns are computed from the key."""
    fields = lines("expected")[key % LATER - 1]["fields"]
    fields = [str(key), *fields[1:-2], str(key + 1), str(key + 2)]
    texts = [fields[column.source.ordinal - 1] for column in made.columns]
    return [NULL if text is None else text.encode() for text in texts]


def agree(column: ColumnPlan, found: bytes, wanted: bytes) -> bool:
    if found == wanted or column.target_type != "jsonb":
        return found == wanted
    plain = (text.replace(b"\\\\", b"\\") for text in (found, wanted))
    return family(column.source).same(column, *plain)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("plain", [False, True])
def test_every_type(mode: str, plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snapshot's rows and the logged ones are what the server prints.

    A column's name has a quote, so the rows are read column by column; if it had none they are not.
    """
    if plain:
        monkeypatch.setattr(EventDecoder, "_apply_slowly", None)
    made = plan(mode, {'c"3': "c_3"} if plain else {})
    decoder = compile_events(made, read_settings(config(mode)))
    seen = set()
    for message in messages(mode, f"recorded.{EVERY}"):
        value = message.replace(b'c\\"3', b"c_3") if message and plain else message
        rows: dict[bytes, Image | None] = {}
        if value is None or decoder.apply(value, rows, ("t", 0, 0)).op not in ("r", "c"):
            continue
        ((key, image),) = rows.items()
        if int(key) > 2 * LATER:
            continue
        assert isinstance(image, bytes), image
        seen.add(int(key))
        fields, wanted = image.split(b"\t"), expected(made, int(key))
        wrong = [
            (column.source.name, column.source.column_type, found, right)
            for column, found, right in zip(made.columns, fields, wanted, strict=True)
            if not agree(column, found, right)
        ]
        assert not wrong, key
    assert {1, 2, LATER + 1, LATER + 2} <= seen


def told() -> list[Message]:
    return [classify(value, ("t", 0, 0), schemas=False) for value in messages("recommended")]


def test_what_else_came() -> None:
    kinds = {type(one) for one in told()}
    assert kinds == {RowChange, Tombstone, Heartbeat, SchemaChange, TransactionMark}


def test_transactions() -> None:
    """Each change tells its place; the marks tell how many there were of each table."""
    marks = [one for one in told() if isinstance(one, TransactionMark)]
    begun = {one.id for one in marks if one.begins}
    ended = {one.id: dict(one.counts) for one in marks if not one.begins}
    changes = [one for one in told() if isinstance(one, RowChange) and one.op in "cud"]
    assert changes
    for change in changes:
        inside = change.transaction
        assert inside is not None
        assert inside.id in begun
        assert change.source.gtid == inside.id
        if inside.id in ended:
            assert inside.total_order <= sum(ended[inside.id].values())


def test_changes_of_definitions() -> None:
    changes = [one for one in told() if isinstance(one, SchemaChange) and not one.source.initial]
    (altered,) = (one for one in changes if one.ddl.startswith("ALTER"))
    assert altered.tables == (TableName(DATABASE, "keyless"),)
    assert altered.source.gtid


def test_a_table_without_a_key() -> None:
    columns = (
        SourceColumn("a", 1, "int", "int"),
        SourceColumn("b", 2, "varchar", "varchar(10)", length=10),
    )
    name = TableName(DATABASE, "keyless")
    table = SourceTable(name, "mysql", "InnoDB", columns, ())
    plans = (ColumnPlan(columns[0], "a", "integer"), ColumnPlan(columns[1], "b", "varchar(10)"))
    made = TablePlan(table, TableName("public", "keyless"), plans, 0, "v1")
    decoder = compile_events(made, read_settings(config("recommended")))
    found = []
    for value in messages("recommended", f"recorded.{name}"):
        if value is not None:  # a delete has its tombstone, though there is no key
            event, before, after = decoder.pair(value, ("t", 0, 0))
            found.append((event.op, before, after))
    assert found == [
        ("c", None, b"1\tone"),
        ("u", b"1\tone", b"1\ttwo"),
        ("d", b"1\ttwo", None),
        ("t", None, None),
    ]


def test_a_changed_key_and_deletes() -> None:
    made = compile_events(plan("recommended"), read_settings(config("recommended")))
    rows: dict[bytes, Image | None] = {}
    ops = ""
    for value in messages("recommended", f"recorded.{EVERY}"):
        if value is not None:
            change = made.apply(value, rows, ("t", 0, 0))
            ops += "" if change.source.incremental else change.op
    assert ops.endswith("udcd")
    assert rows[b"1001"] is rows[b"1002"] is None
    assert isinstance(rows[b"3000"], bytes)


def test_rows_of_snapshots() -> None:
    """The first one has a generation; the one that was asked for later, beside the stream, none."""
    first: set[tuple[str, int] | None] = set()
    later: set[tuple[str, int] | None] = set()
    for one in told():
        if isinstance(one, RowChange) and one.op == "r":
            (later if one.source.incremental else first).add(one.source.generation)
    assert len(first) == 1
    assert None not in first
    assert later == {None}


def test_the_recommended_settings() -> None:
    assert [one.code for one in judge(config("recommended"))] == ["K013"]
