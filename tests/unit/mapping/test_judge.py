"""Findings as they stand under a mapping."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.findings import Finding, finding
from bridge.mapping.compile import compile_table
from bridge.mapping.judge import mapping_findings, settle
from bridge.mapping.model import TableMapping
from bridge.mapping.propose import propose_table
from tests.unit.mapping.samples import column, orders


def changed(name: str, **said: object) -> TableMapping:
    """The mapping of init with one column written otherwise."""
    mapping = propose_table(orders(), ())
    columns = tuple(
        replace(c, **said) if c.source == name else c  # type: ignore[arg-type]
        for c in mapping.columns
    )
    return replace(mapping, columns=columns)


def settled(mapping: TableMapping, one: Finding) -> Finding | None:
    return settle(one, mapping, compile_table(mapping, orders()))


@pytest.mark.parametrize(
    ("name", "said", "code", "count", "fact", "severity"),
    [
        ("gift", {}, "D012", 3, None, "info"),
        ("gift", {"target_type": "boolean"}, "D012", 0, None, "info"),
        ("gift", {"target_type": "boolean"}, "D012", 3, None, "warning"),
        (
            "gift",
            {"target_type": "boolean", "policies": {"out_of_range": "clamp"}},
            "D012", 3, None, "info",
        ),
        ("id", {"target_type": "bigint"}, "D011", None, 2**63 - 1, "info"),
        ("id", {"target_type": "bigint"}, "D011", None, 2**63, "warning"),
        ("id", {"target_type": "numeric(20,0)"}, "D011", None, 2**64 - 1, "info"),
        ("note", {}, "D015", 1, None, "warning"),
        ("note", {"policies": {"nul": "strip"}}, "D015", 1, None, "info"),
        ("placed", {}, "D017", 1, None, "warning"),
        (
            "placed",
            {"policies": {"zero_date": "as-null"}, "target_nullable": True},
            "D017", 1, None, "info",
        ),
    ],
)  # fmt: skip
def test_rows_that_the_mapping_provides_for_are_a_note(
    name: str,
    said: dict[str, object],
    code: str,
    count: int | None,
    fact: int | None,
    severity: str,
) -> None:
    found = settled(changed(name, **said), finding(code, column=name, count=count, fact=fact))
    assert found is not None
    assert found.severity == severity


def test_what_is_not_carried_concerns_nobody() -> None:
    mapping = changed("placed", dropped=True)
    mapping = replace(mapping, indexes=("code",), not_carried={"words": "x", "by_state": "x"})
    assert settled(mapping, finding("D017", column="placed", count=1)) is None
    assert settled(mapping, finding("T011", message="index words")) is None
    kept = finding("T013", message="trigger t (AFTER INSERT)")
    assert settled(mapping, kept) == kept


def test_lossy_policies_on_unique_columns() -> None:
    mapping = changed("code", policies={"nul": "strip"})
    codes = [f.code for f in mapping_findings(mapping, compile_table(mapping, orders()))]
    assert codes == ["M004"]
    mapping = replace(mapping, indexes=("by_state", "words"), not_carried={"code": "x"})
    assert not list(mapping_findings(mapping, compile_table(mapping, orders())))


def test_indexes_that_are_not_mentioned() -> None:
    mapping = replace(propose_table(orders(), ()), indexes=("code",))
    said = [f.message for f in mapping_findings(mapping, compile_table(mapping, orders()))]
    assert said == ["index by_state", "index words"]


def test_a_finding_about_a_table_that_does_not_compile_stays() -> None:
    mapping = propose_table(orders(columns=(*orders().columns, column("g", "geometry"))), ())
    one = finding("T003", column="g")
    assert settle(one, mapping, None) == one
