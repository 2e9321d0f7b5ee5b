"""PostgreSQL's text of a column's value → a constant of MySQL's, for every type family.

The way back of what `bridge.types` does; see `bridge.reverse.values.base`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bridge.reverse.values.base import Constant, Unheld, quoted
from bridge.reverse.values.documents import documents
from bridge.reverse.values.labels import enums, sets
from bridge.reverse.values.numbers import bits, decimals, floats, integers
from bridge.reverse.values.texts import addresses, binaries, text_bytes, texts
from bridge.reverse.values.times import dates, datetimes, times, zero
from bridge.types.base import ColumnPlan
from bridge.types.target import target_of

_MAKERS: Mapping[str, Callable[[ColumnPlan], Constant]] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year"), integers),
    "decimal": decimals,
    **dict.fromkeys(("float", "double"), floats),
    "bit": bits,
    "date": dates,
    **dict.fromkeys(("datetime", "timestamp"), datetimes),
    "time": times,
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext"), texts),
    **dict.fromkeys(
        ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), binaries
    ),
    "enum": enums,
    "set": sets,
    "json": documents,
    **dict.fromkeys(("uuid", "inet6", "inet4"), addresses),
}
_DATED = frozenset({"date", "datetime", "timestamp"})
TEXTUAL = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
"""Types that MySQL compares by a collation."""
_OIDS = {
    "boolean": 16, "bytea": 17, "bigint": 20, "smallint": 21, "integer": 23, "text": 25,
    "json": 114, "real": 700, "double precision": 701, "inet": 869, "text[]": 1009,
    "varchar": 1043, "date": 1082, "time": 1083, "timestamp": 1114, "timestamptz": 1184,
    "interval": 1186, "bit": 1560, "numeric": 1700, "uuid": 2950, "jsonb": 3802,
}  # fmt: skip


def constant_of(plan: ColumnPlan) -> Constant:
    """How the column's values, as PostgreSQL prints them, become constants of MySQL's."""
    return _MAKERS[plan.source.data_type](plan)


def null_of(plan: ColumnPlan) -> bytes | None:
    """The constant for NULL; None where the source's column can hold none.

    Where zero dates were made NULL in a column that is NOT NULL, it can only be one of them.
    """
    if plan.source.nullable:
        return b"NULL"
    if plan.source.data_type in _DATED and plan.policy.zero_date == "as-null":
        return quoted(zero(plan))
    return None


def same_type(plan: ColumnPlan, type_oid: int) -> bool:
    """Whether a column of this type in PostgreSQL prints as the plan expects it."""
    expected = _OIDS.get(target_of(plan).base)
    return expected == type_oid if expected else type_oid >= _FIRST_OWN


_FIRST_OWN = 16384
"""Types of extensions (citext) have numbers from here on (FirstNormalObjectId)."""

__all__ = ["TEXTUAL", "Constant", "Unheld", "constant_of", "null_of", "same_type", "text_bytes"]
