"""What a column is in Python: its type, how SQLAlchemy names it, and what pydantic checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from bridge.generate.layout import Node, keyword


class Side(Enum):
    """One of the two databases."""

    legacy = "legacy"
    target = "target"


@dataclass(frozen=True, slots=True)
class Labels:
    """The Python enum of an enum's or a set's labels, in the order of their definition."""

    name: str
    members: tuple[tuple[str, str], ...]
    """Each member's name and its label."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A column's type on one side.

    `python` is the annotation of a value that is not NULL, `checked` the one of pydantic where that
    is another; `limits` are the arguments of pydantic's Field. `helper` names the type that the
    module has to define for it, '' if there is none. `whole` tells a whole number, of which
    SQLAlchemy would make a counter by itself.
    """

    sql: Node
    python: str
    checked: str = ""
    limits: Mapping[str, str] = field(default_factory=dict)
    helper: str = ""
    whole: bool = False
    note: str = ""


def bounds(low: int, high: int) -> dict[str, str]:
    """What pydantic checks of a whole number."""
    return {"ge": str(low), "le": str(high)}


def digits(precision: int, scale: int) -> dict[str, str]:
    """What pydantic checks of a decimal."""
    return {"max_digits": str(precision), "decimal_places": str(scale)}


def joined(*parts: str) -> str:
    """A union of annotations."""
    return " | ".join(part for part in parts if part)


def none_as_null(nullable: bool) -> Node | None:
    """Where a document may be NULL, None is that; elsewhere it can only be JSON's own null."""
    return keyword("none_as_null", "True") if nullable else None
