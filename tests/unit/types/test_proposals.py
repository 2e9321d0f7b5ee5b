"""What is proposed for each type, and what is accepted or refused with which words."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.types import FAMILIES, family_of
from bridge.types.base import ColumnPlan, Policy, SourceColumn
from tests.unit.types.columns import column, family, plan

DEFAULTS = [
    ("tinyint(1)", "smallint"), ("tinyint", "smallint"), ("tinyint unsigned", "smallint"),
    ("smallint", "smallint"), ("smallint unsigned", "integer"), ("mediumint", "integer"),
    ("mediumint unsigned", "integer"), ("int", "integer"), ("int unsigned", "bigint"),
    ("bigint", "bigint"), ("bigint unsigned", "numeric(20,0)"), ("year", "smallint"),
    ("decimal(10,2)", "numeric(10,2)"), ("decimal(65,30) unsigned", "numeric(65,30)"),
    ("float", "real"), ("float unsigned", "real"), ("double", "double precision"),
    ("bit(1)", "bit(1)"), ("bit(64)", "bit(64)"), ("date", "date"),
    ("datetime(3)", "timestamp(3)"), ("timestamp(6)", "timestamptz(6)"), ("time(2)", "interval"),
    ("char(7)", "varchar(7)"), ("varchar(300)", "varchar(300)"), ("tinytext", "text"),
    ("longtext", "text"), ("binary(16)", "bytea"), ("varbinary(9)", "bytea"), ("longblob", "bytea"),
    ("enum('a','b')", "text"), ("set('a','b')", "text[]"), ("json", "jsonb"),
    ("uuid", "uuid"), ("inet6", "inet"), ("inet4", "inet"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target"), DEFAULTS)
def test_default(source: str, target: str) -> None:
    found = family(column(source)).proposals(column(source))
    assert found[0].target_type == target


def test_exceptions_from_the_defaults() -> None:
    counter = column("bigint unsigned", auto_increment=True)
    assert family(counter).proposals(counter)[0].target_type == "bigint"
    text = column("json", flavor="mariadb", charset="utf8mb4")
    assert family(text).proposals(text)[0].target_type == "json"


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("tinyint(1)", "boolean"), ("bigint unsigned", "bigint"), ("bit(1)", "boolean"),
        ("bit(8)", "bigint"), ("datetime(6)", "timestamptz(6)"), ("time", "time(0)"),
        ("binary(16)", "uuid"), ("set('a')", "text"), ("json", "json"), ("json", "text"),
        ("int", "numeric(20,0)"), ("date", "text"),
    ],
)  # fmt: skip
def test_choice(source: str, target: str) -> None:
    assert target in [each.target_type for each in family(column(source)).proposals(column(source))]


@pytest.mark.parametrize("source", [source for source, _ in DEFAULTS])
def test_every_proposal_is_accepted(source: str) -> None:
    for each in family(column(source)).proposals(column(source)):
        zone = "UTC" if source.startswith("datetime") and "tz" in each.target_type else ""
        chosen = plan(source, each.target_type, zone=zone)
        assert family(chosen.source).accepts(chosen) == ""


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("int", "date", {}, "possible: smallint, integer"),
    ("int", "varchar(10)", {}, "varchar(11)"),
    ("int", "numeric(2,3)", {}, "cannot become"),
    ("int", "boolean", {}, "cannot become"),
    ("int", "smallint", {"out_of_range": "ignore"}, "out_of_range: “ignore”"),
    ("year(2)", "smallint", {}, "YEAR(4)"),
    ("decimal(10,2)", "numeric(10,1)", {}, "numeric(10,2)"),
    ("decimal(10,2)", "numeric(9,2)", {}, "numeric(10,2)"),
    ("decimal(10,2)", "bigint", {}, "cannot become"),
    ("decimal(10,2)", "double precision", {}, "cannot become"),
    ("double", "real", {}, "double precision"),
    ("float", "numeric", {}, "cannot become"),
    ("bit(3)", "bit(4)", {}, "bit(3)"),
    ("bit(3)", "boolean", {}, "cannot become"),
    ("date", "timestamp", {}, "possible: date, text"),
    ("date", "date", {"zero_date": "as-text"}, "as-text"),
    ("date", "date", {"zero_date": "sentinel:1970-02-30"}, "is no date"),
    ("date", "date", {"zero_date": "sentinel:1970-01-01 10:00:00"}, "has a time"),
    ("date", "date", {"zero_date": "sentinel:"}, "is no date"),
    ("datetime(6)", "timestamp(3)", {}, "would cut fractions"),
    ("datetime", "timestamptz(0)", {}, "say in which zone"),
    ("datetime", "timestamp(0)", {"zone": "Europe/Berlin"}, "only for timestamptz"),
    ("datetime", "timestamptz(0)", {"zone": "Mars/Olympus"}, "time zone database"),
    ("datetime", "timestamptz(0)", {"zone": "../../etc/passwd"}, "time zone database"),
    ("datetime", "timestamptz(0)", {"zone": "UTC", "ambiguous": "both"}, "ambiguous"),
    ("datetime", "timestamptz(0)", {"zone": "UTC", "zero_date": "sentinel:infinity"}, "no time"),
    ("time(6)", "time(0)", {}, "would cut fractions"),
    ("time", "integer", {}, "interval, time, text"),
    ("varchar(10)", "char(10)", {}, "varchar, text, citext"),
    ("varchar(10)", "text", {"nul": "replace"}, "nul:"),
    ("varchar(10)", "text", {"invalid": "drop"}, "invalid:"),
    ("blob", "text", {}, "possible: bytea"),
    ("varbinary(16)", "uuid", {}, "possible: bytea"),
    ("enum('long','b')", "varchar(3)", {}, "varchar(4)"),
    ("enum('a')", "text[]", {}, "possible: text"),
    ("set('a')", "integer", {}, "text[]"),
    ("json", "varchar(10)", {}, "jsonb, json, text"),
]


@pytest.mark.parametrize(("source", "target", "policy", "words"), REFUSED)
def test_refused(source: str, target: str, policy: dict[str, Any], words: str) -> None:
    chosen = plan(source, target, **policy)
    assert words in family(chosen.source).accepts(chosen)


def test_null_needs_a_target_that_may_be_null() -> None:
    chosen = ColumnPlan(
        column("date"), "c", "date", target_nullable=False, policy=Policy(zero_date="as-null")
    )
    assert "may be NULL" in family(chosen.source).accepts(chosen)


def test_text_that_cannot_be_read() -> None:
    assert "not known" in _refusal(column("varchar(9)", charset="klingon"))
    cut = column("varchar(9)", charset="ucs2")
    assert "ucs2" in _refusal(cut, invalid="replace")
    assert "NUL" in _refusal(column("enum('a')", labels=("a\0",)))


def _refusal(source: SourceColumn, **policy: Any) -> str:
    return family(source).accepts(plan(source, "text", **policy))


def test_types_without_a_family() -> None:
    assert family_of(column("geometry")) is None
    assert family_of(column("vector(3)")) is None


def test_a_type_belongs_to_one_family() -> None:
    names = [name for each in FAMILIES for name in each.names]
    assert len(names) == len(set(names))
