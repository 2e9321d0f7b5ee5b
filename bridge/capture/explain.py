"""What the source's errors mean while a table is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pymysql
from pymysql.constants import ER

from bridge.errors import TableStopped
from bridge.mapping.plan import TablePlan

_CHANGED = frozenset(
    {
        ER.NO_SUCH_TABLE,
        ER.BAD_FIELD_ERROR,
        ER.KEY_DOES_NOT_EXITS,
        ER.TABLE_DEF_CHANGED,
        ER.WRONG_OBJECT,
    }
)
_NO_CONSTANT = frozenset({1300, 1525})
"""ER_INVALID_CHARACTER_STRING and ER_WRONG_VALUE: a bound that MySQL does not take back."""


@contextmanager
def explained(plan: TablePlan) -> Iterator[None]:
    """Turns errors that are about the table into TableStopped, and names the table in it."""
    try:
        yield
    except TableStopped as stop:
        stop.table = plan.source
        raise
    except pymysql.Error as error:
        stopped = _stopped(plan, error)
        if stopped is None:
            raise
        stopped.table = plan.source
        raise stopped from error


def _stopped(plan: TablePlan, error: pymysql.Error) -> TableStopped | None:
    code = error.args[0] if error.args else 0
    if code in _CHANGED:
        return TableStopped(
            f"{plan.source} is not as the mapping knows it: {error.args[-1]}",
            f"run `dbbridge init` again, then: dbbridge tables resync {plan.source.word}",
            code="definition-changed",
        )
    if code in _NO_CONSTANT:
        return TableStopped(
            f"{plan.source}: a key cannot be compared with itself: {error.args[-1]}",
            "mend the row: a date that no calendar has, or bytes that are no text, cannot be a key",
            code="bad-key",
        )
    return None
