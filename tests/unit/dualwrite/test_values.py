"""Keys in Python's values, as the stream knows them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bridge.dualwrite.values import key_text
from bridge.mapping.compile import compile_table
from bridge.mapping.propose import propose_table
from bridge.names import TableName
from bridge.types.base import SourceColumn
from bridge.types.table import SourceTable


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.5"), b"1.50"),
        (7, b"7.00"),
        (Decimal("-" + "9" * 36 + ".25"), b"-" + b"9" * 36 + b".25"),
    ],
)
def test_decimals_of_any_length(value: object, text: bytes) -> None:
    column = SourceColumn(
        "id", 1, "decimal", "decimal(38,2)", precision=38, scale=2, nullable=False
    )
    table = SourceTable(TableName("shop", "t"), "mysql", "InnoDB", (column,), ("id",))
    plan = compile_table(propose_table(table, ()), table)
    assert key_text(plan, [value]) == text
