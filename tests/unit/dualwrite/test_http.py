"""What of the proxy needs no server: values, tokens, rates, metrics, who may listen where."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.checked import read
from bridge.config.models import ProxySettings, ProxyTlsSettings, TokenSettings
from bridge.databases.endpoint import Secret
from bridge.dualwrite.http.auth import Tokens
from bridge.dualwrite.http.limits import Rates
from bridge.dualwrite.http.metrics import Metrics
from bridge.dualwrite.http.problems import Problem
from bridge.dualwrite.http.reads import after_of
from bridge.dualwrite.http.serve import where
from bridge.dualwrite.http.values import Unfit, exact_json, for_source, for_target, parse, shown
from bridge.dualwrite.reading import After
from bridge.errors import ConfigError
from bridge.types.base import ColumnPlan, Policy, SourceColumn


def column(kind: str, target: str = "text", fsp: int = 0, zone: str = "") -> ColumnPlan:
    source = SourceColumn("c", 1, kind, kind, fsp=fsp)
    return ColumnPlan(source, "c", target, policy=Policy(zone=zone))


AT = datetime(2026, 1, 31, 10, 0, 0, 500000)  # noqa: DTZ001 (as a datetime has it)
EQUAL: list[tuple[ColumnPlan, Any, Any, Any]] = [
    (column("tinyint", "boolean"), 1, 1, True),
    (column("bigint"), "9007199254740993", 9007199254740993, 9007199254740993),
    (column("bit", "bit(4)"), "5", 5, "0101"),
    (column("decimal"), "1.50", Decimal("1.50"), Decimal("1.50")),
    (column("set", "text[]"), ["a", "b"], "a,b", ["a", "b"]),
    (column("set", "text"), ["a", "b"], "a,b", "a,b"),
    (column("binary", "uuid"), "AAAAAAAAAAAAAAAAAAAAAQ==", bytes(15) + b"\1", UUID(int=1)),
    (column("datetime", "timestamp(1)", 1), "2026-01-31T10:00:00.5", AT, AT),
    (
        column("datetime", "timestamptz(1)", 1, "Europe/Berlin"),
        "2026-01-31T10:00:00.5",
        AT,
        datetime(2026, 1, 31, 9, 0, 0, 500000, tzinfo=UTC),
    ),
    (
        column("timestamp", "timestamptz(1)", 1),
        "2026-01-31T10:00:00.5Z",
        AT,
        AT.replace(tzinfo=UTC),
    ),
    (column("timestamp", "timestamp(1)", 1), "2026-01-31T10:00:00.5Z", AT, AT),
]
"""Column, JSON, and what the drivers of source and target take and give for it."""


@pytest.mark.parametrize(("one", "value", "here", "there"), EQUAL)
def test_values_are_alike_on_both_sides(one: ColumnPlan, value: Any, here: Any, there: Any) -> None:
    parsed = parse(one, value)
    assert for_source(one, parsed) == here
    assert for_target(one, parsed) == there
    assert shown(one, here) == shown(one, there) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(hours=-838, minutes=-59, seconds=-59), "-838:59:59.00"),
        (timedelta(microseconds=10_000), "00:00:00.01"),
        (time(23, 59, 59, 990_000), "23:59:59.99"),
    ],
)
def test_times(value: Any, text: str) -> None:
    assert shown(column("time", "interval", 2), value) == text


WRONG = [
    ("int", "1e3"), ("int", Decimal("1.0")), ("int", [1]), ("decimal", True), ("decimal", "NaN"),
    ("decimal", Decimal("1E+500")), ("double", "x"), ("double", 10**400), ("date", "2026-02-30"),
    ("datetime", "2026-01-31T10:00Z"), ("timestamp", "2026-01-31T10:00"), ("time", "1:00"),
    ("timestamp", "0001-01-01T00:00+23:00"), ("varchar", 1), ("blob", "*"), ("blob", 1),
    ("set", ["a,b"]), ("set", "a"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), WRONG)
def test_what_a_column_does_not_take(kind: str, value: Any) -> None:
    with pytest.raises(Unfit):
        parse(column(kind), value)


@given(st.integers(-(2**63), 2**64), st.decimals(allow_nan=False, allow_infinity=False, places=9))
def test_numbers_lose_nothing(whole: int, exact: Decimal) -> None:
    found = exact_json(f'{{"a": {whole}, "b": {exact:f}}}'.encode())
    assert parse(column("bigint"), found["a"]) == whole
    assert parse(column("bigint"), str(whole)) == whole
    assert parse(column("decimal"), found["b"]) == exact == parse(column("decimal"), f"{exact:f}")


@pytest.mark.parametrize(
    "body", [b"", b"NaN", b'"\\ud800"', b'"\xed\xa0\x80"', b"\xff", b"{", b"9" * 5000]
)
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (json's own kinds)
        exact_json(body)


def test_tokens_and_scopes() -> None:
    given_ = [
        TokenSettings(name="a", token="x", allow=("orders:read,insert", "db.line:*")),
        TokenSettings(name="b", token="y", allow=("*:read",)),
    ]
    tokens = Tokens.of(given_, {"a": Secret("first"), "b": Secret("second")})
    assert "first" not in repr(tokens)
    a, b = tokens.caller(b"Bearer first"), tokens.caller(b"bearer second")
    a.check("orders", ("read", "insert"))
    a.check("db.line", ("delete",))
    b.check("anything", ("read",))
    for caller, table, verb in (
        (a, "orders", "update"),
        (a, "line", "read"),
        (b, "orders", "insert"),
    ):
        with pytest.raises(Problem) as refused:
            caller.check(table, (verb,))
        assert refused.value.status == 403
    for header in (b"", b"first", b"Basic first", b"Bearer firs", b"Bearer first2", b"Bearer \xff"):
        with pytest.raises(Problem) as refused:
            tokens.caller(header)
        assert refused.value.status == 401
    for allow in ("orders", "orders:write", ":read"):
        with pytest.raises(ConfigError, match="is not like"):
            read(TokenSettings, {"name": "a", "token": "x", "allow": [allow]})


def test_rates() -> None:
    now = [0.0]
    rates = Rates(2, lambda: now[0])
    rates.take("a")
    rates.take("a")
    with pytest.raises(Problem) as refused:
        rates.take("a")
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "1")
    rates.take("b")
    now[0] = 0.5
    rates.take("a")
    Rates(0).take("a")


def test_metrics() -> None:
    metrics = Metrics()
    metrics.add("GET", "/x", 200, 0.001)
    metrics.add("GET", "/x", 200, 99)
    text = metrics.text({"applied": 3}, None)
    assert 'requests_total{method="GET",route="/x",status="200"} 2\n' in text
    assert '_bucket{le="0.001"} 1\n' in text and '_bucket{le="+Inf"} 2\n' in text
    assert "unconfirmed" not in text and "unconfirmed_operations 7\n" in metrics.text({}, 7)


def test_where_it_listens() -> None:
    assert where(ProxySettings(listen="[::1]:80")) == ("::1", 80)
    assert where(ProxySettings(listen="localhost:1")) == ("localhost", 1)
    assert where(ProxySettings(listen="10.0.0.1:1", unencrypted=True)) == ("10.0.0.1", 1)
    assert where(ProxySettings(listen="db:1", tls=ProxyTlsSettings(cert="c", key="k")))[0] == "db"
    for listen in ("0.0.0.0:1", "[::]:1", "db:1", "10.0.0.1:1"):
        with pytest.raises(ConfigError, match="plain text"):
            where(ProxySettings(listen=listen))


def test_what_a_read_comes_after() -> None:
    assert after_of(f"7.{'0' * 31}1") == After(7, UUID(int=1))
    for text in ("", "7", "7.x", f"x.{'0' * 32}", f"{'9' * 20}.{'0' * 32}"):
        with pytest.raises(Problem):
            after_of(text)
