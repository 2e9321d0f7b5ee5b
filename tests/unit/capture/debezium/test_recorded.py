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
from tests.data.debezium.record import EVERY, LATER, MODES, plan_of
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


def test_what_else_came() -> None:
    kinds = [type(classify(value, ("t", 0, 0), schemas=False)) for value in messages("recommended")]
    assert set(kinds) == {RowChange, Tombstone, Heartbeat, SchemaChange, TransactionMark}


def test_a_changed_key_and_deletes() -> None:
    made = compile_events(plan("recommended"), read_settings(config("recommended")))
    rows: dict[bytes, Image | None] = {}
    ops = ""
    for value in messages("recommended", f"recorded.{EVERY}"):
        if value is not None:
            told = made.apply(value, rows, ("t", 0, 0))
            ops += "" if told.source.incremental else told.op
    assert ops.endswith("udcd")
    assert rows[b"1001"] is rows[b"1002"] is None
    assert isinstance(rows[b"3000"], bytes)


def test_rows_of_snapshots() -> None:
    """The first one has a generation; the one that was asked for later, beside the stream, none."""
    first: set[tuple[str, int] | None] = set()
    later: set[tuple[str, int] | None] = set()
    for value in messages("recommended", f"recorded.{EVERY}"):
        told = classify(value, ("t", 0, 0), schemas=False)
        if isinstance(told, RowChange) and told.op == "r":
            (later if told.source.incremental else first).add(told.source.generation)
    assert len(first) == 1
    assert None not in first
    assert later == {None}


def test_the_recommended_settings() -> None:
    assert [one.code for one in judge(config("recommended"))] == ["K013"]
