"""What a row filter may compare a column with, and how the column's COPY text is read for that."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn

from bridge.names import literal_mysql
from bridge.types.base import ColumnPlan, Policy, SourceColumn
from bridge.types.integers import source_range

_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
"""Not YEAR: MySQL compares it with 99 as with 1999."""
_INTEGER_TARGETS = frozenset({"smallint", "integer", "bigint", "numeric"})
_NUMBER = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_DATETIME = re.compile(r"\d{4}-\d\d-\d\d(?: \d\d:\d\d:\d\d(?:\.\d{1,6})?)?")
_DIGITS = 65
"""MySQL's DECIMAL holds no more; longer constants become floating point there."""


class FilterError(ValueError):
    """A condition that would not mean the same in both places; `hint` says what is possible."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Operand:
    """A column in a filter: how its field is read, and which constants it takes.

    `constant` gives the constant for MySQL and its value; it raises FilterError.
    `why` says why an unordered column takes no < and >.
    """

    name: str
    read: Callable[[bytes], object]
    constant: Callable[[object], tuple[str, object]]
    ordered: bool = True
    why: str = ""
    range: tuple[int, int] | None = None
    """The whole numbers that the column can hold; None for other columns."""


def operand_of(plan: ColumnPlan) -> Operand:  # noqa: RET503 (refuse never returns)
    """The column as an operand. Raises FilterError if a filter cannot use it."""
    source = plan.source
    if Policy(mask=plan.policy.mask) != plan.policy:
        refuse(
            f"column {source.name} of the filter has a policy that changes values",
            "filter by a column whose values are carried as they are",
        )
    base = plan.target_type.partition("(")[0]
    if source.data_type in _INTEGERS and base in _INTEGER_TARGETS:
        read = _decimal if base == "numeric" else int
        return Operand(source.name, read, _number, range=source_range(source))
    if source.data_type == "tinyint" and base == "boolean":
        return Operand(source.name, _truth, _number)
    if source.data_type == "decimal" and base == "numeric":
        return Operand(source.name, _decimal, _number)
    if source.data_type == "date" and base == "date":
        return Operand(source.name, _date, _date_constant)
    if (source.data_type, base) in (("datetime", "timestamp"), ("timestamp", "timestamptz")):
        return Operand(source.name, _moment, _moment_constant)
    if source.data_type == "enum" and base in ("text", "varchar"):
        return _enum(source)
    if source.data_type in ("char", "varchar") and base in ("text", "varchar"):
        return _text(source)
    refuse(
        f"column {source.name} ({source.column_type} -> {plan.target_type}) cannot be filtered by",
        "filters compare whole numbers, decimals, dates, enums and texts with a binary collation",
    )


def _number(tree: object) -> tuple[str, object]:
    negative = type(tree).__name__ == "Neg"
    inner = getattr(tree, "this", None) if negative else tree
    if type(inner).__name__ == "Boolean" and not negative:
        value = bool(getattr(inner, "this", False))
        return str(int(value)), Decimal(int(value))
    text = str(getattr(inner, "this", ""))
    number = type(inner).__name__ == "Literal" and not getattr(inner, "is_string", True)
    if not number or not _NUMBER.fullmatch(text) or sum(map(str.isdigit, text)) > _DIGITS:
        refuse(f"“{shown(tree)}” is no plain number", "compare with a number such as 12 or -1.50")
    text = f"-{text}" if negative else text
    return text, Decimal(text)


def _string(tree: object, example: str) -> str:
    if type(tree).__name__ != "Literal" or not getattr(tree, "is_string", False):
        refuse(
            f"“{shown(tree)}” is no text in quotes", f"compare with a constant such as {example}"
        )
    return str(getattr(tree, "this", ""))


def _date_constant(tree: object) -> tuple[str, object]:
    text = _string(tree, "'2024-12-31'")
    if not _DATE.fullmatch(text):
        refuse(f"“{text}” is no date", "write it like '2024-12-31'")
    return f"'{text}'", _parsed(dt.date.fromisoformat, text)


def _moment_constant(tree: object) -> tuple[str, object]:
    text = _string(tree, "'2024-12-31 23:59:59'")
    if not _DATETIME.fullmatch(text):
        refuse(f"“{text}” is no date and time", "write it like '2024-12-31 23:59:59' (UTC)")
    return f"'{text}'", _parsed(_moment_of, text)


def _parsed(parse: Callable[[str], object], text: str) -> object:
    try:
        return parse(text)
    except ValueError:
        refuse(f"“{text}” is no day of the calendar", "correct the date")


def _decimal(field: bytes) -> Decimal:
    return Decimal(field.decode())


def _date(field: bytes) -> dt.date:
    return dt.date.fromisoformat(field.decode())


def _moment(field: bytes) -> dt.datetime:
    # A timestamptz may carry its offset, which is always UTC here.
    return _moment_of(field.decode().removesuffix("+00:00").removesuffix("+00").removesuffix("Z"))


def _moment_of(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _truth(field: bytes) -> int:
    return int(field in (b"1", b"t", b"true"))


def _enum(source: SourceColumn) -> Operand:
    """MySQL compares labels by the collation, so an exact label must be the only one like it."""
    folded = {label: _folded(label) for label in source.labels}
    if len(set(folded.values())) < len(source.labels):
        refuse(
            f"labels of {source.name} differ only by case or accents",
            "filter by another column",
        )

    def constant(tree: object) -> tuple[str, object]:
        text = _string(tree, f"'{source.labels[0]}'")
        if text not in source.labels:
            refuse(f"“{text}” is no label of {source.name}", f"labels: {', '.join(source.labels)}")
        return literal_mysql(text), _escaped(text)

    return Operand(source.name, bytes, constant, ordered=False, why="labels have no order here")


def _text(source: SourceColumn) -> Operand:
    collation = source.collation or ""
    if not (collation == "binary" or collation.endswith("_bin")):
        refuse(
            f"column {source.name} is compared by {collation}, without regard to case or accents",
            "filter by a number, a date, an enum, or a column with a _bin collation",
        )
    padded = "0900" not in collation and "nopad" not in collation
    # CHAR loses trailing blanks when read; a PAD SPACE collation ignores them when comparing.
    strip = padded or source.data_type == "char"

    def constant(tree: object) -> tuple[str, object]:
        text = _string(tree, "'abc'")
        return literal_mysql(text), _escaped(text.rstrip(" ") if padded else text)

    read: Callable[[bytes], object] = _unpadded if strip else bytes
    return Operand(source.name, read, constant, ordered=False, why="texts sort differently here")


def _unpadded(field: bytes) -> bytes:
    return field.rstrip(b" ")


def _folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold()).rstrip(" ")
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _escaped(text: str) -> bytes:
    """COPY text of a text (PostgreSQL manual, COPY, "Text Format")."""
    for plain, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(plain, escaped)
    return text.encode()


def shown(tree: object) -> str:
    """A part of the condition as text, for messages."""
    sql = getattr(tree, "sql", None)
    return str(sql(dialect="mysql")) if sql else str(tree)


def refuse(message: str, hint: str) -> NoReturn:
    """Raises FilterError."""
    raise FilterError(message, hint)
