"""Python source of the functions that make COPY lines out of the rows of events.

A row is read by msgspec into an object made for the table, which has an attribute for each column
and refuses all other ones. A line is text until it is whole, since nearly all values are: numbers
and strings go into it as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw, Struct

from bridge.errors import BadValue
from bridge.types.base import NULL, ColumnPlan, SourceColumn
from bridge.types.copytext import escape_text
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


def plain(name: str) -> bool:
    """Whether a column's name stands in JSON as it is; only then can msgspec look for it."""
    return name.isprintable() and not {'"', "\\"} & set(name)


def attribute(column: SourceColumn) -> str:
    """The attribute of rows that holds a column."""
    return f"c{column.ordinal}"


def line_of(columns: Sequence[Column], key: int, *, careful: bool) -> Line:
    """The function for whole rows whose key are the `key` first columns.

    `careful`: for events with a backslash somewhere.
    """
    code = _Code(columns, careful=careful)
    keys, others = code.texts[:key], code.texts[key:]
    if not key:
        code.add(f"return b'', {_joined(others)}.encode()")
    else:
        code.add(f"key = {_joined(keys)}")
        code.add(f"return key.encode(), {_joined(['key', *others])}.encode()")
    function: Line = code.compiled()
    return function


def key_of(columns: Sequence[Column], *, careful: bool) -> Callable[[Any], bytes]:
    """The function from a row of these columns to its key; raises BadValue."""
    code = _Code(columns, careful=careful)
    code.add(f"return {_joined(code.texts)}.encode()")
    return code.compiled()


def converter(value: EventValue) -> Callable[[Any], bytes]:
    """One value, not None, → its COPY text, whatever the event holds besides; raises BadValue."""
    lines = [*_guard(value, "v"), f"return str({_expression(value, 'v', careful=True)}).encode()"]
    return _compiled(lines, "v", {**value.names, "missing_v": value.unavailable})


class _Code:
    """Makes each column's text, in a variable named in `texts`."""

    def __init__(self, columns: Sequence[Column], *, careful: bool) -> None:
        self.texts = [f"v{place}" for place in range(len(columns))]
        self._lines: list[str] = []
        self._names: dict[str, object] = {}
        for column, variable in zip(columns, self.texts, strict=True):
            value = column.value
            self._names |= {**value.names, f"missing_{variable}": value.unavailable}
            self.add(f"{variable} = row.{attribute(column.plan.source)}")
            lines = _guard(value, variable)
            text = _expression(value, variable, careful=careful)
            if text != variable:
                lines.append(f"{variable} = {text}")
            self._lines += _unless_null(column, variable, lines)

    def add(self, line: str) -> None:
        self._lines.append(line)

    def compiled(self) -> Callable[..., Any]:
        return _compiled(self._lines, "row", self._names)


def _unless_null(column: Column, variable: str, lines: Sequence[str]) -> list[str]:
    if not column.nullable:
        return list(lines)
    null = f"{variable} == RAW_NULL" if column.value.type is Raw else f"{variable} is None"
    otherwise = ["else:", *(f"    {line}" for line in lines)] if lines else []
    return [f"if {null}:", f"    {variable} = NULL", *otherwise]


def _guard(value: EventValue, variable: str) -> list[str]:
    """Looks for a value that is not available."""
    if value.unavailable is None:
        return []
    raised = "    raise BadValue('unavailable-value', '')"
    return [f"if {variable} == missing_{variable}:", raised]


def _expression(value: EventValue, variable: str, *, careful: bool) -> str:
    text = value.careful if careful and value.careful else value.expression
    return text.replace("{v}", variable)


def _joined(variables: Sequence[str]) -> str:
    """Expression of the text of several columns; an int is printed by the f-string."""
    fields = "\\t".join(f"{{{variable}}}" for variable in variables)
    return f"f'{fields}'"


def _compiled(lines: Sequence[str], argument: str, names: dict[str, object]) -> Callable[..., Any]:
    space: dict[str, Any] = {
        **names,
        "BadValue": BadValue,
        "NULL": NULL.decode(),
        "RAW_NULL": Raw(b"null"),
        "escape_text": escape_text,
    }
    body = "\n".join(f"    {line}" for line in lines)
    # The text is made here, from the families' own expressions; no name and no value of the source
    # database is in it.
    exec(compile(f"def decode({argument}):\n{body}", "<event decoder>", "exec"), space)  # noqa: S102
    decode: Callable[..., Any] = space["decode"]
    return decode
