"""Keys as texts that are the same on both servers, and back again as constants of either.

A key's text is its columns' canonical texts (binary ones in hexadecimal, whole). A key found on one
side is looked up on the other by constants of the column's own type, so that indexes serve; what
the server then returns is compared by its text, since MySQL finds 'abc' where 'ABC' was asked
for.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bridge.mapping.plan import TablePlan
from bridge.names import literal_mysql, quote_mysql
from bridge.types.base import ColumnPlan
from bridge.types.target import target_of
from bridge.verify.digest import source_text, target_name, target_text
from bridge.verify.recheck import Key

_NUMBERS = frozenset(
    {"tinyint", "smallint", "mediumint", "int", "bigint", "year", "decimal", "bit"}
)
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum"})
_BINARIES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_MOMENTS = frozenset({"date", "datetime", "timestamp", "time"})
_FLOATS = frozenset({"float", "double"})
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d{1,6})?)?")
_SPAN = re.compile(r"-?\d{2,3}:\d\d:\d\d(\.\d{1,6})?")
_NUMBER = re.compile(r"-?\d{1,65}(\.\d{1,30})?")
_HEX = re.compile(r"([0-9a-f]{2})*")


@dataclass(frozen=True)
class Keys:
    """The key of one table on both sides."""

    plan: TablePlan

    @cached_property
    def source(self) -> tuple[str, ...]:
        """MySQL expressions of the key's texts."""
        return tuple(_source_key(column) for column in self.plan.key_columns)

    def target(self, alias: str = "") -> tuple[str, ...]:
        """PostgreSQL expressions of the key's texts."""
        return tuple(_target_key(column, alias) for column in self.plan.key_columns)

    def source_condition(self, keys: Sequence[Key]) -> str:
        """MySQL condition that holds for the rows of these keys, and perhaps for some others.

        Written without row constructors, which MySQL 5.6 does not use an index for. '' if none of
        the keys can exist in the source.
        """
        columns = self.plan.key_columns
        if len(columns) == 1:
            found = [literal for key in keys if (literal := source_literal(columns[0], key[0]))]
            if not found:
                return ""
            return f"{_compared(columns[0])} IN ({','.join(found)})"
        conditions = []
        for key in keys:
            literals = [source_literal(c, text) for c, text in zip(columns, key, strict=True)]
            if all(literals):
                pairs = zip(columns, literals, strict=True)
                conditions.append(" AND ".join(f"{_compared(c)}={text}" for c, text in pairs))
        return f"(({') OR ('.join(conditions)}))" if conditions else ""

    @property
    def ordered(self) -> bool:
        """Whether both sides can be read in ranges of this key."""
        return bool(self.plan.key) and all(map(_ordered, self.plan.key_columns))

    def source_order(self) -> tuple[str, ...]:
        """What MySQL orders and compares by: the columns; for an enum its number."""
        return tuple(_sorted_by(column) for column in self.plan.key_columns)

    def source_range(self, lower: Key | None, upper: Key | None) -> list[str]:
        """MySQL conditions: keys after `lower` up to and with `upper`; None: no bound.

        Columns in which both bounds agree become equalities, so that the range is as narrow for the
        optimizer as it is.
        """
        names = self.source_order()
        low, high = self._bound(lower), self._bound(upper)
        same = 0
        if low and high:
            while same < len(names) - 1 and low[same] == high[same]:
                same += 1
        found = [f"{name}={text}" for name, text in zip(names[:same], low or (), strict=False)]
        if low:
            found.append(_beyond(names[same:], low[same:], ">", ">"))
        if high:
            found.append(_beyond(names[same:], high[same:], "<", "<="))
        return found

    def _bound(self, key: Key | None) -> tuple[str, ...]:
        if key is None:
            return ()
        columns = zip(self.plan.key_columns, key, strict=True)
        return tuple(_order_literal(column, text) for column, text in columns)

    def target_range(self, lower: Key | None, upper: Key | None) -> tuple[list[str], list[str]]:
        """PostgreSQL conditions for the same range in the target's order, and their bindings."""
        columns = self.plan.key_columns
        names = _bindable(",".join(target_name(column) for column in columns))
        casts = ",".join(f"%s::{_element_type(column)}" for column in columns)
        conditions, values = [], []
        for bound, sign in ((lower, ">"), (upper, "<=")):
            if bound is not None:
                conditions.append(f"({names}) {sign} ({casts})")
                values += [
                    target_input(column, text) or ""
                    for column, text in zip(columns, bound, strict=True)
                ]
        return conditions, values

    def target_order(self) -> list[str]:
        """What PostgreSQL orders by: the columns."""
        return [target_name(column) for column in self.plan.key_columns]

    def ascending(self) -> str:
        """PostgreSQL expression: the first of two bound keys comes before the other."""
        casts = [
            f"%s::{_element_type(c)}" + (' COLLATE "C"' if target_of(c).is_text else "")
            for c in self.plan.key_columns
        ]
        return f"({','.join(casts)}) < ({','.join(casts)})"

    def target_values(self, key: Key) -> list[str]:
        """The key as bindings of the target's types."""
        columns = zip(self.plan.key_columns, key, strict=True)
        return [target_input(column, text) or "" for column, text in columns]

    def target_condition(self, alias: str = "") -> str:
        """PostgreSQL condition for the rows of the keys bound as `target_arrays`."""
        casts = [f"%s::text[]::{_array_type(column)}" for column in self.plan.key_columns]
        names = [_bindable(_looked_up(column, alias)) for column in self.plan.key_columns]
        if len(names) == 1:
            return f"{names[0]} = ANY({casts[0]})"
        return f"({','.join(names)}) IN (SELECT * FROM unnest({','.join(casts)}))"

    def target_arrays(self, keys: Sequence[Key]) -> list[list[str]]:
        """The bindings of `target_condition`; keys that the target's types cannot hold left out."""
        columns = self.plan.key_columns
        rows = []
        for key in keys:
            row = [target_input(column, text) for column, text in zip(columns, key, strict=True)]
            if None not in row:
                rows.append([text or "" for text in row])
        return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]


