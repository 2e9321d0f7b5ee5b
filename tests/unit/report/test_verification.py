"""One model, printed for programs and people."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from bridge.names import TableName
from bridge.report.formats import FORMATS
from bridge.report.verification import (
    ColumnDifference,
    ColumnFinding,
    Difference,
    TableVerdict,
    Verification,
)

NASTY = "<a> & \"b\" 'c' | * \x01 \n€"
MATCH = TableVerdict(TableName("shop", "orders"), "match", source_rows=3, target_rows=3)
MISMATCH = TableVerdict(
    TableName("shop", "items"),
    "mismatch",
    hint="dbbridge tables resync shop.items",
    source_rows=3,
    target_rows=2,
    differing=2,
    differences=(
        Difference({"id": "1"}, "missing"),
        Difference({"id": "2"}, "differs", (ColumnDifference("name", NASTY, None),)),
        Difference({}, "extra", rows=4),
    ),
    columns=(ColumnFinding("name", 1, whole=True),),
)
OPEN = TableVerdict(TableName("shop", "logs"), "inconclusive", reason="paused", hint="resume it")


def test_the_verdict_is_the_worst() -> None:
    assert Verification("p", "values", (MATCH,)).verdict == "match"
    assert Verification("p", "values", (MATCH, OPEN)).verdict == "inconclusive"
    assert Verification("p", "values", (MATCH, OPEN, MISMATCH)).verdict == "mismatch"
    assert Verification("p", "values").verdict == "inconclusive"


def test_next_is_what_helps_first() -> None:
    assert Verification("p", "values", (OPEN, MISMATCH)).next == MISMATCH.hint
    assert Verification("p", "values", (MATCH, OPEN)).next == "resume it"
    assert Verification("p", "values", (MATCH,)).next == "dbbridge status"


def test_json_has_the_shape_of_the_contract() -> None:
    document = Verification("p", "values", (MISMATCH,), position="0-1-5").document()
    assert document["verdict"] == "mismatch"
    assert document["position"] == "0-1-5"
    (table,) = document["tables"]
    wanted = {"table", "verdict", "source_rows", "target_rows", "digest", "equivalences"}
    assert wanted | {"differing", "differences"} <= table.keys()
    assert table["differences"][1] == {
        "key": {"id": "2"},
        "kind": "differs",
        "columns": [{"name": "name", "source": NASTY, "target": None}],
    }
    assert table["differences"][2] == {"key": {}, "kind": "extra", "columns": [], "rows": 4}


def test_junit_is_well_formed_and_counts() -> None:
    text = FORMATS["junit"](Verification("p<q>", "values", (MATCH, MISMATCH, OPEN)))
    suite = ET.fromstring(text.encode()).find("testsuite")  # noqa: S314 (our own output)
    assert suite is not None
    counts = [suite.get(name) for name in ("tests", "failures", "errors")]
    assert counts == ["3", "1", "1"]
    assert [case.get("name") for case in suite] == ["orders", "items", "logs"]


def test_pages_show_values_as_text() -> None:
    for shape in ("markdown", "html"):
        text = FORMATS[shape](Verification("p", "values", (MATCH, MISMATCH, OPEN)))
        assert "<a>" not in text
        assert "shop.items" in text
        assert "paused" in text
        assert "in every row" in text
