"""Keys become constants of either server, and ranges that an optimizer can use."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from bridge.names import TableName
from bridge.types.base import ColumnPlan, SourceColumn
from bridge.verify.keycolumn import KeyColumn
from bridge.verify.keys import Keys
from tests import plans


def column(kind: str, target: str) -> KeyColumn:
    source = SourceColumn("k", 1, kind, kind, nullable=False)
    return KeyColumn(ColumnPlan(source, "k", target, target_nullable=False))


def keys(*kinds: tuple[str, str]) -> Keys:
    made = plans.plan("t", [(f"k{n}", target) for n, (_, target) in enumerate(kinds)], len(kinds))
    columns = tuple(
        replace(one, source=replace(one.source, data_type=kind, column_type=kind))
        for one, (kind, _) in zip(made.columns, kinds, strict=True)
    )
    return Keys(replace(made, columns=columns))


@pytest.mark.parametrize(
    ("kind", "target", "text", "literal", "given"),
    [
        ("int", "integer", "-5", "-5", "-5"),
        ("bigint", "numeric(20,0)", "18446744073709551615", "18446744073709551615", None),
        ("int", "integer", "9999999999", "9999999999", None),
        ("tinyint", "boolean", "1", "1", "t"),
        ("decimal", "numeric(5,2)", "-1.50", "-1.50", "-1.50"),
        ("bit", "bit(4)", "0101", "5", "0101"),
        ("bit", "bigint", "5", "5", "5"),
        ("varchar", "text", "it's", "_utf8mb4 0x69742773", "it's"),
        ("varchar", "text", "", "_utf8mb4 ''", ""),
        ("binary", "bytea", "00ff", "x'00ff'", "\\x00ff"),
        ("binary", "uuid", "00ff", "x'00ff'", "00ff"),
        ("datetime", "timestamp(3)", "2024-02-29 01:02:03.5", "'2024-02-29 01:02:03.5'", ...),
        ("timestamp", "timestamptz", "2024-02-29 01:02:03+00", "'2024-02-29 01:02:03'", ...),
        ("time", "interval", "-838:59:59", "'-838:59:59'", ...),
        ("date", "date", "2024-02-29", "'2024-02-29'", ...),
        # What only the target can hold is not looked for in the source.
        ("int", "text", "abc", "", "abc"),
        ("date", "date", "0044-03-15 BC", "", ...),
        ("timestamp", "timestamptz", "infinity", "", ...),
        ("time", "interval", "1 mon 02:00:00", "", ...),
    ],
)
def test_constants(kind: str, target: str, text: str, literal: str, given: object) -> None:
    one = column(kind, target)
    assert one.literal(text) == literal
    if given is None:
        assert one.given(text) in (None, text)
    else:
        assert one.given(text) == (text if given is ... else given)


def test_an_integer_too_large_for_the_target_is_not_looked_for() -> None:
    assert column("bigint", "bigint").given(str(2**63)) is None
    assert column("bigint", "bigint").given(str(2**63 - 1)) == str(2**63 - 1)


def test_floating_point_keys_are_numbers() -> None:
    one = column("double", "double precision")
    text = struct.pack(">d", 0.1).hex()
    assert one.literal(text) == one.given(text) == one.shown(text) == "0.1"
    assert one.literal(struct.pack(">d", float("nan")).hex()) == ""


def test_equal_columns_of_a_range_become_equalities() -> None:
    two = keys(("int", "integer"), ("int", "integer"))
    assert two.source_range(None, None) == []
    assert two.source_range(("1", "5"), ("1", "9")) == ["`k0`=1", "`k1`>5", "`k1`<=9"]
    assert two.source_range(("1", "5"), ("2", "3")) == [
        "(`k0`>=1 AND (`k0`>1 OR (`k0`=1 AND `k1`>5)))",
        "(`k0`<=2 AND (`k0`<2 OR (`k0`=2 AND `k1`<=3)))",
    ]
    conditions, values = two.target_range(("1", "5"), None)
    assert conditions == ['("k0","k1") > (%s::integer,%s::integer)']
    assert values == ["1", "5"]


def test_keys_that_the_source_cannot_hold_are_left_out() -> None:
    one = keys(("int", "text"))
    assert one.source_condition([("1",), ("x",), ("3",)]) == "`k0` IN (1,3)"
    assert one.source_condition([("x",)]) == ""
    two = keys(("int", "integer"), ("varchar", "text"))
    assert two.source_condition([("1", "a"), ("2", "b")]) == (
        "((`k0`=1 AND `k1`=_utf8mb4 0x61) OR (`k0`=2 AND `k1`=_utf8mb4 0x62))"
    )
    assert two.target_condition() == (
        '("k0","k1") IN (SELECT * FROM unnest(%s::text[]::integer[],%s::text[]::text[]))'
    )
    assert two.target_arrays([("1", "a"), ("99999999999", "b")]) == [["1"], ["a"]]


def test_a_percent_sign_in_a_name_is_no_placeholder() -> None:
    one = keys(("int", "integer"))
    plan = replace(one.plan, target=TableName("s", "t"))
    odd = replace(plan.columns[0], target_name="100%")
    assert Keys(replace(plan, columns=(odd,))).target_condition() == (
        '"100%%" = ANY(%s::text[]::integer[])'
    )
