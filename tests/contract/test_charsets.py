"""Every character set, code by code: the stream reads what the servers read."""

from __future__ import annotations

import pytest

from bridge.types.base import Policy
from bridge.types.charset_tables import UPPER
from bridge.types.charsets import DECODERS, WIDE
from tests.contract.harness import Bench, Case, Sql, check

SINGLE = [*UPPER, "ascii", "swe7"]
PAIRS = ["big5", "cp932", "euckr", "gb18030", "gb2312", "gbk", "sjis"]
TRIPLES = ["eucjpms", "ujis"]
REPLACE = Policy(invalid="replace", nul="strip")


@pytest.fixture(scope="module")
def codes(bench: Bench) -> str:
    """A table of all codes of one byte, of two, and of the three of Japanese EUC."""
    every = [bytes((a,)) for a in range(256)]
    every += [bytes((a, b)) for a in range(0x80, 256) for b in range(256)]
    every += [bytes((0x8F, a, b)) for a in range(0xA0, 256) for b in range(0xA0, 256)]
    bench.query("CREATE TABLE codes (code varbinary(4))")
    for start in range(0, len(every), 5000):
        rows = ",".join(f"(x'{code.hex()}')" for code in every[start : start + 5000])
        bench.query(f"INSERT INTO codes VALUES {rows}")
    return "codes"


def knows(bench: Bench, charset: str) -> bool:
    return bench.flavor == "mysql" or charset != "gb18030"


@pytest.mark.parametrize("charset", [*SINGLE, *PAIRS, *TRIPLES])
def test_every_code(bench: Bench, codes: str, charset: str) -> None:
    if not knows(bench, charset):
        return
    longest = 1 if charset in SINGLE else 3 if charset in TRIPLES else 2
    # Codes are looked at one by one; what follows a half-width kana in two bytes is another code.
    lone = " AND NOT (LENGTH(code) = 2 AND code BETWEEN x'a0' AND x'dfff')"
    rows = bench.query(
        f"SELECT code, CONVERT(CONVERT(CONVERT(code USING {charset}) USING utf8mb4) USING binary)"
        f" FROM {codes} WHERE LENGTH(code) <= {longest}"
        + (lone if charset in ("sjis", "cp932") else "")
    )
    decode = DECODERS[charset]
    for code, converted in rows:
        assert code is not None
        shown = None if converted is None else converted.decode()
        if shown is None or len(shown) != 1 or shown == "\ufffd" or (shown == "?" and code != b"?"):
            if shown in ("?", "\ufffd"):
                with pytest.raises(UnicodeDecodeError):
                    decode(code)
        else:
            assert decode(code) == shown, (code, shown)


@pytest.mark.parametrize("policy", [Policy(), REPLACE], ids=["quarantine", "replace"])
def test_single_bytes(bench: Bench, policy: Policy) -> None:
    values = [Sql(f"x'413f{byte:02x}5c09'") for byte in range(256)] + [Sql("x'00'"), Sql("''")]
    for start in range(0, len(SINGLE), 9):
        names = SINGLE[start : start + 9]
        cases = [Case(f"varchar(20) CHARACTER SET {n}", "text", values, policy) for n in names]
        check(bench.run(cases))


@pytest.mark.parametrize("policy", [Policy(), REPLACE], ids=["quarantine", "replace"])
def test_multiple_bytes(bench: Bench, policy: Policy) -> None:
    values = [
        Sql(f"x'{text}'")
        for text in (
            "", "00", "41", "5c", "3f", "7e", "093f5c", "815f", "a1c0", "a1c1", "8140",
            "a140", "85403f",
            "fe50", "a2a1", "a15a", "a1fe", "f9d6", "a8bc", "ada1", "8fa2b7", "8ff3f3",
            "8ff5a1", "f5a1",
            "b1b2", "a0", "fd", "80", "fca1", "c5d0b8c5", "81ad", "f040", "feddfede",
            "a1f13f", "8ea1",
            "81308130", "8432a439", "94b9da33", "c6e0", "e3329a35", "8fa1a1",
        )
    ]  # fmt: skip
    names = [name for name in [*PAIRS, *TRIPLES] if knows(bench, name)]
    check(
        bench.run([Case(f"varchar(20) CHARACTER SET {n}", "text", values, policy) for n in names])
    )


@pytest.mark.parametrize("policy", [Policy(), REPLACE], ids=["quarantine", "replace"])
def test_wide(bench: Bench, policy: Policy) -> None:
    texts = ["", "\0", "a", "\\\t\n\r", "ä€", "日本", "?", "\ufffd", "\ufffe", "\ue000", "\uffff"]
    texts += ["😀", "\U0010ffff"]
    cases = []
    for charset, codec in WIDE.items():
        if charset == "ucs2" and policy is REPLACE and bench.flavor == "mysql":
            continue
        values = [Sql(f"x'{text.encode(codec).hex()}'") for text in texts]
        units = ["d800", "0041dc00", "dc00d800", "d83dde00", "003fd800"]
        if charset == "utf32":
            units = ["0000d800", "000000410000dfff", "0000003f0000dc00"]
        if charset == "utf16le":
            units = ["00d8", "3dd800de"]
        values += [Sql(f"x'{unit}'") for unit in units]
        cases.append(Case(f"varchar(20) CHARACTER SET {charset}", "text", values, policy))
    check(bench.run(cases))


def test_gb18030_beyond_two_bytes(bench: Bench) -> None:
    if bench.flavor == "mysql":
        chars = [chr(code) for code in range(0x80, 0x110000, 0x61) if not 0xD800 <= code < 0xE000]
        values = ["".join(chars[place : place + 50]) for place in range(0, len(chars), 50)]
        check(bench.run([Case("varchar(60) CHARACTER SET gb18030", "text", values)]))
