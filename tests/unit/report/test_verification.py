"""One model, printed for programs and people."""

from __future__ import annotations

from bridge.names import TableName
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


def test_what_is_not_listed_is_counted() -> None:
    many = Difference({}, "missing", rows=3)
    table = TableVerdict(
        TableName("a", "b"),
        "mismatch",
        differing=10_004,
        differences=(many, Difference({"id": "1"}, "quarantined")),
    )
    result = Verification("p", "values", (MATCH, table), output="all.ndjson")
    assert (table.left_out, result.left_out, MATCH.left_out) == (10_001, 10_001, 0)
    document = result.document()
    assert (document["left_out"], document["output"]) == (10_001, "all.ndjson")
    assert [table["left_out"] for table in document["tables"]] == [0, 10_001]


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
