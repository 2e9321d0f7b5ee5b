"""Target types as the mapping writes them, taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from bridge.types.base import ColumnPlan

_FORM = re.compile(r"([a-z][a-z0-9_ ]*?)\s*(?:\((\d+)(?:\s*,\s*(-?\d+))?\))?(\[\])?")
_RANGES = {
    "smallint": (-(2**15), 2**15 - 1),
    "integer": (-(2**31), 2**31 - 1),
    "bigint": (-(2**63), 2**63 - 1),
}
TEXTS = frozenset({"text", "varchar", "citext"})
"""Targets that hold any text."""


@dataclass(frozen=True, slots=True)
class Target:
    """A PostgreSQL type: ``numeric(20,0)`` is base ``numeric`` with args (20, 0)."""

    base: str
    args: tuple[int, ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether it holds any text (of limited length, if it has an argument)."""
        return self.base in TEXTS

    @property
    def limit(self) -> int | None:
        """The greatest number of characters of a text type; None: no limit."""
        return self.args[0] if self.base == "varchar" and self.args else None

    @property
    def integers(self) -> tuple[int, int] | None:
        """The least and greatest integer it holds; None where it holds every one of MySQL's."""
        if self.base in _RANGES:
            return _RANGES[self.base]
        if self.base == "numeric" and self.args:
            top = 10 ** (self.args[0] - self.scale) - 1
            return -top, top
        return None

    @property
    def scale(self) -> int:
        """Digits after the point of numeric(p,s)."""
        return self.args[1] if len(self.args) > 1 else 0


def target_of(plan: ColumnPlan) -> Target:
    """The column's target type; a type that cannot be parsed keeps its whole text as base."""
    return _parsed(plan.target_type)


@cache
def _parsed(target_type: str) -> Target:
    text = target_type.strip().lower()
    match = _FORM.fullmatch(text)
    if not match:
        return Target(text)
    base, first, second, array = match.groups()
    args = tuple(int(number) for number in (first, second) if number is not None)
    return Target(base + (array or ""), args)


def refuse(plan: ColumnPlan, possible: str) -> str:
    """Why a target type is refused: what would be possible instead."""
    return f"{plan.source.column_type} cannot become {plan.target_type}; possible: {possible}"


def refuse_policy(plan: ColumnPlan, name: str, allowed: tuple[str, ...]) -> str:
    """'' if the named policy is one of the allowed (or begins with one that ends in a colon)."""
    value = str(getattr(plan.policy, name))
    if not any(value == word or (word[-1] == ":" and value.startswith(word)) for word in allowed):
        choices = ", ".join(word + "…" if word[-1] == ":" else word for word in allowed)
        return f"{name}: “{value}” is not possible here; possible: {choices}"
    if value == "as-null" and not plan.target_nullable:
        return f"{name}: as-null needs a target column that may be NULL"
    return ""
