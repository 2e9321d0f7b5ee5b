"""From mapping and definition to the plan; what does not fit is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bridge.errors import MappingError
from bridge.mapping.compile import check_together, compile_table
from bridge.mapping.model import Defaults, TableMapping
from bridge.mapping.propose import propose_table
from bridge.mapping.read import read_mapping
from bridge.mapping.write import write_mapping
from bridge.names import TableName
from bridge.types.table import SourceTable
from bridge.yamlfile import parse
from tests.unit.mapping.samples import column, index, orders, table


def mapped(source: SourceTable, *edits: tuple[str, str]) -> TableMapping:
    """What init writes for the table, edited and read back."""
    text = write_mapping(propose_table(source, ()))
    for old, new in edits:
        assert old in text, (old, text)
        text = text.replace(old, new)
    return read_mapping(parse(text, Path("orders.yaml"), texts_only=True), Defaults())


def test_key_columns_come_first() -> None:
    plan = compile_table(mapped(orders()), orders())
    assert [c.source.name for c in plan.columns][:3] == ["id", "note", "customer"]
    assert [c.source.name for c in plan.key_columns] == ["id"]
    assert plan.target == TableName("shop", "orders")
    assert [i.name for i in plan.indexes] == ["by_state", "code", "words"]


def test_indexed_texts_compare_bytes() -> None:
    plan = compile_table(mapped(orders()), orders())
    collated = {c.source.name for c in plan.columns if c.collate_c}
    assert collated == {"state", "code", "note"}


def test_a_unique_key_stands_in_for_the_primary_key() -> None:
    source = table(
        column("a", "varchar(9)", nullable=False, length=9, charset="ascii"),
        column("b", "int", nullable=False),
        indexes=(index("ua", "a", unique=True), index("ub", "b", unique=True)),
    )
    plan = compile_table(mapped(source), source)
    assert [c.source.name for c in plan.key_columns] == ["b"]
    assert [i.name for i in plan.indexes] == ["ua"]
    other = compile_table(mapped(source, ("key: [b]", "key: [a]")), source)
    assert [c.source.name for c in other.key_columns] == ["a"]


def test_a_table_without_a_key() -> None:
    source = table(column("a", "int"))
    plan = compile_table(mapped(source), source)
    assert plan.key == 0
    assert not plan.brief_lock


def test_the_version_follows_what_rows_become() -> None:
    base = compile_table(mapped(orders()), orders()).version
    assert compile_table(mapped(orders()), orders(rows=5)).version == base
    wider = compile_table(mapped(orders(), ("gift: ", "gift: ")), orders())
    assert wider.version == base
    edits = [
        (("tinyint(1) -> smallint", "tinyint(1) -> integer"),),
        (("text -> text", "{type: text -> text, nul: strip}"),),
        (("varchar(20) -> varchar(20)", "{type: varchar(20) -> varchar(20), name: c}"),),
        (("on_ddl: stop", "on_ddl: stop\nwhere: id > 5"),),
    ]
    versions = {compile_table(mapped(orders(), *edit), orders()).version for edit in edits}
    assert len(versions | {base}) == 5


def test_defaults_hold_where_a_column_can_have_the_hazard() -> None:
    mapping = replace(
        mapped(orders()), defaults=Defaults(policies={"zero_date": "as-null", "nul": "strip"})
    )
    plan = compile_table(mapping, orders())
    policies = {c.source.name: c.policy for c in plan.columns}
    assert policies["note"].nul == "strip"
    assert policies["id"].nul == "quarantine"
    assert policies["placed"].zero_date == "quarantine"  # NOT NULL there and here


@pytest.mark.parametrize(
    ("old", "new", "said", "hint"),
    [
        ("  gift: ", "  gifts: ", "column gift of shop.orders is not mentioned", "init"),
        ("  gift: ", "  x: int -> int\n  gift: ", "no column “x”", "remove the line"),
        ("tinyint(1) ->", "int ->", "gift is tinyint(1) in the source, not int", "init"),
        ("datetime -> timestamp(0)", "datetime -> timestamp(0) null", "", ""),
        ("datetime -> timestamp(0)", "datetime null -> timestamp", "is not null in", "left"),
        ("smallint", "smallin", "cannot become smallin", "did you mean “smallint”"),
        ("smallint", "smallint not null", "may be NULL in the source", "not null"),
        ("-> timestamp(0)", "-> timestamptz(0)", "zone", "usual targets"),
        ("varchar(20) -> varchar(20)", "varchar(20) -> uuid", "cannot become uuid", "usual"),
        ("key: [id]", "key: [ident]", "no column “ident”", "did you mean “id”"),
        ("key: [id]", "key: [code]", "is its primary key", "key: [id]"),
        ("key: [id]", "key: []", "is its primary key", "key: [id]"),
        ("by_state", "by_sate", "no index “by_sate”", "did you mean “by_state”"),
        ("on_ddl: stop", "where: tennant = 1", "“tennant”", "carried are"),
        ("9c41f0e2", "00000000", "changed since", "init"),
        ("-> shop.orders", "-> pg_shop.orders", "reserved", "another schema"),
        ("-> shop.orders", "-> dbbridge.orders", "reserved", "another schema"),
        ("-> shop.orders", f"-> shop.{'o' * 64}", "longer than", "shorter"),
    ],
)  # fmt: skip
def test_wrong_edits(old: str, new: str, said: str, hint: str) -> None:
    mapping = mapped(orders(), (old, new))
    if not said:
        compile_table(mapping, orders())
        return
    with pytest.raises(MappingError) as caught:
        compile_table(mapping, orders())
    assert caught.value.message.startswith("orders.yaml:")
    assert said in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("column_", "new", "said"),
    [
        ("gift:     tinyint(1) -> smallint", "{type: tinyint(1) -> smallint, zero_date: as-null}",
         "means nothing"),
        ("gift:     tinyint(1) -> smallint", "{type: tinyint(1) -> smallint, name: id}",
         "both become “id”"),
        ("gift:     tinyint(1) -> smallint", "{type: tinyint(1) -> smallint, name: ctid}",
         "PostgreSQL itself"),
        ("gift:     tinyint(1) -> smallint", "{type: tinyint(1) -> smallint, computed: '1'}",
         "not a generated column"),
        ("placed:   datetime -> timestamp(0)",
         "{type: datetime -> timestamptz, zone: Europe/Berln}", "no time zone"),
        ("placed:   datetime -> timestamp(0)",
         "{type: datetime -> timestamp, zero_date: as-null}", "may be NULL"),
        ("state:    enum('new','paid') -> text", "{type: dropped, reason: x}", "not carried"),
    ],
)  # fmt: skip
def test_wrong_columns(column_: str, new: str, said: str) -> None:
    name = column_.split(":", maxsplit=1)[0]
    with pytest.raises(MappingError) as caught:
        compile_table(mapped(orders(), (column_, f"{name}: {new}")), orders())
    assert said in caught.value.message


def test_a_key_gives_nothing_up() -> None:
    source = table(
        column("code", "varchar(9)", nullable=False, length=9, charset="utf8mb4",
               collation="utf8mb4_bin"),
        primary_key=("code",),
    )  # fmt: skip
    edits = {
        "{type: varchar(9) -> text, nul: strip}": "could make two rows one",
        "{type: varchar(9) not null -> text null}": "never NULL",
        "{type: dropped, reason: x}": "not carried",
        "varchar(9) -> citext": "case",
    }
    for new, said in edits.items():
        with pytest.raises(MappingError, match=said):
            compile_table(mapped(source, ("varchar(9) -> varchar(9)", new)), source)


def test_long_names_stay_apart() -> None:
    long = "ä" * 40
    source = table(column(long + "1", "int"), column(long + "2", "int"))
    plan = compile_table(mapped(source), source)
    names = [c.target_name for c in plan.columns]
    assert len(set(names)) == 2
    assert all(len(name.encode()) <= 63 for name in names)


def test_columns_with_postgres_own_names_are_renamed() -> None:
    source = table(column("xmin", "int"), column("oid", "int"))
    plan = compile_table(mapped(source), source)
    assert [c.target_name for c in plan.columns] == ["xmin_", "oid"]


def test_two_tables_need_two_targets() -> None:
    one = mapped(orders())
    other = replace(one, source=TableName("shop", "orders2"))
    with pytest.raises(MappingError, match="same target"):
        check_together([one, other])


def test_unknown_types_are_never_carried_silently() -> None:
    source = table(column("a", "int"), column("g", "geometry"))
    with pytest.raises(MappingError, match="cannot be carried"):
        compile_table(mapped(source), source)
    dropped = mapped(source, ("geometry -> undecided", "{type: dropped, reason: maps}"))
    assert [c.source.name for c in compile_table(dropped, source).columns] == ["a"]
