"""JSON. In a document of MySQL numbers become 64-bit integers or doubles, and members get an order.

On MariaDB it is text, and stays as PostgreSQL prints it.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from math import isfinite
from typing import Any

from bridge.reverse.values.base import Constant, Unheld, quoted
from bridge.reverse.values.texts import texts
from bridge.types.base import ColumnPlan
from bridge.types.json_binary import json_double
from bridge.types.target import target_of

_LONG = re.compile(rb"[0-9][0-9.]{15}|[0-9.][eE]")
"""Where a number may be one that a double does not hold; fifteen digits always fit."""
_DEEP = 100
_DEEP_MARIADB = 31
"""Levels of a document (JSON_DEPTH_LIMIT is 100 on MySQL, 32 on MariaDB before 10.6)."""
_LEVELS = re.compile(rb'"(?:[^"\\]++|\\.)*+"(\s*+:)?|([\[{])|([\]}])|[^\s,:"\[\]{}]++')
"""A text, perhaps a member's name; what begins and ends a level; a number or a word."""
_MOST_NAME = 2**16 - 1
_INTEGERS = (-(2**63), 2**64 - 1)


def documents(plan: ColumnPlan) -> Constant:
    """JSON of either server."""
    if plan.source.flavor == "mariadb":
        return _as_text(plan)
    if target_of(plan).base == "jsonb":
        return _as_document
    return _as_printed


def _as_text(plan: ColumnPlan) -> Constant:
    constant = texts(plan)

    def checked(text: bytes) -> bytes:
        if _depth(text) > _DEEP_MARIADB:
            raise Unheld("too-deep", text)
        return constant(text)

    return checked


def _as_document(text: bytes) -> bytes:
    """A jsonb value: equal to what MySQL will make of it."""
    if _LONG.search(text) or len(text) > _MOST_NAME:
        _read(text)
    elif _brackets(text) >= _DEEP and _depth(text, scalars=True) > _DEEP:
        raise Unheld("too-deep", text)
    return quoted(text)


def _as_printed(text: bytes) -> bytes:
    """A document that is kept as text must be as MySQL prints it."""
    try:
        value = _read(text)
    except ValueError:
        raise Unheld("invalid-json", text) from None
    if _printed(value).encode() != text:
        raise Unheld("not-as-printed", text)
    return quoted(text)


def _read(text: bytes) -> Any:
    if _depth(text, scalars=True) > _DEEP:
        raise Unheld("too-deep", text)

    def number(token: str) -> int | float:
        value = float(token)
        if not isfinite(value) or Decimal(repr(value)) != Decimal(token):
            raise Unheld("out-of-range", token)
        return value

    def integer(token: str) -> int | float:
        low, high = _INTEGERS
        return whole if low <= (whole := int(token)) <= high else number(token)

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if any(len(name.encode()) > _MOST_NAME for name, _ in pairs):
            raise Unheld("too-long", text)
        return dict(pairs)

    return json.loads(text, parse_int=integer, parse_float=number, object_pairs_hook=members)


def _brackets(text: bytes) -> int:
    return text.count(b"[") + text.count(b"{")


def _depth(text: bytes, *, scalars: bool = False) -> int:
    """Levels; with `scalars` a value that is no container has one of its own, as on MySQL."""
    if _brackets(text) <= _DEEP_MARIADB:
        return 0
    level = deepest = 0
    for match in _LEVELS.finditer(text):
        name, begins, ends = match.groups()
        level += (begins is not None) - (ends is not None)
        scalar = scalars and not (name or begins or ends)
        deepest = max(deepest, level + scalar)
    return deepest


def _printed(value: Any) -> str:
    """A document as MySQL prints it: members by their names' lengths, then their bytes."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
        inner = (f"{_string(name)}: {_printed(value[name])}" for name in names)
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_printed, value)) + "]"
    if isinstance(value, float):
        return json_double(value).decode()
    return _string(value) if isinstance(value, str) else json.dumps(value)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
