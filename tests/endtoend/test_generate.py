"""Generated models of real schemas: their layout, their types, and rows that go through them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, configure_mappers

from bridge.capture.catalog import read_catalog
from bridge.names import TableName
from bridge.types.base import SourceColumn
from bridge.types.table import ForeignKey, SourceTable
from compose.local.servers import Server
from tests.endtoend.generated import Sample, created, sample, scripts, value
from tests.endtoend.project import CHECKOUT

NAMES = ("odd", "chinook", "sakila")
SIDES = ("legacy", "target")
_NUMBERS = (int, int | None, Decimal, Decimal | None)


@pytest.fixture(scope="module")
def samples(
    source: Server, postgres: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Sample]]:
    """All schemas of which there are scripts, on one kind of source."""
    folder = tmp_path_factory.mktemp(f"generated_{source.kind}")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        yield {
            name: stack.enter_context(sample(name, source, postgres, folder, patch))
            for name in NAMES
            if scripts(name, source.kind)
        }


@pytest.fixture(params=NAMES)
def one(request: pytest.FixtureRequest, samples: dict[str, Sample]) -> Sample:
    """Each schema in turn."""
    if request.param not in samples:
        pytest.skip(f"the script of {request.param} is not there")
    return samples[request.param]


def test_the_layout_is_the_formatters(samples: dict[str, Sample]) -> None:
    folders = [str(one.models) for one in samples.values()]
    ruff = [sys.executable, "-m", "ruff"]
    for words in (["format", "--check"], ["check", "--select", "E4,E7,E9,F,I,UP,N999"]):
        options = ["--isolated", "--line-length", "100", "--target-version", "py311"]
        done = _run([*ruff, *words, *options, *folders])
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("source", ["mariadb"], indirect=True)
def test_the_types_are_right(samples: dict[str, Sample]) -> None:
    cache = CHECKOUT / ".mypy_cache" / "generated"
    folders = [str(one.models) for one in samples.values()]
    options = ["--strict", "--config-file", "", "--cache-dir", str(cache)]
    done = _run([sys.executable, "-m", "mypy", *options, *folders])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("side", SIDES)
def test_rows_come_back(one: Sample, side: str) -> None:
    with created(one, side) as (module, engine):
        configure_mappers()
        rows = {(name, n): _row(module, name, n) for name in _classes(module) for n in (1, 2)}
        for number in (1, 2):
            with Session(engine) as writing:
                for name in _classes(module):
                    _write(writing, module, name, rows[name, number])
                writing.commit()
        with Session(engine) as reading:
            for (name, number), row in rows.items():
                _read(reading, module, name, row, number)


def test_the_source_has_such_tables(one: Sample) -> None:
    with created(one, "legacy") as (_, engine), closing(one.source.connect()) as conn:
        wanted = read_catalog(conn, one.source.name)
        found = read_catalog(conn, engine.url.database or "")
    made = {name.table: table for name, table in found.items()}
    for name, table in wanted.items():
        here, there = _shown(made[name.table]), _shown(table)
        for what, shown in there.items():
            assert here[what] == shown, (name, what)


def _shown(table: SourceTable) -> dict[str, Any]:
    """What models say of a table."""
    columns = {c.name: c for c in table.columns if c.data_type not in ("point", "geometry")}
    keys = {key.name: _key(key) for key in table.foreign_keys}
    kept = {i.name: i for i in table.indexes if i.kind != "SPATIAL"}
    return {
        **{name: _column(column) for name, column in columns.items()},
        "(key)": table.primary_key if table.name.table != "codes" else (),
        "(indexes)": kept if table.name.table != "codes" else {},
        "(foreign keys)": keys,
        "(comment)": table.comment,
    }


def _key(key: ForeignKey) -> ForeignKey:
    """Wherever its parent is; MySQL does the same for RESTRICT as for NO ACTION."""
    deleted, updated = (
        "NO ACTION" if action == "RESTRICT" else action for action in (key.on_delete, key.on_update)
    )
    parent = TableName("", key.parent.table)
    return replace(key, parent=parent, on_delete=deleted, on_update=updated)


def _column(column: SourceColumn) -> SourceColumn:
    """Without its place, and without what the catalogue does not tell in full."""
    default = None if column.data_type == "varbinary" else column.default
    expression = re.sub(r"\b_\w+(?=')", "", column.expression)  # the charset of a constant
    return replace(column, ordinal=0, default=default, expression=expression)


def test_the_target_has_such_tables(one: Sample, capsys: pytest.CaptureFixture[str]) -> None:
    with created(one, "target"):
        for phase in ("tables", "indexes"):
            capsys.readouterr()
            assert one.run("schema", "plan", "--phase", phase) == 0
            assert "nothing to do: the target has it all" in capsys.readouterr().out
        assert one.run("schema", "plan", "--phase", "constraints", "--format", "json") == 0
        steps = json.loads(capsys.readouterr().out)["steps"]
        assert not [step["name"] for step in steps if "foreign key" in step["name"]]


def test_both_sides_have_the_same_names(one: Sample) -> None:
    legacy, target = (one.module(side) for side in SIDES)
    assert legacy.__all__ == target.__all__
    for name in _classes(legacy):
        assert [*_columns(legacy, name)] == [*_columns(target, name)]
        fields = [getattr(module, f"{name}Schema").model_fields for module in (legacy, target)]
        assert [*fields[0]] == [*fields[1]] == [*_columns(legacy, name)]


def _run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)


def _classes(module: ModuleType) -> list[str]:
    found = [name.removesuffix("Schema") for name in module.__all__ if name.endswith("Schema")]
    return [name for name in found if name != "Base"]


def _row(module: ModuleType, name: str, number: int) -> dict[str, Any]:
    """Values of all columns that the database does not compute; the key is the number."""
    fields = getattr(module, f"{name}Schema").model_fields
    columns = _columns(module, name)
    plain = {each: column for each, column in columns.items() if column.computed is None}
    joined = _joined(module)
    return {
        each: number
        if (column.primary_key or column in joined) and fields[each].annotation in _NUMBERS
        else value(fields[each], number)
        for each, column in plain.items()
    }


def _joined(module: ModuleType) -> set[Any]:
    """Columns of foreign keys, at both their ends."""
    keys = [key for table in module.Base.metadata.tables.values() for key in table.foreign_keys]
    return {column for key in keys for column in (key.parent, key.column)}


def _columns(module: ModuleType, name: str) -> dict[str, Any]:
    """Each attribute's column."""
    owner = getattr(module, name)
    if isinstance(owner, sa.Table):
        return dict(owner.c.items())
    return {each.key: each.columns[0] for each in sa.inspect(owner).column_attrs}


