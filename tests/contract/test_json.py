"""JSON documents in all their forms."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from bridge.types import family_of
from bridge.types.base import ColumnPlan, Policy, SourceColumn
from tests.contract.harness import Bench, Case, Sql, check

DOCUMENTS = [
    "null", "true", "false", "0", "-1", "1", "127", "128", "-128", "32767", "32768",
    "-32769", "65535",
    "65536", "2147483647", "2147483648", "-2147483649", "4294967295", "4294967296",
    "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616",
    "-9223372036854775808", "-9223372036854775809", "123456789012345680000", "1.0", "-0.0",
    "0.0", "-0",
    "2.50", "1e2", "1E2", "1e16", "1e15", "1e-7", "1.5e300", "1e300", "1e-300", "5e-324", "0.1",
    "123456789012345.6", "1234567890123456.7", "1e22", "100.0", "1.7976931348623157e308",
    '""', '"a"',
    '"\\u00e4"', '"\\ud83d\\ude00"', '"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f"',
    '"\\u2028"',
    '"a\\tb"', '"%s {v} %d"', "[]", "{}", "[[]]", "[{}]", '{"":""}', '{"a":1,"bb":2,"c":3}',
    '{"b":1,"a":2,"aa":3,"":4}', '{"a":1,"a":2}', '[1,2.5,"x",null,true,[],{}]',
    '{"%":"%b","%%":1,"k\\"q":2,"tab\\t":3}', '{"日本":"言葉","ä":"ö"}', '"' + "x" * 127 + '"',
    '"' + "x" * 128 + '"', '"' + "ä" * 10000 + '"', "[" * 30 + "]" * 30, '"\\\\u0000"',
    '"\\\\\\\\u0000"',
    "  [ 1 , 2 ]  ",
]  # fmt: skip
LARGE = [
    json.dumps(list(range(2000))),
    json.dumps({f"key{n}": n * 1.5 for n in range(500)}),
    json.dumps(["x" * 1000] * 100),
    json.dumps({f"k{n}": "v" * 200 for n in range(400)}),
    json.dumps([70000, -70000, 2**31, -(2**31), 40000, -40000, True, None, 3.5] * 2000),
    json.dumps({"a": {"b": [{"c": "d" * 70000}, 5, -5, 3000000000, 2**40]}}),
]
FORMS = ("jsonb", "json", "text")
NULS = ['"\\u0000"', '{"a\\u0000b":[1,"\\u0000"]}', '"\\\\\\u0000"', '["\\u0000\\\\u0000"]']
SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.integers(-70000, 70000)
)
SCALARS |= st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
ANY = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)


SOME = ANY.map(lambda value: json.dumps(value, ensure_ascii=False))
DOUBLES = (
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**18), 10**18).map(lambda n: repr(n / 1000)),
    st.tuples(st.integers(1, 9999), st.integers(-320, 300)).map(lambda p: f"{p[0]}e{p[1]}"),
)


def test_documents(bench: Bench) -> None:
    strip, replace = Policy(nul="strip"), Policy(nul='replace:"\\')
    cases = [Case("json", form, DOCUMENTS + LARGE, generated=SOME) for form in FORMS]
    cases += [
        Case("json", form, DOCUMENTS + NULS, policy)
        for form in FORMS
        for policy in (strip, replace, Policy())
    ]
    outcomes = bench.run(cases, 150)
    check(outcomes)
    bad = [each for each in outcomes if each.bad]
    assert {each.value for each in bad} == set(NULS)
    assert {each.case.target for each in bad} == {"jsonb"}


def test_what_mariadb_takes_for_json(bench: Bench) -> None:
    """1. and unknown escapes are JSON to MariaDB only, and numeric has limits."""
    if bench.flavor != "mariadb":
        return
    wrong = ["1.", "[-1.]", '"\\x41"', '["\\U0041"]', '{"a\\q":1}', '"\\\\\\x"', '[1.5, 2., "3"]']
    large = ["1e10000", "[-1E-99999]", "1e131072", "1.5e+16384"]
    fine = [
        '"1."',
        '"a.\\nb.\\t\\u00e4\\\\x"',
        "1e9999",
        "[1.50]",
        '{"1.":"1e99999"}',
        "1e+5",
        "\n[1]\n",
    ]
    fine += ["[" + ",".join(["1.5"] * 5000) + "]", '"' + "\\n." * 5000 + '"']
    outcomes = bench.run([Case("json", form, wrong + large + fine) for form in FORMS])
    check(outcomes)
    bad = {form: {o.value for o in outcomes if o.bad and o.case.target == form} for form in FORMS}
    assert bad == {"json": set(wrong), "jsonb": set(wrong + large), "text": set()}


def test_values_of_sql_types(bench: Bench) -> None:
    """MySQL keeps decimals, times and bytes in JSON."""
    values = [
        Sql(f"CAST({text} AS JSON)")
        for text in (
            "1.50", "-12345678901234567890.123456789", "0.5", "-0.000", "DATE'2024-02-29'",
            "TIMESTAMP'2024-02-29 12:34:56.789'", "TIME'-838:59:58.000001'", "TIME'12:00:00'",
            "CAST('2024-01-01 00:00:00' AS DATETIME(3))", "x'00ff'", "b'101'", "1e0",
            "CAST(1 AS UNSIGNED)",
        )
    ]  # fmt: skip
    values += [
        Sql(
            "JSON_OBJECT('d', 1.10, 't', TIME'01:02:03', 'b', x'616263',"
            " 'l', JSON_ARRAY(2.0, NOW(6)))"
        )
    ]
    values += [Sql("JSON_ARRAY(CAST('x' AS BINARY), CAST(REPEAT('z', 300) AS BINARY))")]
    if bench.flavor == "mysql":
        check(bench.run([Case("json", form, values) for form in FORMS]))


def test_doubles(bench: Bench) -> None:
    check(bench.run([Case("json", "jsonb", [], generated=kind) for kind in DOUBLES], 300))


def test_equal_documents_in_other_words() -> None:
    source = SourceColumn("c", 1, "json", "json")
    family = family_of(source)
    assert family is not None

    def same(one: str, other: str, target: str = "jsonb") -> bool:
        return family.same(ColumnPlan(source, "c", target), one.encode(), other.encode())

    assert same('{"a": 1e2, "b": 2.50}', '{"b": 2.5, "a": 100}')
    assert same("-0.0", "0.0")
    assert same('["\\u00e4\\/"]', '["ä/"]')
    assert not same("1", "true")
    assert not same("[0]", "[false]")
    assert not same('"1"', "1")
    assert not same("[1, 2]", "[2, 1]")
    assert not same("1e2", "100", "json")
    assert not same("9007199254740993", "9007199254740992.0")
