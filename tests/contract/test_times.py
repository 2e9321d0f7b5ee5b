"""Dates, times and moments in all their forms."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import cache

import pytest
from hypothesis import strategies as st

from bridge.types.base import Policy
from tests.contract.harness import Bench, Case, check

IMPOSSIBLE = ["0000-00-00", "2020-00-15", "2020-02-00", "2020-02-31", "2023-02-29", "0000-05-05"]
IMPOSSIBLE += ["2021-04-31", "0000-00-01", "1900-02-29", "0000-12-00", "9999-00-00"]
DAYS = ["2024-02-29", "1000-01-01", "9999-12-31", "0001-01-01", "1970-01-01", "2000-02-29"]
DAYS += ["1582-10-10", "2023-12-31", "1899-12-31", "2024-01-29", "2024-01-30"]
CLOCKS = ["00:00:00", "23:59:59", "12:34:56", "02:30:00"]
SOME_DAYS = st.dates(date(1000, 1, 1)).map(str)
AS_NULL, SENTINEL = Policy(zero_date="as-null"), Policy(zero_date="sentinel:1970-01-02")


at = datetime.fromisoformat


def moments(fsp: int) -> list[str]:
    fraction = "" if not fsp else "." + "123456"[:fsp]
    last = "" if not fsp else "." + "999999"[:fsp]
    return [f"{day} {clock}{fraction}" for day in DAYS + IMPOSSIBLE for clock in CLOCKS] + [
        "9999-12-31 23:59:59" + last, "2024-05-05 05:05:05.100000", "2024-05-05 00:00:00.000001",
    ]  # fmt: skip


@cache
def some_moments(fsp: int) -> st.SearchStrategy[str]:
    unit = 10 ** (6 - fsp)
    return st.datetimes(at("1000-01-01"), at("9999-12-31")).map(
        lambda moment: str(moment.replace(microsecond=moment.microsecond // unit * unit))
    )


def test_dates(bench: Bench) -> None:
    outcomes = bench.run(
        [
            Case("date", "date", DAYS + IMPOSSIBLE, generated=SOME_DAYS),
            Case("date", "date", DAYS + IMPOSSIBLE, AS_NULL),
            Case("date", "date", DAYS + IMPOSSIBLE, SENTINEL),
            Case("date", "date", DAYS + IMPOSSIBLE, Policy(zero_date="sentinel:-infinity")),
            Case("date", "text", DAYS + IMPOSSIBLE),
            Case("date", "text", DAYS + IMPOSSIBLE, Policy(zero_date="as-text")),
            Case("date", "varchar(10)", DAYS + IMPOSSIBLE, AS_NULL),
        ]
    )
    check(outcomes)
    assert {each.value for each in outcomes if each.bad} == set(IMPOSSIBLE)


@pytest.mark.parametrize("fsp", range(7))
def test_datetimes(bench: Bench, fsp: int) -> None:
    kind, values = f"datetime({fsp})", moments(fsp)
    to = f"timestamp({fsp})"
    check(
        bench.run(
            [
                Case(kind, to, values, generated=some_moments(fsp)),
                Case(kind, to, values, AS_NULL),
                Case(kind, to, values, SENTINEL),
                Case(kind, to, values, Policy(zero_date="sentinel:infinity")),
                Case(kind, to, values, Policy(zero_date="sentinel:1970-01-01 00:00:01.5")),
                Case(kind, "timestamp(6)", values),
                Case(kind, "text", values),
                Case(kind, "text", values, AS_NULL),
            ]
        )
    )


SOME_SECONDS = st.integers(1, 2**31 - 1).map(lambda s: str(at("1970-01-01") + timedelta(seconds=s)))


@pytest.mark.parametrize("fsp", range(7))
def test_timestamps(bench: Bench, fsp: int) -> None:
    fraction = "" if not fsp else "." + "123456"[:fsp]
    values = [
        "0000-00-00 00:00:00", "1970-01-01 00:00:01" + fraction, "2038-01-19 03:14:07" + fraction,
        "2024-03-31 02:30:00", "2024-10-27 02:30:00", "1999-12-31 23:59:59" + fraction,
    ]  # fmt: skip
    kind = f"timestamp({fsp}) NULL"
    check(
        bench.run(
            [
                Case(kind, f"timestamptz({fsp})", values, generated=SOME_SECONDS),
                Case(kind, f"timestamp({fsp})", values, generated=SOME_SECONDS),
                Case(kind, f"timestamptz({fsp})", values, AS_NULL),
                Case(kind, f"timestamptz({fsp})", values, SENTINEL),
                Case(kind, f"timestamptz({fsp})", values, Policy(zero_date="sentinel:-infinity")),
                Case(kind, "text", values),
            ]
        )
    )


SOME_OF_TWO_CENTURIES = st.datetimes(at("1900-01-01"), at("2100-12-31")).map(str)
ODD = {
    "Europe/Berlin": [
        "2024-03-31 01:59:59.999999", "2024-03-31 02:00:00", "2024-03-31 02:30:00",
        "2024-03-31 02:59:59.999999", "2024-03-31 03:00:00", "2024-10-27 01:59:59.999999",
        "2024-10-27 02:00:00", "2024-10-27 02:59:59.999999", "2024-10-27 03:00:00",
        "1945-05-24 02:30:00", "1893-04-01 00:03:00", "2099-10-25 02:30:00",
        "2500-07-01 12:00:00",
    ],
    "America/Sao_Paulo": ["2018-11-04 00:30:00", "2019-02-16 23:30:00", "1950-01-01 00:00:00"],
    "Australia/Lord_Howe": ["2024-04-07 01:45:00", "2024-10-06 02:15:00", "2024-12-31 00:00:00"],
    "Asia/Kolkata": ["1945-10-14 23:30:00", "2024-03-31 02:30:00", "1850-01-01 00:00:00"],
    "Africa/Monrovia": ["1972-01-07 00:20:00", "1972-01-07 00:44:30", "1919-01-01 00:00:00"],
    "Etc/GMT+5": ["2024-03-31 02:30:00"],
    "UTC": ["2024-03-31 02:30:00"],
    "Pacific/Apia": ["2011-12-30 12:00:00", "2011-12-29 23:59:59", "2011-12-31 00:00:00"],
}  # fmt: skip


@pytest.mark.parametrize("zone", sorted(ODD))
def test_datetimes_of_a_zone(bench: Bench, zone: str) -> None:
    values = ODD[zone] + ["0000-00-00 00:00:00", "9999-12-31 23:59:59", "2020-01-01 00:00:00"]
    policies = [
        Policy(zone=zone, ambiguous=choice) for choice in ("quarantine", "earlier", "later")
    ]
    policies += [Policy(zone=zone, ambiguous="later", zero_date="as-null")]
    policies += [Policy(zone=zone, ambiguous="earlier", zero_date="sentinel:1970-01-02 03:04:05")]
    cases = [Case("datetime(6)", "timestamptz(6)", values, policy) for policy in policies]
    cases += [Case("datetime", "timestamptz(0)", [v[:19] for v in values], p) for p in policies]
    cases.append(Case("datetime(6)", "timestamptz(6)", [], policies[1], SOME_OF_TWO_CENTURIES))
    check(bench.run(cases))


def test_the_chosen_instant(bench: Bench) -> None:
    """Twice 02:30 on a Sunday in October, and no 02:30 on one in March."""
    values = ["2024-10-27 02:30:00", "2024-03-31 02:30:00"]
    cases = [
        Case("datetime", "timestamptz(0)", values, Policy(zone="Europe/Berlin", ambiguous=choice))
        for choice in ("earlier", "later", "quarantine")
    ]
    outcomes = bench.run(cases)
    assert [each.bad for each in outcomes] == [False, False, False, False, True, True]
    texts = [each.copied.decode() for each in outcomes[:4]]
    target = bench.target
    instants = [target.execute("SELECT %s::timestamptz::text", [text]).fetchone() for text in texts]
    assert [row and row[0] for row in instants] == [
        "2024-10-27 00:30:00+00", "2024-03-31 00:30:00+00",
        "2024-10-27 01:30:00+00", "2024-03-31 01:30:00+00",
    ]  # fmt: skip


@cache
def some_clocks(fsp: int) -> st.SearchStrategy[str]:
    unit = 10 ** (6 - fsp)
    top = (838 * 3600 + 59 * 60 + 59) * 1_000_000
    return st.integers(-top // unit, top // unit).map(lambda n: _clock(n * unit))


@pytest.mark.parametrize("fsp", range(7))
def test_times(bench: Bench, fsp: int) -> None:
    fraction = "" if not fsp else "." + "000001"[-fsp:]
    values = [
        "00:00:00", "-00:00:01", "838:59:59", "-838:59:59", "24:00:00", "23:59:59", "00:00:01",
        "-00:00:00" + fraction, "12:00:00" + fraction, "-12:34:56" + fraction,
        "-838:59:58" + fraction, "23:59:59" + fraction, "100:00:00", "00:00:00.5", "-00:00:00.5",
        "-99:59:59.9", "24:00:00" + fraction,
    ]  # fmt: skip
    kind = f"time({fsp})"
    check(
        bench.run(
            [
                Case(kind, "interval", values, generated=some_clocks(fsp)),
                Case(kind, f"time({fsp})", values, generated=some_clocks(fsp)),
                Case(kind, f"time({fsp})", values, Policy(out_of_range="clamp")),
                Case(kind, "time(6)", values, Policy(out_of_range="as-null")),
                Case(kind, "text", values),
            ]
        )
    )


def _clock(micros: int) -> str:
    sign = "-" if micros < 0 else ""
    seconds, fraction = divmod(abs(micros), 1_000_000)
    return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:06d}"
