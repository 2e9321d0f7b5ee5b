"""The queries that read rows of a plan: as COPY lines made by the server, or value by value.

The server writes each row as one line of COPY text, so that nobody converts values one at a time.
Some rows have no line and come out NULL: those with a value that their target cannot hold, those
whose text does not fit into max_allowed_packet, since functions then give NULL (and warning 1301),
and those with long text in which the server would have much to escape. They are read again value
by value. So are rows whose line holds a NUL or is no UTF-8: the client looks for that in whole
blocks, many times faster than the server in each text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from bridge.capture.resultset import LONGEST_LINE
from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan
from bridge.names import quote_mysql
from bridge.types import family_of
from bridge.types.base import ColumnPlan, Family

LARGEST_ROW = 64 << 20
"""Bytes of a row's text and binary values; a larger row goes to quarantine."""

CHECKED_ROW = 16 << 10
"""Bytes of a row's text and binary values from which on the server checks all of them. The line of
a smaller one, escaped, in UTF-8 and with a thousand short columns, always fits into a block."""

_TAB = "_utf8mb4 x'09'"
_NULL = "_utf8mb4 x'5c4e'"
_SHORT = frozenset(
    {
        "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "bit",
        "year", "date", "time", "datetime", "timestamp", "enum", "set",
    }
)  # fmt: skip
"""Types whose text never comes near max_allowed_packet."""
_LIMITED = frozenset({"char", "varchar", "binary", "varbinary"})
"""Types whose length in characters is part of the column."""
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
_ESCAPED_THERE = {"mariadb": 2000, "mysql": 1000}
"""Bytes of a text that the server escapes whatever it holds."""
_SEARCHED = 64 << 10
"""Bytes of a text that is searched for characters to escape; a longer one is taken to have some."""
_ESCAPES = ("0a", "5c", "09", "0d")
"""Newline, backslash, tab and carriage return, the likely ones first."""


def family(column: ColumnPlan) -> Family:
    """The column's family; raises TableStopped for a type that has none."""
    found = family_of(column.source)
    if found is None:
        raise TableStopped(
            f"column {column.source.name} is {column.source.column_type}, which cannot be carried",
            "write it as {type: dropped, reason: …} in the mapping file",
            code="unknown-type",
        )
    return found


@dataclass(frozen=True)
class RowSql:
    """The select lists for one plan's rows."""

    plan: TablePlan

    @cached_property
    def line(self) -> str:
        """The row as a COPY line; NULL if it has none, but for what a short line itself shows.

        Long lines go through the client in pieces: those are checked by the server.
        """
        hidden = [family(column).hidden(column, _name(column)) for column in self.plan.columns]
        shown = [bad for bad, rest in zip(self._bad, hidden, strict=True) if bad != rest]
        if shown and self._longest > CHECKED_ROW:
            hidden.append(f"{self._size} > {CHECKED_ROW} AND ({' OR '.join(shown)})")
        return self._line(hidden)

    def _line(self, bad: list[str]) -> str:
        fields = f", {_TAB}, ".join(map(_field, self.plan.columns))
        slow = map(_slow, self.plan.columns)
        conditions = " OR ".join(f"({condition})" for condition in (*slow, *bad) if condition)
        line = f"CONCAT({fields})"
        return f"CASE WHEN {conditions} THEN NULL ELSE {line} END" if conditions else line

    @cached_property
    def no_line(self) -> str:
        """Condition: the row has no line, or one that is longer than is taken."""
        line = self._line(self._bad)
        return f"COALESCE(LENGTH({line}), {LONGEST_LINE + 1}) > {LONGEST_LINE}"

    @cached_property
    def values(self) -> str:
        """The row's size in bytes, NULL flags, and what the families convert, column by column.

        The flags are one text with a digit a column, 1 for NULL. Of a row that is too large only
        its key and its short columns are fetched.
        """
        names = [_name(column) for column in self.plan.columns]
        nulls = ", ".join(f"{name} IS NULL" for name in names)
        return ", ".join([self._size, f"CONCAT({nulls})", *map(self._value, range(len(names)))])

    @cached_property
    def _bad(self) -> list[str]:
        return [family(column).bad(column, _name(column)) for column in self.plan.columns]

    @cached_property
    def _size(self) -> str:
        names = [_name(column) for column in self._long]
        return " + ".join(f"COALESCE(LENGTH({name}), 0)" for name in names) or "0"

    @cached_property
    def _long(self) -> list[ColumnPlan]:
        return [c for c in self.plan.columns if c.source.data_type not in _SHORT]

    @property
    def _longest(self) -> int:
        """Bytes that `_size` can be at most; characters have up to four."""
        return sum(
            4 * (c.source.length or 0) if c.source.data_type in _LIMITED else LARGEST_ROW
            for c in self._long
        )

    def _value(self, place: int) -> str:
        column = self.plan.columns[place]
        raw = family(column).raw(column, _name(column))
        if place < self.plan.key or column.source.data_type in _SHORT:
            return raw
        return f"IF({self._size} > {LARGEST_ROW}, NULL, {raw})"


def _field(column: ColumnPlan) -> str:
    """The column's text, or COPY's NULL; NULL itself only if the text would be too long.

    For long values ``IFNULL(text, '\\N')`` would be wrong: it makes a NULL of what is too long. A
    short value's text is NULL where a policy wants it.
    """
    name, policy = _name(column), column.policy
    text = family(column).copy_text(column, name)
    made_null = "as-null" in (policy.zero_date, policy.out_of_range)
    if column.source.data_type in _SHORT and (column.source.nullable or made_null):
        return f"IFNULL({text}, {_NULL})"
    return f"IF({name} IS NULL, {_NULL}, {text})" if column.source.nullable else text


def _slow(column: ColumnPlan) -> str:
    """Condition: the value is escaped faster by the client; '' where it never is.

    Servers escape 5 to 20 MB of lines a second, the client 100. MariaDB's REPLACE moves the rest of
    the text at each replacement, cannot be interrupted, and would take hours for some MB.
    """
    source = column.source
    least = _ESCAPED_THERE[source.flavor]
    if source.data_type not in (_TEXTS if source.flavor == "mysql" else _TEXTS | {"json"}):
        return ""
    if source.data_type in ("char", "varchar") and (source.length or 0) * 4 <= least:
        return ""
    name = _name(column)
    found = " OR ".join(f"LOCATE(x'{code}', CAST({name} AS BINARY)) > 0" for code in _ESCAPES)
    return f"COALESCE(LENGTH({name}) > {least} AND (LENGTH({name}) > {_SEARCHED} OR {found}), 0)"


def _name(column: ColumnPlan) -> str:
    return quote_mysql(column.source.name)
