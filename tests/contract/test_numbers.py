"""Integers, decimals, floats, bits and years in all their forms."""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st

from bridge.types.base import Policy
from tests.contract.harness import Bench, Case, Sql, check

WIDTHS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
TARGETS = {
    "tinyint": "smallint",
    "smallint": "smallint",
    "mediumint": "integer",
    "int": "integer",
    "bigint": "bigint",
}
UNSIGNED = {
    "tinyint": "smallint",
    "smallint": "integer",
    "mediumint": "integer",
    "int": "bigint",
    "bigint": "numeric(20,0)",
}
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)
PLAIN, CLAMP, AS_NULL = Policy(), Policy(out_of_range="clamp"), Policy(out_of_range="as-null")


def edges(bits: int, *, unsigned: bool) -> list[int]:
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return [low, low + 1, 0, 1, high - 1, high, high // 2, *([-1] if low else [])]


@cache
def between(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


@cache
def between_decimals(precision: int, scale: int) -> st.SearchStrategy[Sql]:
    top = 10**precision - 1
    return st.integers(-top, top).map(lambda n: Sql(_plain(n, scale)))


def integers(name: str, *, unsigned: bool, target: str, policy: Policy = PLAIN) -> Case:
    values = edges(WIDTHS[name], unsigned=unsigned)
    kind = f"{name} unsigned" if unsigned else name
    return Case(kind, target, values, policy, between(min(values), max(values)))


def test_integers(bench: Bench) -> None:
    cases = [integers(name, unsigned=False, target=TARGETS[name]) for name in WIDTHS]
    cases += [integers(name, unsigned=True, target=UNSIGNED[name]) for name in WIDTHS]
    cases += [
        integers("int", unsigned=False, target=target)
        for target in ("bigint", "numeric", "numeric(12,2)", "text", "varchar(11)")
    ]
    cases += [
        Case("int(8) unsigned zerofill", "bigint", [0, 42, 4294967295]),
        Case("bigint zerofill", "text", [0, 42]),
    ]
    check(bench.run(cases))


def test_integers_that_do_not_fit(bench: Bench) -> None:
    cases = [
        integers(name, unsigned=unsigned, target=target, policy=policy)
        for policy in (Policy(), CLAMP, AS_NULL)
        for name, unsigned, target in (
            ("bigint", True, "bigint"), ("bigint", False, "smallint"), ("int", True, "integer"),
            ("tinyint", False, "boolean"), ("mediumint", False, "numeric(3,0)"),
        )
    ]  # fmt: skip
    outcomes = bench.run(cases)
    check(outcomes)
    assert {each.streamed for each in outcomes if each.bad} == {"out-of-range"}


def test_years_and_bits(bench: Bench) -> None:
    bits = [Sql("b'0'"), Sql("b'1'")]
    wide = [0, 1, 2**63, 2**64 - 1, 0x5C09]
    check(
        bench.run(
            [
                Case("year", "smallint", [0, 1901, 2155, 2024, "0000"]),
                Case("year", "text", [0, 1901]),
                Case("tinyint(1)", "boolean", [0, 1, 2, -1, 127]),
                Case("bit(1)", "bit(1)", bits),
                Case("bit(1)", "boolean", bits),
                Case("bit(7)", "bit(7)", range(128)),
                Case("bit(9)", "bit(9)", range(0, 512, 7)),
                Case("bit(9)", "smallint", range(0, 512, 7)),
                Case("bit(64)", "bit(64)", wide, generated=between(0, 2**64 - 1)),
                Case("bit(64)", "numeric(20,0)", wide, generated=between(0, 2**64 - 1)),
                Case("bit(64)", "bigint", wide),
                Case("bit(33)", "bigint", [0, 2**33 - 1], generated=between(0, 2**33 - 1)),
            ]
        )
    )


def decimals(precision: int, scale: int, target: str, policy: Policy = PLAIN) -> Case:
    top = 10**precision - 1
    values = [
        Sql(_plain(n, scale)) for n in (0, 1, -1, top, -top, top // 2, 10**scale, -(10**scale))
    ]
    return Case(
        f"decimal({precision},{scale})", target, values, policy, between_decimals(precision, scale)
    )


def _plain(number: int, scale: int) -> str:
    digits = f"{abs(number):0{scale + 1}d}"
    sign = "-" if number < 0 else ""
    return sign + (f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits)


def test_decimals(bench: Bench) -> None:
    sizes = [
        (10, 2),
        (1, 0),
        (1, 1),
        (9, 9),
        (18, 9),
        (19, 10),
        (20, 0),
        (30, 15),
        (65, 30),
        (65, 0),
        (5, 5),
        (12, 4),
        (38, 20),
        (9, 0),
        (10, 0),
        (11, 2),
        (30, 30),
    ]
    cases = [decimals(p, s, f"numeric({p},{s})") for p, s in sizes]
    cases += [
        decimals(10, 2, "numeric"), decimals(10, 2, "numeric(20,6)"), decimals(10, 2, "text"),
        decimals(10, 0, "bigint"), decimals(20, 0, "bigint"), decimals(20, 0, "integer", CLAMP),
        decimals(20, 0, "smallint", AS_NULL), decimals(5, 0, "numeric(9,2)"),
        Case("decimal(10,3) unsigned zerofill", "numeric(10,3)", [0, 1.5, 9999999]),
        Case("decimal(10,2)", "numeric(10,2)", [Sql("-0.00"), Sql("-0e0"), Sql("0 * -1.5")]),
    ]  # fmt: skip
    check(bench.run(cases))


def test_floats(bench: Bench) -> None:
    nasty = [
        0.0, -0.0, 0.1, -0.1, 1e15, 1e16, 123456789012345.6, 1234567890123456.7, 9007199254740993.0,
        1e-4, 1e-5, 1e-14, 1e-15, 1e-16, 1.5e-15, 1e22, 1e23, 1.7976931348623157e308, 5e-324,
        2.2250738585072014e-308, 2.225073858507201e-308, 1e300, 1e-300, 100000, 0.30000000000000004,
        999999999999999.9, 99999999999999.98, 4.35, 2.5e-8, 1e-320, 12345678901234567890,
    ]  # fmt: skip
    single = [
        0.0,
        -0.0,
        0.1,
        16777217,
        3.4028234e38,
        1e-40,
        1.4e-45,
        8388609,
        1 / 3,
        1e10,
        -1e-7,
        123456.789,
    ]
    negative_zero = [Sql("-1e-200 * 1e-200"), Sql("0e0 * -1e0")]
    check(
        bench.run(
            [
                Case("double", "double precision", nasty + negative_zero, generated=DOUBLES),
                Case("double", "text", nasty, generated=DOUBLES),
                Case("double(10,3)", "double precision", [0, 1.5, -1.2345, 9999999.999]),
                Case("double unsigned", "double precision", [0, 1.5]),
                Case("float", "real", single + negative_zero, generated=FLOATS),
                Case("float", "double precision", single, generated=FLOATS),
                Case("float", "text", single, generated=FLOATS),
                Case("float(7,3)", "real", [0, 1.5, -1.2345, 1234.5678]),
                Case("float unsigned", "real", [0, 1.5]),
            ],
            300,
        )
    )
