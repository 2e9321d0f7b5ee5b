"""Models of tables that no sample has: types by choice, several databases, names that collide."""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import configure_mappers

from bridge.generate.model import Models, build
from bridge.generate.package import fingerprint, stale, write
from bridge.mapping.model import ColumnMapping, Defaults, TableMapping
from bridge.mapping.plan import TablePlan
from bridge.names import TableName
from bridge.types import FAMILIES, family_of
from bridge.types.base import ColumnPlan, Policy, SourceColumn
from bridge.types.table import ForeignKey, SourceIndex, SourceTable
from tests.unit.mapping.samples import index

Import = Callable[[Models], dict[str, ModuleType]]


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Import:
    """Writes models, and imports both packages."""

    def load(models: Models) -> dict[str, ModuleType]:
        package = f"models_{secrets.token_hex(5)}"
        for name, text in write(models, "0" * 16).items():
            path = tmp_path / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        found = {
            side: importlib.import_module(f"{package}.{side}") for side in ("legacy", "target")
        }
        configure_mappers()
        return found

    return load


def column(name: str, kind: str, target: str, **said: Any) -> ColumnPlan:
    words = kind.replace("(", " ").split()
    policy = said.pop("policy", Policy())
    source = SourceColumn(name, 1, words[0], kind, unsigned="unsigned" in words, **said)
    return ColumnPlan(source, name, target, source.nullable, policy)


def plan(
    name: str,
    columns: Sequence[ColumnPlan],
    key: int = 1,
    keys: Sequence[ForeignKey] = (),
    indexes: Sequence[SourceIndex] = (),
    target: str = "",
) -> TablePlan:
    schema, table = name.split(".", 1)
    numbered = tuple(
        replace(each, source=replace(each.source, ordinal=place))
        for place, each in enumerate(columns, 1)
    )
    source = SourceTable(
        name=TableName(schema, table),
        flavor="mariadb",
        engine="InnoDB",
        columns=tuple(each.source for each in numbered),
        primary_key=tuple(each.source.name for each in numbered[:key]),
        foreign_keys=tuple(keys),
        indexes=tuple(indexes),
    )
    there = TableName(*(target or name).split(".", 1))
    return TablePlan(source, there, numbered, key, "v1", indexes=tuple(indexes))


def number(name: str, **said: Any) -> ColumnPlan:
    return column(name, "int", "integer", **said)


ID = number("id", nullable=False)


def refer(name: str, columns: str, parent: str, parents: str = "id") -> ForeignKey:
    schema, table = parent.split(".", 1)
    return ForeignKey(name, (*columns.split(),), TableName(schema, table), (*parents.split(),))


def shown(module: ModuleType, name: str) -> dict[str, str]:
    fields = getattr(module, f"{name}Schema").model_fields
    return {
        each: str(getattr(f.annotation, "__name__", f.annotation)) for each, f in fields.items()
    }


@pytest.mark.parametrize("kind", sorted(name for family in FAMILIES for name in family.names))
def test_every_type_has_a_model(kind: str, imported: Import) -> None:
    facts: dict[str, Any] = {"length": 16, "precision": 5, "scale": 2, "charset": "utf8mb4"}
    labels = ("a", "b") if kind in ("enum", "set") else ()
    source = SourceColumn("x", 1, kind, kind, labels=labels, **facts)
    family = family_of(source)
    assert family
    choices = [each.target_type for each in family.proposals(source)]
    columns = [
        ColumnPlan(replace(source, name=f"x{place}"), f"x{place}", target)
        for place, target in enumerate(choices)
    ]
    found = imported(build([plan("shop.kinds", [ID, *columns])], "shop"))
    for module in found.values():
        assert len(module.KindsSchema.model_fields) == 1 + len(choices)


def test_types_by_choice(imported: Import) -> None:
    labels = {"labels": ("a", "b"), "charset": "utf8mb4", "nullable": False}
    columns = [
        ID,
        column("flag", "bit(1)", "boolean", length=1, nullable=False),
        column("clock", "time", "time(0)", nullable=False),
        column("big", "bigint unsigned", "text", nullable=False),
        column("word", "varchar(9)", "citext", length=9, nullable=False),
        column("doc", "json", "text", nullable=False),
        column("one", "enum('a','b')", "varchar(5)", **labels),
        column("any", "set('a','b')", "text", **labels),
        column("odd", "enum('a','?')", "text", **{**labels, "labels": ("a", "?")}),
        column("gap", "set('','b')", "text[]", **{**labels, "labels": ("", "b")}),
        column("free", "decimal(5,2)", "numeric", precision=5, scale=2, nullable=False),
    ]
    models = build([plan("shop.kinds", columns)], "shop")
    found = imported(models)
    assert shown(found["legacy"], "Kinds") == {
        "id": "int", "flag": "int", "clock": "timedelta", "big": "int", "word": "str",
        "doc": "Any", "one": "KindsOne", "any": "frozenset", "odd": "str", "gap": "str",
        "free": "Decimal",
    }  # fmt: skip
    assert shown(found["target"], "Kinds") == {
        "id": "int", "flag": "bool", "clock": "time", "big": "str", "word": "str",
        "doc": "str", "one": "KindsOne", "any": "str", "odd": "str", "gap": "list",
        "free": "Decimal",
    }  # fmt: skip
    assert models.notes == ("shop.kinds.gap: a set, as text",)
    assert hasattr(found["legacy"].schemas, "KindsAny")
    assert not hasattr(found["target"].schemas, "KindsAny")


