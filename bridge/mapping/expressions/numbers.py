"""Arithmetic and comparisons of numbers, with the limits within which both databases agree.

MySQL computes integers as BIGINT, unsigned if one operand is (manual, "Arithmetic Operators"); the
limits make sure that neither it nor PostgreSQL's bigint overflows, so the results are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from bridge.mapping.expressions.values import (
    BIGINT,
    Kind,
    Untranslatable,
    Value,
    number,
    widened,
)

_DIGITS = 65
_SCALE = 30
"""MySQL's DECIMAL holds so many digits, and so many behind the point."""


def add(a: Value, b: Value) -> Value:
    """The sum."""
    a, b = number(a), number(b)
    return _result("+", a, b, a.low + b.low, a.high + b.high, max(a.scale, b.scale))


def subtract(a: Value, b: Value) -> Value:
    """The difference."""
    a, b = number(a), number(b)
    return _result("-", a, b, a.low - b.high, a.high - b.low, max(a.scale, b.scale))


def multiply(a: Value, b: Value) -> Value:
    """The product."""
    a, b = number(a), number(b)
    corners = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    return _result("*", a, b, min(corners), max(corners), a.scale + b.scale)


def negate(a: Value) -> Value:
    """The negative."""
    a = number(a)
    low, high = -a.high, -a.low
    _check(a.kind, low, high, a.scale, unsigned=False)
    if a.sql.isdigit():
        return Value(f"(- {a.sql})", a.kind, low, high, exact=a.exact, printed=True)
    sql = f"(- {widened(a)})"
    return Value(sql, a.kind, low, high, a.scale, wide=True, exact=a.exact)


def divide_whole(a: Value, b: Value) -> Value:
    """The whole quotient (DIV) of integers; NULL for a divisor of 0."""
    a, b = _integers(a, b)
    low, high = min(a.low, Fraction(0)), max(a.high, Fraction(0))
    if b.low < 0:
        low, high = min(low, -high), max(high, -low)
    return _result("/", a, _not_zero(b), low, high, 0)


def remainder(a: Value, b: Value) -> Value:
    """The remainder of integers; it has the sign of `a` in both, NULL for a divisor of 0."""
    a, b = _integers(a, b)
    most = max(abs(b.low), abs(b.high))
    low, high = max(min(a.low, Fraction(0)), -most), min(max(a.high, Fraction(0)), most)
    return _result("%", a, _not_zero(b), low, high, 0)


def compare(operator: str, a: Value, b: Value) -> Value:
    """A comparison of two numbers."""
    a, b = number(a), number(b)
    return Value(f"({a.sql} {operator} {b.sql})", "bool", exact=a.exact and b.exact)


Operation = Callable[[Value, Value], Value]


def _integers(a: Value, b: Value) -> tuple[Value, Value]:
    a, b = number(a), number(b)
    if a.kind != "int" or b.kind != "int":
        raise Untranslatable("whole division of decimals")
    if (a.unsigned or b.unsigned) and (a.low < 0 or b.low < 0):
        raise Untranslatable("whole division of signed by unsigned numbers")
    return a, b


def _not_zero(value: Value) -> Value:
    if value.low > 0 or value.high < 0:
        return value
    return Value(
        f"NULLIF({value.sql}, 0)",
        "int",
        value.low,
        value.high,
        unsigned=value.unsigned,
        wide=value.wide,
        exact=value.exact,
    )


def _result(operator: str, a: Value, b: Value, low: Fraction, high: Fraction, scale: int) -> Value:
    unsigned = a.unsigned or b.unsigned
    decimal = "decimal" in (a.kind, b.kind)
    kind: Kind = "decimal" if decimal else "int"
    _check(kind, low, high, scale, unsigned=unsigned)
    left = a.sql if decimal or b.wide else widened(a)
    return Value(
        f"({left} {operator} {b.sql})",
        kind,
        low,
        high,
        scale,
        unsigned=unsigned,
        wide=True,
        exact=a.exact and b.exact,
        printed=not decimal,
    )


def _check(kind: Kind, low: Fraction, high: Fraction, scale: int, *, unsigned: bool) -> None:
    if unsigned and low < 0:
        raise Untranslatable("an unsigned result may be negative, which MySQL refuses")
    if kind == "int":
        if low < BIGINT[0] or high > BIGINT[1]:
            raise Untranslatable("the result may overflow")
        return
    digits = len(str(int(max(abs(low), abs(high)))))
    if scale > _SCALE or digits + scale > _DIGITS:
        raise Untranslatable("the result may have more digits than MySQL keeps")
