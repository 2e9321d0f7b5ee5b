"""Verifications to print: one with all that can be, and values that would break a careless page."""

from __future__ import annotations

from dataclasses import replace

from bridge.names import TableName
from bridge.report.verification import (
    ColumnDifference,
    ColumnFinding,
    Difference,
    Equivalence,
    TableVerdict,
    Verification,
)

NASTY = (
    "</script><img src=x onerror=alert(1)>",
    "]]><![CDATA[&amp;",
    "a | b \\| c",
    "```\n# heading\n<b>",
    "@somebody #123 https://example.org www.example.org",
    "\x00\x01\x1b[31m\u202egnp.exe\u200b\ufffe",
    "' \" ` _*~[x](y)",
    "</style></td></table>",
)
"""Each of them stands in every place that takes a text."""

ORDERS = TableVerdict(
    TableName("shop", "orders"),
    "match",
    source_rows=1_204_311,
    target_rows=1_204_311,
    digest="8f3a61c09be2d417",
    seconds=3.271,
    rechecked=412,
)
ITEMS = TableVerdict(
    TableName("shop", "order_items"),
    "mismatch",
    hint="dbbridge tables resync shop.order_items",
    source_rows=3_610_872,
    target_rows=3_610_871,
    digest="d09be2417c418f3a",
    differing=12_345,
    differences=(
        Difference({"order_id": "1204", "line": "1"}, "missing"),
        Difference({"order_id": "1204", "line": "7"}, "extra"),
        Difference(
            {"order_id": "88121", "line": "2"},
            "differs",
            (
                ColumnDifference("price", "19.90", "19.09"),
                ColumnDifference("note", "blue, in a box ", "blue, in a box"),
                ColumnDifference("shipped", "2024-02-29 11:20:00", None),
            ),
        ),
        Difference(
            {"order_id": "90002", "line": "1"},
            "differs",
            (ColumnDifference("card", "•••", "•••"),),
        ),
        Difference({"order_id": "90003", "line": "1"}, "quarantined"),
    ),
    columns=(ColumnFinding("price", 2, whole=False),),
    equivalences=(Equivalence("shipped", "zero_date: as-null", 31_204),),
    quarantined=1,
    seconds=9.84,
    rechecked=51,
)
LOGS = TableVerdict(
    TableName("shop", "logs"),
    "inconclusive",
    reason="no sync is running, and the stream stands before what was read",
    hint="dbbridge sync",
    source_rows=220_000,
    target_rows=219_998,
    in_flight=2,
    differences=(
        Difference({"id": "219999"}, "in-flight"),
        Difference({"id": "220000"}, "in-flight"),
    ),
    seconds=0.7,
)
SMALL = tuple(
    TableVerdict(
        TableName("shop", name),
        "match",
        source_rows=rows,
        target_rows=rows,
        digest=f"{rows * 0x9E3779B97F4A7C15 % (1 << 64):016x}",
        seconds=0.04 + rows / 400_000,
    )
    for name, rows in (("customers", 88_120), ("products", 4_512), ("countries", 249), ("carts", 0))
)
FULL = Verification(
    "shop",
    "values",
    (ORDERS, *SMALL, ITEMS, LOGS),
    position="0-1-88120,1-7-3",
    output="differences.ndjson",
    certificates=(
        {"id": 7, "group": "catalogue", "position": "0-1-88120", "tables": [{}, {}, {}]},
    ),
    refusals=(
        {
            "table": "shop.order_items",
            "code": "differences",
            "reason": "12345 rows differ",
            "hint": "dbbridge tables resync shop.order_items",
        },
    ),
    finished_at=1_700_000_000.0,
    lag_seconds=0.4,
)


def nasty(text: str) -> Verification:
    """The text wherever a text can stand."""
    table = TableVerdict(
        TableName(text, text),
        "mismatch",
        reason=text,
        hint=text,
        position=text,
        differing=20_000,
        digest=text,
        differences=(
            Difference({text: text}, "differs", (ColumnDifference(text, text, text + "x"),)),
            Difference({text: text}, "missing"),
        ),
        columns=(ColumnFinding(text, 5, whole=True),),
        equivalences=(Equivalence(text, text, 3),),
    )
    return Verification(
        text,
        text,
        (
            table,
            replace(table, verdict="inconclusive", differing=0),
            replace(table, verdict="match"),
        ),
        position=text,
        output=text,
        certificates=({"id": text, "group": text, "position": text, "tables": [{}]},),
        refusals=({"table": text, "code": text, "reason": text, "hint": text},),
        finished_at=1_700_000_000.0,
    )


def crowded() -> Verification:
    """Many tables of every kind: long names, texts that run the other way, 200 differences."""
    long = "warehouse_transfer_reservation_line_adjustment_history_snapshots"
    nasty_rows = tuple(
        Difference(
            {"code": text, "קוד": "שלום עולם 123"},
            "differs",
            (
                ColumnDifference("note", text, text + " x"),
                ColumnDifference("نص", "مرحبا بالعالم", "مرحبا العالم"),
                ColumnDifference("document", '{"a": [1, 2, 3], "b": ' + "9" * 250 + "}", None),
            ),
        )
        for text in NASTY
    )
    many = tuple(
        Difference(
            {"tenant_identifier": f"{n % 7:08d}", "warehouse_transfer_reservation_id": str(n)},
            "differs",
            (
                ColumnDifference("price", f"{n}.90", f"{n}.09"),
                ColumnDifference("sha256", f"{n:064x}", f"{n + 1:064x}"),
            ),
        )
        if n % 3
        else Difference({"tenant_identifier": "0", "line": str(n)}, "missing")
        for n in range(200)
    )
    tables = [
        TableVerdict(
            TableName("shop", long if n == 0 else f"{long[: 10 + n]}_{n}"),
            "match",
            source_rows=n * n * 7_919 + n,
            target_rows=n * n * 7_919 + n,
            digest=f"{(n + 1) * 0x9E3779B97F4A7C15 % (1 << 64):016x}",
            seconds=0.03 + n * n / 90,
            rechecked=n * 3,
        )
        for n in range(40)
    ]
    column = ColumnFinding("price", 133, whole=True)
    tables += [
        replace(ITEMS, table=TableName("shop", long[:60]), differences=many, differing=200,
                columns=(column,), source_rows=988_112_004, target_rows=988_112_003, seconds=4_021),
        replace(ITEMS, table=TableName("shop", "<b>הזמנות</b> & 'טבלה'"), differences=nasty_rows,
                differing=len(nasty_rows)),
        LOGS,
        replace(LOGS, table=TableName("shop", "events"), reason="a" * 180, in_flight=0),
    ]  # fmt: skip
    position = ",".join(f"3e11fa47-71ca-11e1-9e33-c80aa9429{n:03d}:1-88120" for n in range(4))
    return replace(FULL, tables=tuple(tables), position=position)
