"""What is known about the value of an expression: its type in both databases, and its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from bridge.names import literal_postgres, quote_postgres
from bridge.types.base import ColumnPlan, Policy, SourceColumn
from bridge.types.target import target_of

Kind = Literal["int", "decimal", "text", "bool", "date", "datetime", "json", "null"]

BIGINT = (-(2**63), 2**63 - 1)
_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_INT_TARGETS = frozenset({"smallint", "integer", "bigint", "numeric"})
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum"})
UTF8 = frozenset({"utf8", "utf8mb3", "utf8mb4", "ascii"})
"""Charsets whose bytes are those of the target's text."""


class Untranslatable(Exception):
    """Why an expression is not known to mean the same in PostgreSQL."""


@dataclass(frozen=True, slots=True)
class Value:
    """A PostgreSQL expression and what is certain about it.

    `low` and `high` bound numbers; `scale` are digits behind a decimal's point. `wide` says that an
    integer is computed as bigint or numeric. `chars` is the greatest length of a text, `charsets`
    those of its columns. `printed` is true where MySQL and PostgreSQL print a number alike.
    `source` is the column that the value is, if it is one. `exact`: the same for every value.
    """

    sql: str
    kind: Kind
    low: Fraction = Fraction(0)
    high: Fraction = Fraction(0)
    scale: int = 0
    unsigned: bool = False
    wide: bool = False
    chars: int = 0
    charsets: frozenset[str] = frozenset()
    text: str | None = None
    """The text of a constant."""
    source: SourceColumn | None = None
    printed: bool = False
    exact: bool = True

    @property
    def is_number(self) -> bool:
        """Whether it is a number in MySQL (as truth values are)."""
        return self.kind in ("int", "decimal", "bool")


def of_column(plan: ColumnPlan) -> Value:
    """A carried column; raises Untranslatable where the target may hold something else."""
    source, target = plan.source, target_of(plan)
    if replace(plan.policy, mask=False) != Policy():
        raise Untranslatable(f"the mapping changes values of {source.name}")
    sql = quote_postgres(plan.target_name)
    if source.data_type in _BITS and (target.base in _INT_TARGETS or target.base == "boolean"):
        return _integer_column(plan, sql)
    if source.data_type == "decimal" and target.base == "numeric":
        return _decimal_column(source, sql)
    if source.data_type in _TEXTS and target.base in ("text", "varchar"):
        return _text_column(source, sql)
    if source.data_type == "date" and target.base == "date":
        return Value(sql, "date", source=source)
    if source.data_type == "datetime" and target.base == "timestamp":
        return Value(sql, "datetime", source=source)
    raise Untranslatable(f"column {source.name} of type {source.column_type} is not understood")


def integer_range(column: SourceColumn) -> tuple[int, int]:
    """The least and greatest integer of the column's type."""
    bits = _BITS[column.data_type]
    return (0, 2**bits - 1) if column.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _integer_column(plan: ColumnPlan, sql: str) -> Value:
    source, target = plan.source, target_of(plan)
    low, high = integer_range(source)
    if target.base == "boolean":
        return Value(f"{sql}::integer", "int", Fraction(0), Fraction(1), source=source)
    bounds = target.integers
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Value(
        sql,
        "int",
        Fraction(low),
        Fraction(high),
        unsigned=source.unsigned,
        wide=target.base in ("bigint", "numeric"),
        source=source,
        printed="zerofill" not in source.column_type.lower(),
    )


def _decimal_column(source: SourceColumn, sql: str) -> Value:
    precision, scale = source.precision or 0, source.scale or 0
    high = Fraction(10) ** (precision - scale)
    return Value(
        sql,
        "decimal",
        Fraction(0) if source.unsigned else -high,
        high,
        scale,
        unsigned=source.unsigned,
        wide=True,
        source=source,
        printed="zerofill" not in source.column_type.lower(),
    )


def _text_column(source: SourceColumn, sql: str) -> Value:
    chars = source.length or max((len(label) for label in source.labels), default=0)
    charset = source.charset or "binary"
    if charset == "binary":
        raise Untranslatable(f"column {source.name} holds bytes")
    return Value(sql, "text", chars=chars, charsets=frozenset({charset}), source=source)


def of_text(text: str) -> Value:
    """A text constant."""
    return Value(literal_postgres(text), "text", chars=len(text), text=text)


def of_number(text: str) -> Value:
    """A constant without a sign: digits, perhaps with a point."""
    whole, point, fraction = text.partition(".")
    if not (whole + fraction).isdigit():
        raise Untranslatable(f"the number {text} is not understood")
    if not point:
        if int(text) > BIGINT[1]:
            raise Untranslatable(f"the number {text} is too large")
        return Value(text, "int", Fraction(text), Fraction(text), printed=True)
    number = Fraction(text)
    return Value(text, "decimal", number, number, len(fraction), wide=True)


