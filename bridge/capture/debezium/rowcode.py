"""Python source of the functions that make COPY lines out of the rows of events.

A row is read by msgspec into an object made for the table, which has an attribute for each column
and refuses all other ones. Values go into the line through one bytes `%`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw, Struct

from bridge.errors import BadValue
from bridge.types.base import NULL, ColumnPlan, SourceColumn
from bridge.types.copytext import escape
from bridge.types.events import EventValue

Line = Callable[[Any], tuple[bytes, bytes]]
"""A row → its key and its whole line; raises BadValue."""


@dataclass(frozen=True, slots=True)
class Column:
    """A carried column, how its values are read, and whether they may be null."""

    plan: ColumnPlan
    value: EventValue
    nullable: bool

    @property
    def type(self) -> Any:
        """What the JSON is read as; a null is Raw as well."""
        if self.value.type is Raw:
            return Raw
        return self.value.type | None if self.nullable else self.value.type  # type: ignore[operator]


def row_type(columns: Sequence[Column], others: Iterable[SourceColumn]) -> type[Struct]:
    """Rows of exactly these columns; the `others` are not carried, and may be missing."""
    fields: list[Any] = [(attribute(c.plan.source), c.type) for c in columns]
    rest = list(others)
    fields += [(attribute(column), Raw, Raw()) for column in rest]
    names = {attribute(c): c.name for c in [*(c.plan.source for c in columns), *rest]}
    return _struct("Row", fields, names, strict=True)


def key_type(columns: Sequence[Column]) -> type[Struct]:
    """The key of a row, whatever else it has."""
    fields = [(attribute(c.plan.source), c.type) for c in columns]
    return _struct("Key", fields, {attribute(c.plan.source): c.plan.source.name for c in columns})


def _struct(
    name: str, fields: Sequence[Any], names: dict[str, str], *, strict: bool = False
) -> type[Struct]:
    return msgspec.defstruct(
        name, fields, rename=names, forbid_unknown_fields=strict, kw_only=True, gc=False
    )


def attribute(column: SourceColumn) -> str:
    """The attribute of rows that holds a column."""
    return f"c{column.ordinal}"


def line_of(columns: Sequence[Column], key: int, unavailable: frozenset[object] | None) -> Line:
    """The function for whole rows whose key are the `key` first columns.

    `unavailable`: what values that are not available are read as, and the function is for events
    with them or with backslashes; None: for events without.
    """
    code = _Code(columns, unavailable)
    formats, values = code.formats, code.values
    if key:
        code.add(f"key = {_formatted(formats[:key], values[:key])}")
        formats[:key], values[:key] = ["%b"], ["key"]
    code.add(f"return {'key' if key else repr(b'')}, {_formatted(formats, values)}")
    function: Line = code.compiled()
    return function


def key_of(
    columns: Sequence[Column], unavailable: frozenset[object] | None
) -> Callable[[Any], bytes]:
    """The function from a row of these columns to its key; `unavailable` as in `line_of`."""
    code = _Code(columns, unavailable)
    code.add(f"return {_formatted(code.formats, code.values)}")
    return code.compiled()


def converter(value: EventValue) -> Callable[[Any], bytes]:
    """One value, not None, → its COPY text, whatever the event holds besides."""
    text = f"b{value.format!r} % ({_expression(value, careful=True, variable='v')},)"
    return _compiled(f"def decode(v):\n    return {text}", dict(value.names))


class _Code:
    """Reads all columns into variables; texts of those that may be null are made beforehand."""

    def __init__(self, columns: Sequence[Column], unavailable: frozenset[object] | None) -> None:
        self.lines: list[str] = []
        self.names: dict[str, object] = {"unavailable": unavailable}
        self.formats: list[str] = []
        self.values: list[str] = []
        for place, column in enumerate(columns):
            self.names.update(column.value.names)
            self._read(column, f"v{place}", careful=unavailable is not None)

    def _read(self, column: Column, variable: str, *, careful: bool) -> None:
        value = column.value
        self.add(f"{variable} = row.{attribute(column.plan.source)}")
        if careful and value.type in (str, bytes):
            self.add(f"if {variable} in unavailable:")
            self.add("    raise BadValue('unavailable-value', '')")
        text = _expression(value, careful=careful, variable=variable)
        if column.nullable:
            text = f"b'%d' % ({text},)" if value.format == "%d" else text
            null = f"{variable} == RAW_NULL" if value.type is Raw else f"{variable} is None"
            text = f"(NULL if {null} else {text})"
        self.formats.append("%b" if column.nullable else value.format)
        self.values.append(text)

    def add(self, line: str) -> None:
        self.lines.append(line)

    def compiled(self) -> Callable[..., Any]:
        body = "\n".join("    " + line for line in self.lines)
        return _compiled(f"def decode(row):\n{body}", self.names)


def _expression(value: EventValue, *, careful: bool, variable: str) -> str:
    text = value.careful if careful and value.careful else value.expression
    return text.replace("{v}", variable)


def _formatted(formats: Sequence[str], values: Sequence[str]) -> str:
    if formats == ["%b"] or not formats:
        return values[0] if values else "b''"
    form = "\t".join(formats).encode()
    return f"{form!r} % ({', '.join(values)},)"


def _compiled(source: str, names: dict[str, object]) -> Callable[..., Any]:
    space: dict[str, Any] = {
        **names,
        "BadValue": BadValue,
        "NULL": NULL,
        "RAW_NULL": Raw(b"null"),
        "escape": escape,
    }
    # The text is made here, from the families' own expressions; no name and no value of the source
    # database is in it.
    exec(compile(source, "<event decoder>", "exec"), space)  # noqa: S102
    decode: Callable[..., Any] = space["decode"]
    return decode
