"""Character strings and byte strings in all their forms."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from bridge.types.base import Policy
from tests.contract.harness import Bench, Case, Sql, check

STRIP, REPLACE = Policy(nul="strip"), Policy(nul="replace:␀")
SPECIAL = [
    "", " ", "  a  ", "\t", "\n", "\r", "\r\n", "\\", "\\\\", "\\N", "\\.", "a\tb\nc\rd\\e",
    "\b\f\v\x1a",
    "'", '"', "`", "%s", "{v}", "ä", "Straße", "日本", "😀", "a\u0300", "\u2028", "\ufeff",
    "\uffff",
    "NULL", "\\n", "\\t", "x" * 100, "\x7f\x80\x9f", "\U0010ffff", "\x01\x02", "end\\",
]  # fmt: skip
NULS = ["\0", "a\0b", "\0\0", "a\\0\0\t"]
SOME, SHORTER, LONGER = (st.binary(max_size=size) for size in (40, 30, 200))
SIXTEEN = st.binary(min_size=16, max_size=16)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
PLAIN = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=30)


@pytest.mark.parametrize("kind", ["char(200)", "varchar(200)", "varchar(300)", "tinytext", "text"])
def test_text(bench: Bench, kind: str) -> None:
    values = SPECIAL + NULS
    target = kind if kind.startswith("var") else "text"
    outcomes = bench.run(
        [
            Case(kind, target, values, generated=ANY),
            Case(kind, "text", values, STRIP),
            Case(kind, "text", values, REPLACE),
            Case(kind, "text", values, Policy(nul="replace:\\0")),
            Case(kind, "varchar(3)", values, REPLACE),
            Case(
                kind + " CHARACTER SET utf8mb3",
                "text",
                [v for v in values if not v or max(v) < "\U00010000"],
                generated=PLAIN,
            ),
            Case(kind + " NOT NULL", "text", values[:3] + [""] * 300),
        ]
    )
    check(outcomes)
    if kind != "varchar(300)":
        bad = {each.value for each in outcomes if each.bad and each.case.target == target}
        assert bad >= set(NULS)
        assert all("\0" in value for value in bad)


def test_long_text(bench: Bench) -> None:
    values = ["x" * 70_000 + "\\", "\t" * 70_000, "ä" * 40_000, 'line "\x01"\n' * 1000]
    values += ['a "line" of \\ text\r\n\b\f' * 20_000, "잠\n" * 20_000]
    check(bench.run([Case("mediumtext", "text", values), Case("longtext", "text", values)]))


def test_surrogates_in_utf8(bench: Bench) -> None:
    """MariaDB stores encoded surrogates, MySQL does not."""
    values = [
        Sql(f"x'{code}'")
        for code in ("eda080", "41edb080", "edbfbf42", "ed9fbf", "ee8080", "ec9ea0ed9e81", "4ded41")
    ]
    charsets = ["utf8mb4", "utf8mb3"]
    cases = [Case(f"varchar(20) CHARACTER SET {name}", "text", values) for name in charsets]
    cases += [
        Case(f"varchar(20) CHARACTER SET {name}", "text", values, Policy(invalid="replace"))
        for name in charsets
    ]
    outcomes = bench.run(cases)
    check(outcomes)
    bad = {each.value.text for each in outcomes if each.bad}
    assert bad == (
        {"x'eda080'", "x'41edb080'", "x'edbfbf42'"} if bench.flavor == "mariadb" else set()
    )


def test_bytes(bench: Bench) -> None:
    nasty = [
        b"",
        b"\0",
        b"\0\0\0",
        b"a\0",
        b"\\",
        b"\t\n\r",
        bytes(range(256))[:200],
        b" ",
        b"a  ",
        b"\xff",
    ]
    sixteen = [bytes(16), b"\1" * 15 + b"\0", b" " * 16, b"\xff" * 16, bytes(range(16)), b"a"]
    check(
        bench.run(
            [
                Case("binary(200)", "bytea", nasty, generated=SOME),
                Case("binary(255)", "bytea", nasty),
                Case("binary(16)", "bytea", sixteen, generated=SIXTEEN),
                Case("binary(16)", "uuid", sixteen, generated=SIXTEEN),
                Case("varbinary(200)", "bytea", nasty, generated=SOME),
                Case("varbinary(30)", "bytea", [b"", b"\0", b"a\0"], generated=SHORTER),
                Case("varbinary(300)", "bytea", nasty, generated=SOME),
                Case("tinyblob", "bytea", nasty, generated=SOME),
                Case("blob", "bytea", [*nasty, bytes(60_000)], generated=SOME),
                Case("mediumblob", "bytea", nasty),
                Case("longblob", "bytea", nasty),
                Case("char(20) CHARACTER SET binary", "bytea", [b"", b"a\0"]),
            ]
        )
    )


def test_compressed_columns(bench: Bench) -> None:
    if bench.flavor != "mariadb":
        return
    values = ["", "a", "x" * 200, "ä\t\\" * 100, "y" * 5000]
    raw = [value.encode() for value in values]
    check(
        bench.run(
            [
                Case("varchar(8000) COMPRESSED", "text", values, generated=PLAIN),
                Case("text COMPRESSED", "text", values, generated=ANY),
                Case("varbinary(8000) COMPRESSED", "bytea", raw, generated=LONGER),
                Case("blob COMPRESSED", "bytea", raw, generated=LONGER),
            ]
        )
    )
