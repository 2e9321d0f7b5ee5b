"""Fractions of a second in rows events: 0 to 3 bytes, big-endian, by the number of digits."""

from __future__ import annotations

from bridge.types.base import ColumnPlan
from bridge.types.copytext import own


class Fractions:
    """The fraction behind a value of `fsp` digits.

    One byte holds hundredths, two ten-thousandths, three microseconds, whatever `fsp` is exactly.
    """

    def __init__(self, fsp: int) -> None:
        self.fsp = fsp
        self.size = (fsp + 1) // 2
        self.bits = 8 * self.size
        self.mask = (1 << self.bits) - 1
        self._odd = fsp & 1

    def text(self, stored: int) -> bytes:
        """``.123``, or nothing for whole seconds."""
        if not self.fsp:
            return b""
        return b".%0*d" % (self.fsp, stored // 10 if self._odd else stored)


class FractionTexts(dict[int, bytes]):
    """Stored fractions of up to four digits → their text."""

    def __init__(self, parts: Fractions) -> None:
        super().__init__()
        self._parts = parts

    def __missing__(self, stored: int) -> bytes:
        text = self._parts.text(stored)
        self[stored] = text
        return text


def fraction_expression(
    plan: ColumnPlan, parts: Fractions, n: str
) -> tuple[str, dict[str, object]]:
    """What generated code adds behind the seconds, given the whole value as `n`."""
    if not parts.fsp:
        return "", {}
    if parts.fsp == 6:
        return f" + b'.%06d' % ({n} & {parts.mask})", {}
    if parts.fsp == 5:
        return f" + b'.%05d' % (({n} & {parts.mask}) // 10)", {}
    name = own(plan, "fraction")
    return f" + {name}[{n} & {parts.mask}]", {name: FractionTexts(parts)}


def trimmed(q: str, fsp: int) -> str:
    """MySQL expression: a time's text without zeros at the end of its fraction, as PostgreSQL's.

    TRIM costs more than the rest of a row's text, and nine in ten fractions need none.
    """
    if not fsp:
        return q
    bare = f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {q}))"
    return f"IF(MICROSECOND({q})%{10 ** (7 - fsp)},{q},{bare})"
