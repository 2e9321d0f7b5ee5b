"""Row filters: a MySQL condition that selects rows alike in the source and over a COPY line.

Only conditions whose meaning is the same in both places are taken: comparisons of one column with
one constant, IN, BETWEEN, IS NULL, joined by AND, OR and NOT, with SQL's three-valued logic. The
condition is written out again, fully bracketed, for MySQL, so that both sides follow the same tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from bridge.mapping.operands import Operand, operand_of, refuse, shown
from bridge.mapping.plan import Filter
from bridge.mapping.read import did_you_mean, listed
from bridge.names import quote_mysql
from bridge.types.base import NULL, ColumnPlan

Truth = Callable[[list[bytes]], bool | None]
"""Over the fields of a line: true, false or unknown (None)."""

_POSSIBLE = "possible are: column = < <= > >= <> constant, IN, BETWEEN, IS NULL, AND, OR, NOT"


@dataclass(frozen=True, slots=True)
class RowFilter:
    """`where` for MySQL ('' for none), and the same over a line (None for none)."""

    where: str = ""
    keep: Filter | None = None


@dataclass(frozen=True, slots=True)
class _Node:
    """A part of the condition: its text for MySQL, and its truth over a line."""

    sql: str
    truth: Truth


def compile_filter(text: str, columns: Sequence[ColumnPlan]) -> RowFilter:
    """The filter over lines of `columns`. Raises FilterError for what is not taken."""
    if not text.strip():
        return RowFilter()
    node = _Compiler(columns).node(_parse(text))
    truth = node.truth
    return RowFilter(node.sql, lambda fields: truth(fields) is True)


def _parse(text: str) -> object:
    import sqlglot
    from sqlglot import errors

    # '!' binds tighter in MySQL than the parser assumes; strings may hold it.
    if re.search(r"!(?!=)", re.sub(r"'(?:[^'\\]|''|\\.)*'", "", text)):
        refuse("“!” is not taken in a filter", "write NOT (…)")
    if "\\" in text or "/*" in text:
        refuse("“\\” and “/*” are not taken in a filter", "servers read them in different ways")
    try:
        parsed = sqlglot.parse(f"SELECT 1 WHERE {text}", read="mysql")
    except errors.SqlglotError as error:
        first = str(error).splitlines()[0]
        refuse(f"the filter is no condition: {first}", _POSSIBLE)
    select = parsed[0] if len(parsed) == 1 else None
    if select is None or set(_set_arguments(select)) != {"expressions", "where"}:
        refuse("the filter is more than one condition", _POSSIBLE)
    return select.args["where"].this


def _set_arguments(node: object) -> list[str]:
    return [name for name, value in getattr(node, "args", {}).items() if value]


class _Compiler:
    """Walks sqlglot's tree; whatever is not known is refused."""

    def __init__(self, columns: Sequence[ColumnPlan]) -> None:
        self.columns = {
            plan.source.name.lower(): (index, plan) for index, plan in enumerate(columns)
        }

    def node(self, tree: object) -> _Node:
        from sqlglot import exp

        handlers: dict[type, Callable[[exp.Expression], _Node]] = {
            exp.Paren: lambda e: self.node(e.this),
            exp.And: lambda e: _and(self.node(e.this), self.node(e.expression)),
            exp.Or: lambda e: _or(self.node(e.this), self.node(e.expression)),
            exp.Not: lambda e: _not(self.node(e.this)),
            exp.EQ: lambda e: self.comparison(e, "="),
            exp.NEQ: lambda e: self.comparison(e, "<>"),
            exp.LT: lambda e: self.comparison(e, "<"),
            exp.LTE: lambda e: self.comparison(e, "<="),
            exp.GT: lambda e: self.comparison(e, ">"),
            exp.GTE: lambda e: self.comparison(e, ">="),
            exp.In: self.within,
            exp.Between: self.between,
            exp.Is: self.is_null,
        }
        handler = handlers.get(type(tree))
        if handler is None:
            refuse(f"“{shown(tree)}” is not taken in a filter", _POSSIBLE)
        return handler(cast(exp.Expression, tree))

    def comparison(self, e: object, operator: str) -> _Node:
        left, right = _sides(e)
        if not _is_column(left):
            left, right = right, left
            operator = _FLIPPED.get(operator, operator)
        index, operand = self.column(left)
        if operator not in ("=", "<>") and not operand.ordered:
            refuse(f"{operand.name} can only be compared with = and <>", operand.why)
        sql, constant = operand.constant(right)
        compare = _COMPARE[operator]
        read = operand.read

        def truth(fields: list[bytes]) -> bool | None:
            field = fields[index]
            return None if field == NULL else compare(read(field), constant)

        return _Node(f"({quote_mysql(operand.name)} {operator} {sql})", truth)

    def within(self, e: object) -> _Node:
        if set(_set_arguments(e)) != {"this", "expressions"}:
            refuse(f"“{shown(e)}” is not taken in a filter", "IN takes a list of constants")
        index, operand = self.column(_argument(e, "this"))
        constants = [
            operand.constant(each) for each in cast(list[object], _argument(e, "expressions"))
        ]
        values = frozenset(value for _, value in constants)
        _check_members(operand, constants)
        read = operand.read

        def truth(fields: list[bytes]) -> bool | None:
            field = fields[index]
            return None if field == NULL else read(field) in values

        listed = ", ".join(sql for sql, _ in constants)
        return _Node(f"({quote_mysql(operand.name)} IN ({listed}))", truth)

    def between(self, e: object) -> _Node:
        if set(_set_arguments(e)) != {"this", "low", "high"}:
            refuse(f"“{shown(e)}” is not taken in a filter", "write column BETWEEN a AND b")
        index, operand = self.column(_argument(e, "this"))
        if not operand.ordered:
            refuse(f"{operand.name} can only be compared with = and <>", operand.why)
        low_sql, low = operand.constant(_argument(e, "low"))
        high_sql, high = operand.constant(_argument(e, "high"))
        at_least, at_most = _COMPARE[">="], _COMPARE["<="]
        read = operand.read

        def truth(fields: list[bytes]) -> bool | None:
            field = fields[index]
            if field == NULL:
                return None
            value = read(field)
            return at_least(value, low) and at_most(value, high)

        sql = f"({quote_mysql(operand.name)} BETWEEN {low_sql} AND {high_sql})"
        return _Node(sql, truth)

    def is_null(self, e: object) -> _Node:
        from sqlglot import exp

        if not isinstance(_argument(e, "expression"), exp.Null):
            refuse(f"“{shown(e)}” is not taken in a filter", "IS takes NULL or NOT NULL")
        index, plan = self.find(_argument(e, "this"))
        if not plan.source.nullable:
            # For a NOT NULL date MySQL takes `IS NULL` as true for 0000-00-00 (manual, "Comparison
            # Functions and Operators").
            refuse(f"{plan.source.name} is never NULL", "remove that part of the filter")
        return _Node(
            f"({quote_mysql(plan.source.name)} IS NULL)", lambda fields: fields[index] == NULL
        )

    def column(self, tree: object) -> tuple[int, Operand]:
        index, plan = self.find(tree)
        return index, operand_of(plan)

    def find(self, tree: object) -> tuple[int, ColumnPlan]:
        if not _is_column(tree) or set(_set_arguments(tree)) != {"this"}:
            refuse(f"“{shown(tree)}” stands where a column must", _POSSIBLE)
        name = str(getattr(tree, "name", ""))
        if name.lower() not in self.columns:
            known = [plan.source.name for _, plan in self.columns.values()]
            refuse(
                f"the filter names “{name}”, which is not among the carried columns",
                f"{did_you_mean(name, known)}carried are {listed(known)}",
            )
        return self.columns[name.lower()]