def test_dates_that_are_none(imported: Import) -> None:
    policies = {"null": "as-null", "text": "as-text", "last": "sentinel:infinity"}
    columns = [
        column(name, "date", "text" if name == "text" else "date", policy=Policy(zero_date=policy))
        for name, policy in policies.items()
    ]
    models = build([plan("shop.days", [ID, *columns])], "shop")
    legacy = imported(models)["legacy"].DaysSchema
    read = legacy.model_validate({"id": 1, "null": "0000-00-00", "text": None, "last": None})
    assert read.null == "0000-00-00"
    assert [note.partition(": ")[0] for note in models.notes] == ["shop.days.last"]


def test_several_databases(imported: Import) -> None:
    key = refer("fk", "user_id", "crm.users")
    plans = [
        plan("crm.users", [ID]),
        plan("shop.users", [ID]),
        plan("shop.order-line", [ID, number("user_id")], keys=[key], target="sales.lines"),
        plan("shop.lines", [ID], target="sales.Lines"),
    ]
    found = imported(build(plans, "shop"))
    for side, tables in (
        ("legacy", {"Users": "crm.users", "ShopUsers": "users", "SalesLines": "order-line"}),
        ("target", {"Users": "crm.users", "ShopUsers": "shop.users", "SalesLines": "sales.lines"}),
    ):
        assert {n: str(getattr(found[side], n).__table__) for n in tables} == tables
        (relation,) = sa.inspect(found[side].SalesLines).relationships
        assert (relation.key, relation.back_populates) == ("user", "sales_lines")


def test_keys_of_which_the_target_has_none(imported: Import) -> None:
    parents = plan("shop.parents", [ID, number("no.2")])
    keys = [
        refer("to_nobody", "a", "shop.gone"),
        refer("to_column", "b", "shop.parents", "dropped"),
        refer("to_dot", "c", "shop.parents", "no.2"),
        refer("to_text", "d", "shop.parents"),
        refer("to_id", "e_id", "shop.parents"),
        refer("again", "e_id", "shop.parents"),
    ]
    columns = [*map(number, ("a", "b", "c")), column("d", "int", "text"), number("e_id")]
    models = build([parents, plan("shop.children", [ID, *columns], keys=keys)], "shop")
    found = imported(models)
    names = {
        side: sorted(each.key for each in sa.inspect(found[side].Children).relationships)
        for side in found
    }
    assert names == {"legacy": ["d_parents", "e"], "target": ["e"]}
    assert {note.split(":")[0].split()[-1] for note in models.notes} == {
        "to_nobody", "to_column", "to_dot", "to_text",
    }  # fmt: skip


def test_a_table_without_a_key_refers_and_is_referred_to(imported: Import) -> None:
    code = index("code", "code", unique=True)
    keys = [refer("fk", "class", "shop.parents", "code")]
    plans = [
        plan("shop.parents", [number("code")], key=0, indexes=[code]),
        plan("shop.children", [number("class")], key=0, keys=keys),
    ]
    found = imported(build(plans, "shop"))
    for module in found.values():
        (key,) = module.Children.foreign_keys
        assert (key.parent, key.column) == (module.Children.c.class_, module.Parents.c.code)


def test_a_parent_has_one_child_where_the_key_is_unique(imported: Import) -> None:
    keys = [refer("one", "one_id", "shop.parents"), refer("many", "many_id", "shop.parents")]
    columns = [ID, number("one_id"), number("many_id")]
    unique = [index("u", "one_id", unique=True), index("m", "many_id", "id", unique=True)]
    plans = [plan("shop.parents", [ID]), plan("shop.child", columns, keys=keys, indexes=unique)]
    parents = sa.inspect(imported(build(plans, "shop"))["target"].Parents)
    lists = {relation.key: relation.uselist for relation in parents.relationships}
    assert lists == {"child_by_one": False, "child_by_many": True}


def mapping(**said: Any) -> TableMapping:
    columns = (ColumnMapping("id", "int", "integer"), ColumnMapping("day", "date", "date"))
    name = TableName("shop", "orders")
    return TableMapping(**{"source": name, "target": name, "columns": columns, **said})


@pytest.mark.parametrize(
    "said",
    [
        {"target": TableName("sales", "orders")},
        {"fingerprint": "9c41f0e2"},
        {"key": ("id",)},
        {"indexes": ("a",)},
        {"columns": (ColumnMapping("id", "int", "integer"),)},
        {"columns": (ColumnMapping("id", "int", "bigint"), ColumnMapping("day", dropped=True))},
        {"defaults": Defaults(policies={"zero_date": "as-null"})},
    ],
    ids=lambda said: next(iter(said)),
)
def test_what_models_depend_on_changes_the_fingerprint(said: dict[str, Any]) -> None:
    assert fingerprint([mapping(**said)], "shop") != fingerprint([mapping()], "shop")


def test_what_they_do_not_leaves_it() -> None:
    said = {"group": "g", "where": "id > 0", "lock": "brief", "reason": "r", "file": "f"}
    other = TableMapping(TableName("shop", "log"), None)
    assert fingerprint([mapping(**said), other], "shop") == fingerprint([mapping()], "shop")


def test_files_are_known_again() -> None:
    text = write(build([plan("shop.orders", [ID])], "shop"), "0" * 16)["target/tables.py"]
    assert stale(text, "0" * 16) == ""
    assert stale(text, "1" * 16) == "was written for another mapping"
    assert stale(text + "\n", "0" * 16) == "was edited"
    assert stale("", "0" * 16) == "was not written by dbbridge generate"