def _bindable(text: str) -> str:
    return text.replace("%", "%%")


def source_literal(column: ColumnPlan, text: str) -> str:
    """A constant for MySQL to compare the key column with; '' if it cannot hold the value."""
    kind = column.source.data_type
    if kind in _NUMBERS:
        if kind == "bit" and target_of(column).base == "bit":
            return str(int(text, 2)) if re.fullmatch("[01]{1,64}", text) else ""
        return text if _NUMBER.fullmatch(text) else ""
    if kind in _TEXTS:
        return literal_mysql(text)
    if kind in _BINARIES:
        return f"x'{text}'" if _HEX.fullmatch(text) else ""
    if kind in ("date", "datetime", "timestamp"):
        bare = text.removesuffix("*").removesuffix("+00")
        return f"'{bare}'" if _MOMENT.fullmatch(bare) else ""
    if kind == "time":
        return f"'{text}'" if _SPAN.fullmatch(text) else ""
    if _floating(column):
        number = _double(text)
        return repr(number) if math.isfinite(number) else ""
    return f"_binary 0x{text.encode().hex()}" if text else "_binary ''"


def shown_key(column: ColumnPlan, text: str) -> str:
    """A key column's value as a person reads it."""
    return repr(_double(text)) if _floating(column) else text


def target_input(column: ColumnPlan, text: str) -> str | None:
    """What PostgreSQL reads as the key column's value; None if the column cannot hold it."""
    if _by_text(column):
        return text
    if _floating(column):
        return repr(_double(text))
    target = target_of(column)
    if target.base == "boolean":
        return {"0": "f", "1": "t"}.get(text)
    if target.base == "bytea":
        return f"\\x{text}"
    if target.integers is not None and "." not in text:
        low, high = target.integers
        return text if low <= int(text) <= high else None
    return text


def _source_key(column: ColumnPlan) -> str:
    if column.source.data_type in _BINARIES:
        return f"LOWER(HEX({quote_mysql(column.source.name)}))"
    return source_text(column)


def _target_key(column: ColumnPlan, alias: str) -> str:
    if target_of(column).base == "bytea":
        return f"encode({target_name(column, alias)},'hex')"
    return target_text(column, alias)


def _compared(column: ColumnPlan) -> str:
    """What MySQL compares with `source_literal`: the column itself where its type has constants."""
    if _constants(column):
        return quote_mysql(column.source.name)
    return f"CAST({source_text(column)} AS BINARY)"


def _constants(column: ColumnPlan) -> bool:
    kind = column.source.data_type
    return kind in _NUMBERS | _TEXTS | _BINARIES | _MOMENTS or _floating(column)


def _by_text(column: ColumnPlan) -> bool:
    """Whether the target is searched by the key's text, for want of a way back from it."""
    return bool(column.policy.zone) or target_of(column).base.endswith("[]")


def _floating(column: ColumnPlan) -> bool:
    """Whether the key's text is the bytes of a double."""
    return column.source.data_type in _FLOATS and not target_of(column).is_text


def _double(text: str) -> float:
    (number,) = struct.unpack(">d", bytes.fromhex(text))
    assert isinstance(number, float)
    return number


def _ordered(column: ColumnPlan) -> bool:
    return _constants(column) and not _by_text(column)


def _sorted_by(column: ColumnPlan) -> str:
    name = quote_mysql(column.source.name)
    return f"({name}+0)" if column.source.data_type == "enum" else name


def _order_literal(column: ColumnPlan, text: str) -> str:
    if column.source.data_type == "enum":
        labels = ("", *column.source.labels)
        return str(labels.index(text))
    return source_literal(column, text)


def _beyond(names: Sequence[str], values: Sequence[str], sign: str, last: str) -> str:
    """``(a >= 1 AND (a > 1 OR (a = 1 AND b > 2)))``, the last column compared with `last`.

    Optimizers find no range without the first part, nor in a row comparison.
    """
    name, value = names[0], values[0]
    if len(names) == 1:
        return f"{name}{last}{value}"
    deeper = f"{name}={value} AND {_beyond(names[1:], values[1:], sign, last)}"
    return f"({name}{sign}={value} AND ({name}{sign}{value} OR ({deeper})))"


def _looked_up(column: ColumnPlan, alias: str) -> str:
    return target_text(column, alias) if _by_text(column) else target_name(column, alias)


def _array_type(column: ColumnPlan) -> str:
    """The target's type; text without its length, so that longer values are just not found."""
    return f"{_element_type(column)}[]"


def _element_type(column: ColumnPlan) -> str:
    return "text" if _by_text(column) or target_of(column).is_text else column.target_type