def truth(value: Value) -> Value:
    """The value as a condition."""
    if value.kind == "bool":
        return value
    if value.kind == "int":
        return Value(f"({value.sql} <> 0)", "bool", exact=value.exact)
    raise Untranslatable("a condition that is no comparison")


def number(value: Value) -> Value:
    """The value as a number: a condition is 0, 1 or NULL in MySQL."""
    if value.kind == "bool":
        return as_integer(value)
    if value.kind not in ("int", "decimal"):
        raise Untranslatable("arithmetic with something that is no number")
    return value


def as_integer(condition: Value) -> Value:
    """A condition's 0, 1 or NULL."""
    sql, exact = f"({condition.sql})::integer", condition.exact
    return Value(sql, "int", Fraction(0), Fraction(1), exact=exact, printed=True)


def widened(value: Value) -> str:
    """The number as bigint or numeric, so that it does not overflow before MySQL's does."""
    return value.sql if value.wide else f"{value.sql}::bigint"


def union(values: Sequence[Value], sql: str) -> Value:
    """What is certain about an expression that is one of the values."""
    known = [value for value in values if value.kind != "null"]
    kinds = {value.kind for value in known}
    exact = all(value.exact for value in values)
    if kinds and kinds <= {"int", "decimal", "bool"}:
        return Value(
            sql,
            "decimal" if "decimal" in kinds else "int",
            min(v.low for v in known),
            max(Fraction(1) if v.kind == "bool" else v.high for v in known),
            max(v.scale for v in known),
            unsigned=any(v.unsigned for v in known),
            wide="decimal" in kinds or all(v.wide for v in known),
            exact=exact,
        )
    if any(v.source is not None and v.source.data_type == "char" for v in known):
        raise Untranslatable("the spaces at the end of a char column depend on sql_mode")
    if kinds == {"text"}:
        charsets = frozenset().union(*(v.charsets for v in known))
        chars = max(v.chars for v in known)
        return Value(sql, "text", chars=chars, charsets=charsets, exact=exact)
    if len(kinds) == 1:
        (kind,) = kinds
        return Value(sql, kind, exact=exact)
    raise Untranslatable("branches of different types")


def stored(value: Value, plan: ColumnPlan) -> str:
    """The value as the column stores it; raises Untranslatable where that might differ."""
    source, target = plan.source, target_of(plan)
    kind = source.data_type
    if replace(plan.policy, mask=False) != Policy():
        raise Untranslatable(f"the mapping changes values of {source.name}")
    if target.base == "boolean" and kind == "tinyint" and value.kind == "bool":
        return value.sql
    if kind in _BITS and target.base in _INT_TARGETS and value.is_number:
        return _stored_integer(number(value), plan)
    if kind == "decimal" and target.base == "numeric" and value.is_number:
        return _stored_decimal(number(value), source)
    if kind in _TEXTS and target.is_text and value.kind == "text":
        return _stored_text(value, source)
    if (kind, target.base) in (("date", "date"), ("datetime", "timestamp")) and value.kind == kind:
        if value.source is not None and value.source.fsp > source.fsp:
            raise Untranslatable("fractions of seconds would be rounded")
        return value.sql
    raise Untranslatable(f"a value of kind {value.kind} for {source.column_type}")


def _stored_integer(value: Value, plan: ColumnPlan) -> str:
    low, high = integer_range(plan.source)
    bounds = target_of(plan).integers
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    half = Fraction(1, 2) if value.scale else 0
    if value.low - half < low or value.high + half > high:
        raise Untranslatable(f"the result may be out of the range of {plan.source.column_type}")
    return value.sql


def _stored_decimal(value: Value, source: SourceColumn) -> str:
    scale = source.scale or 0
    high = Fraction(10) ** ((source.precision or 0) - scale)
    low = Fraction(0) if source.unsigned else -high
    # Rounding to fewer digits may carry into one more.
    carry = Fraction(10) ** -scale if value.scale > scale else 0
    if value.low - carry < low or value.high + carry > high:
        raise Untranslatable(f"the result may be out of the range of {source.column_type}")
    return value.sql


def _stored_text(value: Value, source: SourceColumn) -> str:
    if source.data_type in ("char", "enum"):
        raise Untranslatable(f"{source.data_type} changes what is stored")
    room = source.length or 0
    if source.data_type != "varchar":
        room //= 4  # its length is in bytes
    if value.chars > room:
        raise Untranslatable(f"the result may be longer than {source.column_type}")
    if source.charset != "utf8mb4" and not value.charsets <= {source.charset}:
        raise Untranslatable(f"the charset {source.charset} may lack characters of the result")
    return value.sql
