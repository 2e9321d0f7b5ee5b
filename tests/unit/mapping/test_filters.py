"""Row filters: what is taken, what is refused, and SQL's three-valued logic."""

from __future__ import annotations

import pytest

from bridge.mapping.filters import compile_filter
from bridge.mapping.operands import FilterError
from bridge.types.base import ColumnPlan, Policy, SourceColumn


def plan(name: str, kind: str, target: str, **said: object) -> ColumnPlan:
    policy = said.pop("policy", Policy())
    assert isinstance(policy, Policy)
    source = SourceColumn(name, 1, kind, str(said.pop("column_type", kind)), **said)  # type: ignore[arg-type]
    return ColumnPlan(source, name, target, policy=policy)


COLUMNS = (
    plan("id", "bigint", "bigint", nullable=False),
    plan("Tenant", "int", "integer"),
    plan("price", "decimal", "numeric(10,2)"),
    plan("day", "date", "date"),
    plan("at", "datetime", "timestamp(6)"),
    plan("state", "enum", "text", labels=("new", "paid")),
    plan("code", "varchar", "varchar(10)", collation="utf8mb4_bin"),
    plan("raw", "varchar", "varchar(10)", collation="utf8mb4_0900_bin"),
    plan("name", "varchar", "varchar(10)", collation="utf8mb4_general_ci"),
    plan("flag", "tinyint", "boolean", column_type="tinyint(1)"),
    plan("odd", "date", "date", policy=Policy(zero_date="as-null")),
)
NAMES = [column.source.name for column in COLUMNS]


def kept(where: str, **values: bytes) -> bool:
    row = [values.get(name, rb"\N") for name in NAMES]
    keep = compile_filter(where, COLUMNS).keep
    assert keep is not None
    return keep(row)


def test_no_filter_keeps_every_row() -> None:
    assert compile_filter("  ", COLUMNS).keep is None


@pytest.mark.parametrize(
    ("where", "field", "value"),
    [
        ("tenant <> 0", "Tenant", b"1"),
        ("0 < `Tenant`", "Tenant", b"7"),
        ("tenant = -1", "Tenant", b"-1"),
        ("price >= 1.50", "price", b"1.5"),
        ("price between 1 and 2", "price", b"2.00"),
        ("day > '2024-01-31'", "day", b"2024-02-01"),
        ("at >= '2024-02-01'", "at", b"2024-02-01 00:00:00"),
        ("at < '2024-02-01 10:00:00.5'", "at", b"2024-02-01 10:00:00.499999"),
        ("state in ('paid')", "state", b"paid"),
        ("state <> 'paid'", "state", b""),
        ("code = 'a '", "code", b"a"),
        ("code = 'a'", "code", b"a  "),
        ("code = 'a\tb'", "code", b"a\\tb"),
        ("flag = true", "flag", b"1"),
        ("flag = 0", "flag", b"0"),
        ("not tenant = 1 and tenant is not null", "Tenant", b"2"),
    ],
)
def test_a_row_is_kept(where: str, field: str, value: bytes) -> None:
    assert kept(where, **{field: value})


@pytest.mark.parametrize(
    ("where", "field", "value"),
    [
        ("tenant <> 0", "Tenant", b"0"),
        ("raw = 'a'", "raw", b"a "),
        ("price > 1.5", "price", b"1.50"),
        ("not (tenant = 1)", "Tenant", b"1"),
    ],
)
def test_a_row_is_left_out(where: str, field: str, value: bytes) -> None:
    assert not kept(where, **{field: value})


def test_null_is_neither_equal_nor_different() -> None:
    assert not kept("tenant = 1")
    assert not kept("tenant <> 1")
    assert not kept("not (tenant = 1)")
    assert not kept("tenant not in (1, 2)")
    assert kept("tenant is null")
    assert kept("tenant = 1 or id = 5", id=b"5")
    assert not kept("not (tenant = 1 and id = 5)", id=b"5")
    assert kept("not (tenant = 1 and id = 5)", id=b"6")


def test_the_condition_is_bracketed_for_mysql() -> None:
    where = compile_filter("tenant = 1 or id = 2 and code = 'x'", COLUMNS).where
    assert where == "((`Tenant` = 1) OR ((`id` = 2) AND (`code` = _utf8mb4 0x78)))"


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("tennant = 1", "tennant"),
        ("name = 'a'", "utf8mb4_general_ci"),
        ("code < 'a'", "= and <>"),
        ("state = 'Paid'", "label"),
        ("state > 'new'", "= and <>"),
        ("odd = '2024-01-01'", "policy"),
        ("id is null", "never NULL"),
        ("tenant = '1'", "number"),
        ("tenant = 1e3", "number"),
        ("tenant = null", "number"),
        ("tenant = id", "number"),
        ("tenant % 2 = 0", "column"),
        ("tenant", "not taken"),
        ("tenant <=> 1", "not taken"),
        ("tenant = 1 xor id = 1", "not taken"),
        ("!tenant = 1", "!"),
        ("day = '2024-02-30'", "calendar"),
        ("day = '2024-02-01 10:00:00'", "date"),
        ("tenant in (select 1)", "not taken"),
        ("tenant in (1, 0.5)", "no value"),
        ("tenant in (3000000000)", "no value"),
        ("tenant = 1 group by id", "more than one"),
        ("tenant = 1; drop table x", "more than one"),
        ("tenant = 1 /* and id = 2 */", "/*"),
        ("code like 'a%'", "not taken"),
        ("x.tenant = 1", "column"),
        ("sleep(10) = 0", "column"),
        ("tenant = (", "no condition"),
        (f"price = 0.{'1' * 70}", "number"),
    ],
)
def test_what_is_not_understood_is_refused(where: str, said: str) -> None:
    with pytest.raises(FilterError) as caught:
        compile_filter(where, COLUMNS)
    assert said in caught.value.message
    assert caught.value.hint
