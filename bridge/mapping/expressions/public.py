"""What is translated: generated columns, conditions, constants and parts of indexes."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.mapping.expressions.values import Untranslatable, stored, truth
from bridge.mapping.expressions.walk import translate
from bridge.types.base import ColumnPlan

_ALIKE = "the databases give similar values, not always the same"


def generated(plan: ColumnPlan, columns: Mapping[str, ColumnPlan]) -> str:
    """A generated column's expression for GENERATED ALWAYS AS (…) STORED.

    `columns` are the table's carried columns by source name, without those that PostgreSQL computes
    (it does not let a generated column refer to another). Raises Untranslatable unless the result
    is the same for every row that the source can hold.
    """
    if not plan.source.generated:
        raise Untranslatable("it is not a generated column")
    value = translate(plan.source.expression, columns)
    if not value.exact:
        raise Untranslatable(_ALIKE)
    return stored(value, plan)


def condition(text: str, columns: Mapping[str, ColumnPlan]) -> str:
    """A CHECK constraint's condition; raises Untranslatable unless it accepts the same rows."""
    value = truth(translate(text, columns))
    if not value.exact:
        raise Untranslatable(_ALIKE)
    return value.sql


def constant(plan: ColumnPlan) -> str:
    """A default that is an expression without columns; raises Untranslatable."""
    return stored(translate(plan.source.default or "", {}), plan)


def index_part(text: str, columns: Mapping[str, ColumnPlan], *, unique: bool) -> str:
    """An expression of a functional index; raises Untranslatable.

    A unique one must be the same for every row; for others it is enough that queries find the rows
    by the same words (upper and lower case outside of ASCII may differ).
    """
    value = translate(text, columns)
    if value.kind in ("json", "null"):
        raise Untranslatable("PostgreSQL does not sort this type")
    if unique and not value.exact:
        raise Untranslatable(_ALIKE)
    return value.sql
