"""Whole numbers, decimals, floating point, bits."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isfinite
from struct import Struct

from bridge.reverse.values.base import Constant, Unheld, quoted
from bridge.types.base import ColumnPlan
from bridge.types.floats import mysql_double
from bridge.types.integers import source_range
from bridge.types.target import target_of

_WHOLE = re.compile(rb"(-?\d+)(?:\.0+)?")
_CANONICAL = re.compile(rb"0|-?[1-9]\d*")
_DISPLAY = re.compile(r"\((\d+),(\d+)\)")
_SINGLE = Struct("<f")
_TRUTH = {b"t": b"1", b"f": b"0"}
_EXACT_TYPES = frozenset({"smallint", "integer", "bigint"})


def integers(plan: ColumnPlan) -> Constant:
    """TINYINT … BIGINT and YEAR."""
    low, high = source_range(plan.source)
    year = plan.source.data_type == "year"
    return _whole(plan, low, high, (lambda n: n == 0 or n > _BEFORE_YEARS) if year else None)


_BEFORE_YEARS = 1900
"""YEAR holds 0 and 1901 to 2155."""


def bits(plan: ColumnPlan) -> Constant:
    """BIT, as bits or as a number."""
    width = plan.source.length or plan.source.precision or 1
    if target_of(plan).base != "bit":
        return _whole(plan, 0, 2**width - 1)

    def constant(text: bytes) -> bytes:
        if len(text) != width:
            raise Unheld("out-of-range", text)
        return b"b'%b'" % text

    return constant


def _whole(
    plan: ColumnPlan, low: int, high: int, allowed: Callable[[int], bool] | None = None
) -> Constant:
    """A number from `low` to `high`, in whatever type the target has it."""
    target = target_of(plan)
    if target.base == "boolean":
        return _TRUTH.__getitem__
    pattern = _CANONICAL if target.is_text else _WHOLE

    def constant(text: bytes) -> bytes:
        match = pattern.fullmatch(text)
        if match is None:
            raise Unheld("not-a-number" if target.is_text else "out-of-range", text)
        whole = text if target.is_text else match[1]
        number = int(whole)
        if not low <= number <= high or (allowed and not allowed(number)):
            raise Unheld("out-of-range", text)
        return whole

    def integer(text: bytes) -> bytes:
        if low <= int(text) <= high:
            return text
        raise Unheld("out-of-range", text)

    return integer if target.base in _EXACT_TYPES and not allowed else constant


def decimals(plan: ColumnPlan) -> Constant:
    """DECIMAL: as many digits as it has before the point, no more behind it but zeros."""
    precision, scale = plan.source.precision or 10, plan.source.scale or 0
    whole = precision - scale
    sign = "" if plan.source.unsigned else "-?"
    front = f"(?:0|[1-9]\\d{{0,{whole - 1}}})" if whole else "0"
    if target_of(plan).is_text:
        behind = f"\\.\\d{{{scale}}}" if scale else ""
        canonical = re.compile(f"{sign}{front}{behind}".encode())
    else:
        canonical = re.compile(f"{sign}{front}(?:\\.\\d{{0,{scale}}}0*)?".encode())

    def constant(text: bytes) -> bytes:
        if canonical.fullmatch(text) is None or (text[:1] == b"-" and not text.strip(b"-0.")):
            raise Unheld("out-of-range", text)
        return text

    return constant


def floats(plan: ColumnPlan) -> Constant:
    """FLOAT and DOUBLE; with a display width (M,D) they are rounded to D digits."""
    single = plan.source.data_type == "float"
    as_text = target_of(plan).is_text
    display = _DISPLAY.search(plan.source.column_type)
    digits, behind = (int(display[1]), int(display[2])) if display else (0, 0)

    def fits(value: float) -> bool:
        if not isfinite(value) or (plan.source.unsigned and value < 0):
            return False
        if single and not as_text and _nearest_single(value) is None:
            return False
        if not display:
            return True
        rounded = float(f"{value:.{behind}f}")
        same = _nearest_single(rounded) == _nearest_single(value) if single else rounded == value
        return same and abs(value) < 10 ** (digits - behind)

    real = target_of(plan).base == "real"

    def constant(text: bytes) -> bytes:
        value = float(text)
        if real and isfinite(value):
            value = _nearest_single(value) or 0.0
        elif single and isfinite(value) and _nearest_single(value) != value:
            raise Unheld("out-of-range", text)
        if not fits(value) or (as_text and mysql_double(value).encode() != text):
            raise Unheld("out-of-range", text)
        # Quoted: it is read as a double then, however many digits it has.
        return quoted(b"-0" if text == b"-0" else repr(value).encode())

    return constant


def _nearest_single(value: float) -> float | None:
    try:
        return float(_SINGLE.unpack(_SINGLE.pack(value))[0])
    except OverflowError:
        return None