def _write(writing: Session, module: ModuleType, name: str, row: dict[str, Any]) -> None:
    owner = getattr(module, name)
    if isinstance(owner, sa.Table):
        writing.execute(owner.insert().values(row))
    else:
        # SQLAlchemy leaves None to the column's default; this writes NULL.
        columns = _columns(module, name)
        null = {a for a, v in row.items() if v is None and columns[a].server_default}
        writing.add(owner(**{**row, **dict.fromkeys(null, sa.null())}))


def _read(reading: Session, module: ModuleType, name: str, row: dict[str, Any], n: int) -> None:
    owner = getattr(module, name)
    schema = getattr(module, f"{name}Schema")
    if isinstance(owner, sa.Table):
        found: Any = reading.execute(sa.select(owner)).all()[n - 1]
    else:
        keys = sa.inspect(owner).primary_key
        names = [sa.inspect(owner).get_property_by_column(key).key for key in keys]
        found = reading.get_one(owner, tuple(row[name] for name in names))
        for relation in sa.inspect(owner).relationships:
            getattr(found, relation.key)
    read = schema.model_validate(found, from_attributes=True)
    held = read.model_dump()
    assert {attribute: held[attribute] for attribute in row} == row, name
    assert schema.model_validate_json(read.model_dump_json()) == read, name