def _check_members(operand: Operand, constants: Sequence[tuple[str, object]]) -> None:
    """Refuses constants in a list that no value of a whole-number column equals.

    MySQL 9.7 answers 18446744073709551615 IN (0.5, -1) with 1: mixed lists are compared wrongly.
    """
    if operand.range is None:
        return
    low, high = operand.range
    for sql, value in constants:
        if isinstance(value, Decimal) and not (low <= value <= high and value == int(value)):
            refuse(f"no value of {operand.name} equals {sql}", "remove it from the list")


_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _equal(a: object, b: object) -> bool:
    return a == b


_COMPARE: dict[str, Callable[..., bool]] = {
    "=": _equal,
    "<>": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


def _and(a: _Node, b: _Node) -> _Node:
    first, second = a.truth, b.truth

    def truth(fields: list[bytes]) -> bool | None:
        left = first(fields)
        if left is False:
            return False
        right = second(fields)
        return False if right is False else None if left is None else right

    return _Node(f"({a.sql} AND {b.sql})", truth)


def _or(a: _Node, b: _Node) -> _Node:
    first, second = a.truth, b.truth

    def truth(fields: list[bytes]) -> bool | None:
        left = first(fields)
        if left is True:
            return True
        right = second(fields)
        return True if right is True else None if left is None else right

    return _Node(f"({a.sql} OR {b.sql})", truth)


def _not(a: _Node) -> _Node:
    inner = a.truth

    def truth(fields: list[bytes]) -> bool | None:
        value = inner(fields)
        return None if value is None else not value

    return _Node(f"(NOT {a.sql})", truth)


def _sides(e: object) -> tuple[object, object]:
    return _argument(e, "this"), _argument(e, "expression")


def _argument(e: object, name: str) -> object:
    return getattr(e, "args", {}).get(name)


def _is_column(tree: object) -> bool:
    return type(tree).__name__ == "Column"
