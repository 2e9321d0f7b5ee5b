"""What `verify` prints for people."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest

from bridge.cli.context import Context
from bridge.cli.output import Output
from bridge.cli.verify import _print
from bridge.names import TableName
from bridge.report.verification import Difference, TableVerdict, Verification
from tests.unit.report.samples import FULL, NASTY, nasty


def printed(result: Verification) -> str:
    context = Context()
    stdout = StringIO()
    context.__dict__["out"] = Output("text", stdout)
    _print(context, "text", result)
    return stdout.getvalue()


@pytest.mark.parametrize("text", NASTY)
def test_no_value_makes_a_line_of_its_own(text: str) -> None:
    (table,) = nasty(text).tables[:1]
    plain = replace(table, table=TableName("shop", "t"), digest="", hint="")
    lines = printed(Verification("p", "values", (plain,))).splitlines()
    assert len(lines) == 9
    assert all(line.isprintable() for line in lines)


def test_differences_are_named_and_counted() -> None:
    text = printed(FULL)
    assert "  missing order_id=1204, line=1\n" in text
    assert "price: '19.90' → '19.09'; note: 'blue, in a box ' → 'blue, in a box'" in text
    assert "shipped: '2024-02-29 11:20:00' → NULL" in text
    assert "… and 12,341 more (--output FILE has all)" in text
    aside = tuple(Difference({"id": str(n)}, "quarantined") for n in range(13))
    table = TableVerdict(TableName("s", "t"), "inconclusive", quarantined=13, differences=aside)
    assert "… and 3 more" in printed(Verification("p", "values", (table,)))
