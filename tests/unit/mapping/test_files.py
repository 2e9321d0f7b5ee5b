"""Mapping files on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigError, MappingError
from bridge.mapping import files
from bridge.mapping.propose import propose_table
from bridge.mapping.write import write_mapping
from bridge.names import TableName
from tests.unit.mapping.samples import orders

names = st.text(
    st.characters(min_codepoint=1, max_codepoint=0xFFFF, exclude_categories=["Cs"]),
    min_size=1,
    max_size=64,
)


def write(directory: Path, name: TableName, target: TableName | None = None) -> Path:
    table = replace(orders(), name=name)
    path = files.path_for(directory, name, set(directory.glob("**/*.yaml")))
    files.write_file(path, write_mapping(propose_table(table, (), target=target or name)))
    return path


@given(names)
def test_file_names_are_plain(name: str) -> None:
    file = files.file_name(name)
    assert not set(file) & set('/\\:*?"<>|\0\n')
    assert file[0] not in "._"
    assert file[-1] not in ". "
    assert len(file.encode()) < 250


@given(names, names)
def test_file_names_tell_tables_apart(a: str, b: str) -> None:
    directory = Path("m")
    one = files.path_for(directory, TableName("d", a))
    other = files.path_for(directory, TableName("d", b), {one})
    if a != b:
        assert str(one).casefold() != str(other).casefold()


def test_odd_names_come_back(tmp_path: Path) -> None:
    odd = [
        "a'b",
        'a"b',
        "a b",
        "a`b",
        "a%b",
        "x" * 64,
        "таблица",
        "表",
        "../up",
        "_defaults",
        "A",
        "a",
    ]
    for name in odd:
        write(tmp_path, TableName("shop", name), TableName("shop", name[:63]))
    assert {name.table for name in files.read_all(tmp_path)} == set(odd)


def test_two_files_about_one_table(tmp_path: Path) -> None:
    path = write(tmp_path, TableName("shop", "a"))
    (tmp_path / "shop" / "copy.yaml").write_text(path.read_text())
    with pytest.raises(MappingError, match="mapped in"):
        files.read_all(tmp_path)


def test_two_tables_with_one_target(tmp_path: Path) -> None:
    write(tmp_path, TableName("shop", "a"))
    write(tmp_path, TableName("shop", "b"), TableName("shop", "a"))
    with pytest.raises(MappingError, match="same target"):
        files.read_all(tmp_path)


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no mapping files"):
        files.read_all(tmp_path)


def test_defaults_hold_for_their_directory(tmp_path: Path) -> None:
    write(tmp_path, TableName("shop", "a"))
    write(tmp_path, TableName("other", "a"))
    (tmp_path / "shop" / files.DEFAULTS_FILE).write_text("nul: strip\n")
    found = files.read_all(tmp_path)
    assert found[TableName("shop", "a")].defaults.policies == {"nul": "strip"}
    assert found[TableName("other", "a")].defaults.policies == {}


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, TableName("shop", "a"))
    path.write_bytes(b"table: \xff\n")
    with pytest.raises(MappingError, match="not UTF-8"):
        files.read_all(tmp_path)


def test_words_choose_tables(tmp_path: Path) -> None:
    for schema, table in (("shop", "orders"), ("shop", "log"), ("old", "log")):
        write(tmp_path, TableName(schema, table))
    found = files.read_all(tmp_path)
    assert list(files.choose(found, ["orders"])) == [TableName("shop", "orders")]
    assert list(files.choose(found, ["old.log"])) == [TableName("old", "log")]
    assert files.choose(found, []) == found
    with pytest.raises(ConfigError, match="several") as caught:
        files.choose(found, ["log"])
    assert "shop.log" in caught.value.hint
    with pytest.raises(ConfigError, match="no mapped table") as caught:
        files.choose(found, ["oders"])
    assert "did you mean “orders”" in caught.value.hint
