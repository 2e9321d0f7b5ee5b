"""Rows that the server could not write as a line: converted here, value by value, or refused."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bridge.capture.rowsql import LARGEST_ROW, family
from bridge.change.batch import BadRow, Image
from bridge.errors import BadValue, TableStopped
from bridge.mapping.plan import TablePlan
from bridge.types.base import NULL, ColumnPlan

_SHOWN = 1 << 20
"""Bytes of one value that quarantine keeps; the row is still in the source."""


def convert(plan: TablePlan, row: Sequence[bytes | None], at: str) -> Image:
    """The line of a row read with `RowSql.values`, or why there is none.

    Raises TableStopped for a bad value in the key.
    """
    size = int(row[0] or 0)
    nulls = row[1] or b""
    values = row[2:]
    key = b"\t".join(
        _key_text(plan, column, value)
        for column, value in zip(plan.key_columns, values, strict=False)
    )
    lost = any(value is None and flag == 0x30 for value, flag in zip(values, nulls, strict=True))
    if size > LARGEST_ROW or lost:
        return BadRow(key, "row-too-large", "", f"{size} bytes", b"", at)
    texts = []
    for column, value in zip(plan.columns, values, strict=True):
        try:
            texts.append(NULL if value is None else family(column).from_raw(column, value))
        except BadValue as bad:
            image = row_image(plan, values)
            shown = column.shown(bad.text)
            return BadRow(key, bad.code, column.source.name, shown, image, at)
    return b"\t".join(texts)


def row_image(plan: TablePlan, values: Sequence[bytes | None]) -> bytes:
    """A row as JSON for quarantine: column → text, null, or what is no text as hexadecimal digits.

    A value of more than 1 MiB is cut: then the object tells how many bytes it has.
    """
    shown = {
        column.source.name: _shown(value)
        for column, value in zip(plan.columns, values, strict=True)
    }
    return json.dumps(shown, ensure_ascii=False).encode()


def _shown(value: bytes | None) -> object:
    if value is None:
        return None
    part = value[:_SHOWN]
    try:
        text: object = part.decode()
    except UnicodeDecodeError:
        text = {"hex": part.hex()}
    return text if part == value else {"beginning": text, "bytes": len(value)}


def _key_text(plan: TablePlan, column: ColumnPlan, value: bytes | None) -> bytes:
    try:
        if value is None:
            raise BadValue("null", "NULL")
        text = family(column).from_raw(column, value)
        if text == NULL:
            raise BadValue("null", value.decode("utf-8", "backslashreplace"))
    except BadValue as bad:
        raise TableStopped(
            f"{plan.source}: {column.source.name} is part of the key and has a value that"
            f" {column.target_type} cannot hold: {column.shown(bad.text)} ({bad.code})",
            "give the column another target type or a policy in the mapping file, or mend the row",
            code="bad-key",
        ) from bad
    return text
