"""Whether a table map is still the table that a plan was compiled for (pure).

Without the names in the event (the source does not log them) only types can be compared; that a
DDL statement was seen is then the one sign of a change.
"""

from __future__ import annotations

import re

from bridge.capture.binlog.table_map import MapColumn, TableMap
from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan
from bridge.types import family_of
from bridge.types.base import ColumnPlan, SourceColumn, Wire

_ROW_HASH = re.compile(r"DB_ROW_HASH_\d+")
_CHARSET_NAMES = {"utf8": "utf8mb3"}
_BINARY = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})


def check_definition(plan: TablePlan, table_map: TableMap) -> None:
    """Raises TableStopped('definition-changed') for other columns, names, types or labels."""
    known = plan.table.columns
    columns = _without_hashes(table_map.columns)
    names = None if table_map.names is None else table_map.names[: len(columns)]
    expected = tuple(column.name for column in known)
    if names is not None and names != expected:
        raise changed(plan, f"its columns are {_listed(names)} and were {_listed(expected)}")
    if len(columns) != len(known):
        raise changed(plan, f"it has {len(columns)} columns and had {len(known)}")
    carried = {column.source.ordinal for column in plan.columns}
    for column, mapped in zip(known, columns, strict=True):
        difference = _difference(column, mapped)
        if difference:
            raise changed(plan, f"column {column.name} {difference}")
        if names is None and column.ordinal not in carried:
            _check_type(plan, column, mapped)


def wire_of(plan: TablePlan, column: ColumnPlan, mapped: MapColumn) -> Wire:
    """The column's Wire; raises TableStopped('definition-changed') if its type is another one."""
    family = family_of(column.source)
    if family is None:
        raise changed(plan, f"column {column.source.name} is {column.source.column_type}")
    try:
        return family.wire(column, mapped.code, mapped.meta)
    except TableStopped as error:
        raise changed(plan, error.message) from error


def changed(plan: TablePlan, what: str) -> TableStopped:
    """The error for a table whose definition is not the one that is known."""
    return TableStopped(
        f"{plan.source}: the definition has changed: {what}",
        "bring the mapping up to date with dbbridge init, then:"
        f" dbbridge tables resync {plan.source.word}",
        code="definition-changed",
    )


def _without_hashes(columns: tuple[MapColumn, ...]) -> tuple[MapColumn, ...]:
    """Without the columns that MariaDB adds for unique keys over long texts.

    They stand at the end, in no catalogue, and carry nothing (measured on 10.11).
    """
    while columns and columns[-1].name is not None and _ROW_HASH.fullmatch(columns[-1].name):
        columns = columns[:-1]
    return columns


def _difference(column: SourceColumn, mapped: MapColumn) -> str:
    """What the event says otherwise than the catalogue; '' if nothing."""
    # YEAR counts as unsigned in the log.
    signed = column.data_type != "year" and mapped.unsigned is not None
    if signed and mapped.unsigned != column.unsigned:
        return "is unsigned now" if mapped.unsigned else "is no longer unsigned"
    charset = _charset(column)
    if mapped.charset is not None and charset is not None and mapped.charset != charset:
        return f"has the character set {mapped.charset} and had {charset}"
    if mapped.labels is not None and column.labels and mapped.labels != column.labels:
        return f"has the labels {_listed(mapped.labels)} and had {_listed(column.labels)}"
    return ""


def _charset(column: SourceColumn) -> str | None:
    """The character set that the log gives the column; None if that is not known."""
    if column.data_type in _BINARY:
        return "binary"
    return _CHARSET_NAMES.get(column.charset, column.charset) if column.charset else None


def _check_type(plan: TablePlan, column: SourceColumn, mapped: MapColumn) -> None:
    """A column that is not carried: its type, where its family is known at all."""
    family = family_of(column)
    if family is not None:
        target_type = family.proposals(column)[0].target_type
        wire_of(plan, ColumnPlan(column, column.name, target_type), mapped)


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:12])
    return f"({shown}, …)" if len(names) > 12 else f"({shown})"
