"""The small languages of mapping files: ``shop.orders -> sales.orders``, ``int -> integer null``.

Each has a reader and a writer that undo each other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bridge.names import TableName
from bridge.types.base import SourceColumn

NOTHING = "nothing"
"""The target of a table that is left out."""
DROPPED = "dropped"
"""The type of a column that is left out."""

_WORD = r"""(?:"(?:[^"]|"")+"|`(?:[^`]|``)+`|[^\s."`]+)"""
_TABLE = re.compile(rf"({_WORD})\.({_WORD})")
_TABLES = re.compile(rf"{_TABLE.pattern}\s+->\s+(?:{_TABLE.pattern}|({NOTHING}))")
_PLAIN_WORD = re.compile(r"[^\W\d][\w$-]*")
_QUOTED = re.compile(r"'(?:[^'\\]|''|\\.)*'", re.DOTALL)
_NULLABILITY = re.compile(r"^(.*?)(?:\s+(not\s+)?null)?$", re.IGNORECASE | re.DOTALL)
_WIDTH = re.compile(r"\b(smallint|mediumint|int|integer|bigint|year)\(\d+\)", re.IGNORECASE)
_TINY_WIDTH = re.compile(r"\btinyint\((?!1\))\d+\)", re.IGNORECASE)

_SYNONYMS = {
    "int": "integer", "int4": "integer", "int8": "bigint", "int2": "smallint",
    "bool": "boolean", "float8": "double precision", "float4": "real", "float": "double precision",
    "decimal": "numeric", "character varying": "varchar", "character": "char",
    "bpchar": "char", "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz", "time without time zone": "time",
    "bit varying": "varbit",
}  # fmt: skip
_TARGET = re.compile(
    r"(?P<base>[a-z_][a-z0-9_ ]*?)\s*(?P<args>\([^()]*\))?"
    r"(?P<zone>\s+with(?:out)?\s+time\s+zone)?(?P<array>(?:\[\])*)"
)


@dataclass(frozen=True, slots=True)
class Arrow:
    """``SOURCE [not null] -> TARGET [not null | null]``; nullability None where it is not said."""

    source: str
    source_nullable: bool | None
    target: str
    target_nullable: bool | None


def read_tables(text: str) -> tuple[TableName, TableName | None] | None:
    """``shop.orders -> sales.orders`` or ``shop.log -> nothing``; None if it is neither."""
    match = _TABLES.fullmatch(text.strip())
    if not match:
        return None
    words = [_unquoted(word) if word else "" for word in match.groups()]
    target = None if match[5] else TableName(words[2], words[3])
    return TableName(words[0], words[1]), target


def write_tables(source: TableName, target: TableName | None) -> str:
    """The line that `read_tables` reads."""
    return f"{write_table(source)} -> {write_table(target) if target else NOTHING}"


def write_table(name: TableName) -> str:
    """``shop.orders``, with double quotes around words that need them."""
    return f"{_quoted(name.schema)}.{_quoted(name.table)}"


def read_arrow(text: str) -> Arrow | None:
    """``datetime not null -> timestamp null``; None if there is no (single) arrow."""
    blank = _QUOTED.sub(lambda match: "_" * len(match[0]), text)
    places = [match.start() for match in re.finditer(r"\s->\s", blank)]
    if len(places) != 1:
        return None
    source, source_null = _nullability(text[: places[0]])
    target, target_null = _nullability(text[places[0] + 4 :])
    if not source or not target:
        return None
    return Arrow(normal_source(source), source_null, normal_target(target), target_null)


def write_arrow(column: SourceColumn, target: str, nullable: bool) -> str:
    """The text that `read_arrow` reads; nullability only where source and target differ in it."""
    source = source_type(column)
    if nullable == column.nullable:
        return f"{source} -> {target}"
    return f"{source}{_null(column.nullable)} -> {target}{_null(nullable)}"


def source_type(column: SourceColumn) -> str:
    """A source column's type as mapping files show it: the server's text without display widths.

    MariaDB's JSON is called json, whatever the server calls it.
    """
    return "json" if column.data_type == "json" else normal_source(column.column_type)


def normal_source(text: str) -> str:
    """One spelling of a MySQL type: lower case and single spaces outside quotes, no display widths.

    tinyint(1) keeps its width (it means a flag), and so do ZEROFILL columns.
    """
    pieces = _QUOTED.split(text)
    quoted = [*_QUOTED.findall(text), ""]
    plain = [_squeezed(piece.lower()) for piece in pieces]
    if len(plain) == 1 and "zerofill" not in plain[0]:
        plain[0] = _TINY_WIDTH.sub("tinyint", _WIDTH.sub(r"\1", plain[0]))
    joined = "".join(a + b for a, b in zip(plain, quoted, strict=True)).strip()
    return re.sub(r"^integer\b", "int", joined)


def normal_target(text: str) -> str:
    """One spelling of a PostgreSQL type, as ColumnPlan.target_type has it."""
    plain = " ".join(text.lower().split())
    match = _TARGET.fullmatch(plain)
    if not match:
        return plain
    base = (match["base"] + (match["zone"] or "")).strip()
    base = _SYNONYMS.get(base, base)
    args = re.sub(r"\s", "", match["args"] or "")
    if base == "numeric" and args and "," not in args:
        args = args[:-1] + ",0)"
    return f"{base}{args}{match['array']}"


def _nullability(text: str) -> tuple[str, bool | None]:
    match = _NULLABILITY.match(text.strip())
    assert match is not None
    rest = text.strip()[match.end(1) :]
    return match[1].strip(), (None if not rest else match[2] is None)


def _null(nullable: bool) -> str:
    return " null" if nullable else " not null"


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _quoted(name: str) -> str:
    if _PLAIN_WORD.fullmatch(name):
        return name
    return '"' + name.replace('"', '""') + '"'


def _unquoted(word: str) -> str:
    mark = word[0]
    return word[1:-1].replace(mark * 2, mark) if mark in '"`' else word
