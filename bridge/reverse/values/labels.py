"""ENUM by the number of a label, SET by its bits."""

from __future__ import annotations

import re

from bridge.reverse.values.base import Constant, Unheld, quoted
from bridge.types.base import ColumnPlan
from bridge.types.enums import array_element
from bridge.types.target import target_of

_ELEMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"|([^,]+)', re.DOTALL)
_QUOTED = re.compile(rb"\\(.)", re.DOTALL)
_CACHED = 100_000
NO_LABEL = b"0"
"""An ENUM's empty text where no label is empty: strict modes refuse it."""


def enums(plan: ColumnPlan) -> Constant:
    """A label; the empty text is MySQL's own for an invalid value."""
    return _Numbers(plan).__getitem__


def sets(plan: ColumnPlan) -> Constant:
    """Labels, in the order of their declaration."""
    return _Bits(plan).__getitem__


class _Numbers(dict[bytes, bytes]):
    def __init__(self, plan: ColumnPlan) -> None:
        super().__init__({b"": NO_LABEL})
        numbered = enumerate(plan.source.labels, 1)
        self.update({label.encode(): b"%d" % place for place, label in numbered})
        self.update({label: quoted(label) for label in _unsure(plan)})

    def __missing__(self, label: bytes) -> bytes:
        raise Unheld("unknown-label", label)


class _Bits(dict[bytes, bytes]):
    """Texts of sets; made when first met."""

    def __init__(self, plan: ColumnPlan) -> None:
        super().__init__()
        self._labels = [label.encode() for label in plan.source.labels]
        self._bits = {label: 1 << place for place, label in enumerate(self._labels)}
        self._unsure = _unsure(plan)
        self._array = target_of(plan).base == "text[]"

    def __missing__(self, text: bytes) -> bytes:
        members = _elements(text) if self._array else text.split(b",") if text else []
        bits = 0
        for member in members:
            if member not in self._bits:
                raise Unheld("unknown-label", text)
            bits |= self._bits[member]
        if self._text(bits) != text:  # in another order, or doubled
            raise Unheld("not-as-declared", text)
        # A list of names cannot hold the empty one.
        unsure = b"" not in members and not self._unsure.isdisjoint(members)
        number = quoted(b",".join(members)) if unsure else b"%d" % bits
        if len(self) < _CACHED:
            self[text] = number
        return number

    def _text(self, bits: int) -> bytes:
        chosen = [label for place, label in enumerate(self._labels) if bits >> place & 1]
        if not self._array:
            return b",".join(chosen)
        return b"{%b}" % b",".join(array_element(label.decode()).encode() for label in chosen)


def _unsure(plan: ColumnPlan) -> set[bytes]:
    """Labels that have to be given by their names.

    The catalogue prints a question mark for some characters, so such a label may be another one.
    The server compares names by a collation: where that could confuse two labels it is a number.
    """
    labels = plan.source.labels
    if len({label.casefold() for label in labels}) < len(set(labels)):
        return set()
    return {label.encode() for label in labels if "?" in label}


def _elements(text: bytes) -> list[bytes]:
    """Elements of an array of one dimension, as array_out prints it; an unquoted NULL is none."""
    found = []
    for match in _ELEMENT.finditer(text[1:-1]):
        plain = match[2]
        found.append(_QUOTED.sub(rb"\1", match[1]) if plain is None else plain)
    return found
