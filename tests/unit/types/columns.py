"""Source columns as the catalogue would give them."""

from __future__ import annotations

import re
from typing import Any

from bridge.types import family_of
from bridge.types.base import ColumnPlan, Family, Policy, SourceColumn

_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint")


def column(column_type: str, **more: Any) -> SourceColumn:
    """The column of a type such as ``decimal(10,2) unsigned``."""
    match = re.match(r"(\w+)(?:\(([^()]*)\))?", column_type)
    assert match
    name, arguments = match[1], match[2]
    sizes: dict[str, Any] = {}
    if name in ("enum", "set"):
        sizes["labels"] = tuple(re.findall(r"'([^']*)'", column_type))
    elif arguments:
        numbers = [int(part) for part in arguments.split(",")]
        if name in ("datetime", "timestamp", "time"):
            sizes["fsp"] = numbers[0]
        elif name == "decimal":
            sizes |= {"precision": numbers[0], "scale": numbers[1] if numbers[1:] else 0}
        elif name not in _INTEGERS:
            sizes["length"] = numbers[0]
    if "char" in name or "text" in name:
        sizes["charset"] = "utf8mb4"
    sizes["unsigned"] = "unsigned" in column_type
    return SourceColumn("c", 2, name, column_type, **{**sizes, **more})


def family(source: SourceColumn) -> Family:
    """The family of a column that has one."""
    found = family_of(source)
    assert found is not None
    return found


def plan(source: SourceColumn | str, target: str, **policy: Any) -> ColumnPlan:
    """A decision with policies."""
    if isinstance(source, str):
        source = column(source)
    return ColumnPlan(source, "c", target, policy=Policy(**policy))
