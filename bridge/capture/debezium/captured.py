"""Which tables and columns the connector captures, and by which key it sends rows (pure).

Its lists are of regular expressions, each of which has to match a whole name, in any case.
Java's expressions mostly mean the same in Python; where one is none here, nothing is said (None).

Source: Debezium's documentation, MySQL connector, "Connector properties"; keys of 3.6.1, tried out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from bridge.mapping.keys import columns_of
from bridge.names import TableName
from bridge.types.table import SourceTable

_OPENING, _CLOSING = "[{(", "]})"

Config = Mapping[str, str]


def captures_table(config: Config, table: TableName) -> bool | None:
    """Whether changes of the table are sent; None if that cannot be told."""
    return _both(
        _chosen(config, "database", table.schema),
        _chosen(config, "table", f"{table.schema}.{table.table}"),
    )


def captures_column(config: Config, table: TableName, column: str) -> bool | None:
    """Whether events of the table hold the column; None if that cannot be told."""
    return _chosen(config, "column", f"{table.schema}.{table.table}.{column}")


def message_keys(config: Config, table: SourceTable) -> set[tuple[str, ...]]:
    """The columns that messages of the table have as their key, () for none.

    That is the primary key, else the first unique index over columns that are NOT NULL, whose
    order only the definition's text tells: then all that it may be.
    """
    name = f"{table.name.schema}.{table.name.table}"
    for entry in config.get("message.key.columns", "").split(";"):
        pattern, _, columns = entry.strip().rpartition(":")
        if pattern and _matches(pattern, name) is not False:
            return {tuple(part.strip() for part in columns.split(","))}
    if table.primary_key:
        return {table.primary_key}
    found = {
        columns_of(index)
        for index in table.indexes
        if index.unique
        and all(part.column and not table.column(part.column).nullable for part in index.parts)
    }
    return found or {()}


def expressions(text: str) -> Iterator[str]:
    """The expressions of a list; commas inside of brackets, or behind a backslash, end none."""
    found, depth, escaped = "", 0, False
    for char in text:
        if char == "," and not depth and not escaped:
            yield from filter(None, (found.strip(),))
            found = ""
            continue
        if not escaped:
            depth += (char in _OPENING) - (char in _CLOSING)
        found = found[:-1] + char if escaped and char == "," else found + char
        escaped = char == "\\" and not escaped
    yield from filter(None, (found.strip(),))


def _chosen(config: Config, kind: str, name: str) -> bool | None:
    included = config.get(f"{kind}.include.list", "")
    if included:
        return _any(included, name)
    excluded = _any(config.get(f"{kind}.exclude.list", ""), name)
    return None if excluded is None else not excluded


def _any(expression_list: str, name: str) -> bool | None:
    found = [_matches(each, name) for each in expressions(expression_list)]
    if True in found:
        return True
    return None if None in found else False


def _matches(pattern: str, name: str) -> bool | None:
    try:
        return re.fullmatch(pattern, name, re.IGNORECASE) is not None
    except re.error:
        return None


def _both(one: bool | None, other: bool | None) -> bool | None:
    if False in (one, other):
        return False
    return None if None in (one, other) else True
