"""What init proposes, from the definition and from what was found in the rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bridge.findings import Finding, finding
from bridge.mapping.compile import compile_table
from bridge.mapping.groups import propose_groups
from bridge.mapping.model import ColumnMapping, Defaults
from bridge.mapping.notation import write_tables
from bridge.mapping.propose import propose_table, propose_target
from bridge.mapping.read import read_mapping
from bridge.mapping.write import column_type, write_mapping
from bridge.names import TableName
from bridge.types.table import ForeignKey, SourceTable
from bridge.yamlfile import parse
from tests.unit.mapping.samples import column, index, orders, table

UTF8 = {"charset": "utf8mb4", "collation": "utf8mb4_general_ci"}


def proposed(source: SourceTable, name: str, *findings: Finding) -> ColumnMapping:
    found = propose_table(source, [replace(f, column=name) for f in findings]).column(name)
    assert found is not None
    return found


def test_the_proposal_is_what_the_file_says() -> None:
    proposal = propose_table(orders(), (), group="customers")
    text = write_mapping(proposal)
    read = read_mapping(parse(text, Path("x.yaml"), texts_only=True), Defaults())
    assert read == proposal
    assert write_mapping(read) == text


@pytest.mark.parametrize(
    ("found", "target", "reason"),
    [
        ([finding("D012", count=0)], "tinyint(1) -> boolean", "D012 full scan: only 0 and 1"),
        ([finding("D012", count=2)], "tinyint(1) -> smallint", "D012 2 rows with other"),
        ([finding("D012", count=0, sampled=True)], "tinyint(1) -> smallint", "D012 only a sample"),
        ([], "tinyint(1) -> smallint", ""),
    ],
)
def test_flags(found: list[Finding], target: str, reason: str) -> None:
    mapped = proposed(orders(), "gift", *found)
    assert column_type(mapped) == target
    assert mapped.reason.startswith(reason)


@pytest.mark.parametrize(
    ("name", "found", "target"),
    [
        ("id", [finding("D011", fact=9_123_400_118)], "bigint"),
        ("id", [finding("D011", fact=2**63)], "numeric(20,0)"),
        ("id", [finding("D011", fact=5, sampled=True)], "numeric(20,0)"),
        ("id", [], "numeric(20,0)"),
        ("customer", [finding("D011", fact=5)], "bigint"),
        ("plain", [finding("D011", fact=5)], "numeric(20,0)"),
    ],
)
def test_big_counters_and_what_refers_to_them(name: str, found: list[Finding], target: str) -> None:
    source = replace(
        orders(), columns=(*orders().columns, column("plain", "bigint unsigned"))
    ) if name == "plain" else orders()  # fmt: skip
    assert proposed(source, name, *found).target_type == target


def test_zero_dates_become_null_where_there_are_any() -> None:
    mapped = proposed(orders(), "placed", finding("D017", count=31_204))
    assert column_type(mapped) == "datetime not null -> timestamp(0) null"
    assert mapped.policies == {"zero_date": "as-null"}
    assert mapped.reason == "D017 31,204 rows"
    assert proposed(orders(), "placed").policies == {}


def test_a_key_gets_no_policy() -> None:
    source = table(column("day", "date", nullable=False), primary_key=("day",))
    mapped = proposed(source, "day", finding("D017", count=1))
    assert (column_type(mapped), mapped.policies) == ("date -> date", {})
    assert mapped.reason == "D017 1 row"


def test_nul_is_stripped_only_where_rows_stay_different() -> None:
    assert proposed(orders(), "note", finding("D015", count=2)).policies == {"nul": "strip"}
    assert proposed(orders(), "code", finding("D015", count=2)).policies == {}


def test_what_cannot_be_carried_is_left_to_the_reader() -> None:
    source = table(column("g", "geometry"), column("y", "year(2)"))
    for mapped in propose_table(source, ()).columns:
        assert mapped.target_type == "undecided"
        assert mapped.reason.startswith("T003")


def test_generated_columns_are_computed_where_that_means_the_same() -> None:
    source = table(
        column("a", "int"),
        column("b", "bigint", generated="stored", expression="(`a` + 1)"),
        column("c", "varchar(9)", length=9, generated="virtual", expression="uuid()", **UTF8),
    )
    plan = compile_table(propose_table(source, ()), source)
    assert [c.source.name for c in plan.columns] == ["a", "c"]
    assert [(c.source.name, sql) for c, sql in plan.computed] == [("b", '("a"::bigint + 1)')]


def test_indexes() -> None:
    expression = index("e", "a")
    source = table(
        column("a", "int"),
        column("g", "geometry"),
        indexes=(
            index("plain", "a"),
            index("words", "a", kind="FULLTEXT"),
            index("place", "g", kind="SPATIAL"),
            index("both", "a", "g"),
            replace(
                expression,
                parts=(replace(expression.parts[0], column="", expression="uuid()"),),
            ),
        ),
    )
    proposal = propose_table(source, ())
    assert proposal.indexes == ("plain", "words")
    assert set(proposal.not_carried) == {"place", "both", "e"}


@pytest.mark.parametrize(
    ("name", "target"),
    [
        (TableName("shop", "orders"), "shop.orders"),
        (TableName("pg_shop", "a"), "my_pg_shop.a"),
        (TableName("dbbridge", "a"), "my_dbbridge.a"),
    ],
)
def test_targets(name: TableName, target: str) -> None:
    assert write_tables(name, propose_target(name)).endswith(f" -> {target}")


def test_groups_are_what_foreign_keys_tie_together() -> None:
    def named(name: str, *parents: str) -> SourceTable:
        keys = tuple(ForeignKey(p, ("x",), TableName("shop", p), ("id",)) for p in parents)
        return table(column("x", "int"), name=TableName("shop", name), foreign_keys=keys)

    groups = propose_groups(
        [
            named("customers"),
            named("orders", "customers"),
            named("lines", "orders", "products"),
            named("products", "products"),
            named("reviews", "customers", "elsewhere"),
            named("log"),
        ]
    )
    assert {name.table: group for name, group in groups.items()} == {
        "customers": "customers",
        "orders": "customers",
        "lines": "customers",
        "products": "customers",
        "reviews": "customers",
        "log": "log",
    }
