"""From MySQL's printed expression to a Value: an allow-list of nodes of sqlglot's tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from bridge.mapping.expressions import documents, numbers, texts
from bridge.mapping.expressions.values import (
    Untranslatable,
    Value,
    as_integer,
    of_column,
    of_number,
    of_text,
    truth,
    union,
)
from bridge.types.base import ColumnPlan

_COMPARISONS: Mapping[type[exp.Expression], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM",
}
_ARITHMETIC: Mapping[type[exp.Expression], numbers.Operation] = {
    exp.Add: numbers.add,
    exp.Sub: numbers.subtract,
    exp.Mul: numbers.multiply,
    exp.IntDiv: numbers.divide_whole,
    exp.Mod: numbers.remainder,
}
_COMPARING = frozenset(
    {"=", "<>", "!=", "<", "<=", ">", ">=", "<=>", "IS", "BETWEEN", "IN", "LIKE", "REGEXP", "RLIKE"}
)
_SEPARATING = frozenset({"AND", "OR", ",", "CASE", "WHEN", "THEN", "ELSE", "END"})
_QUOTED = (sqlglot.TokenType.STRING, sqlglot.TokenType.IDENTIFIER)
_TEXT_FUNCTIONS: Mapping[type[exp.Expression], Callable[[Value], Value]] = {
    exp.Lower: lambda value: texts.change_case("lower", value),
    exp.Upper: lambda value: texts.change_case("upper", value),
    exp.MD5: texts.md5,
}
_CHARS = (exp.DataType.Type.CHAR, exp.DataType.Type.CHARACTER_SET)
_DATE_PARTS: Mapping[type[exp.Expression], tuple[str, int]] = {
    exp.Year: ("year", 9999),
    exp.Month: ("month", 12),
    exp.DayOfMonth: ("day", 31),
    exp.Day: ("day", 31),
}


def translate(text: str, columns: Mapping[str, ColumnPlan]) -> Value:
    """The expression's value; raises Untranslatable.

    `text` is what the server's catalogue prints; `columns` by source name.
    """
    _check_text(text, columns)
    try:
        _check_precedence(text)
        tree = sqlglot.parse_one(f"SELECT {text}", read="mysql")
    except (SqlglotError, RecursionError):
        raise Untranslatable("the expression is not understood") from None
    if not isinstance(tree, exp.Select) or set(_said(tree)) != {"expressions"}:
        raise Untranslatable("the expression is not understood")
    if len(tree.expressions) != 1:
        raise Untranslatable("the expression is not understood")
    return _Walk(columns).value(tree.expressions[0])


def _check_text(text: str, columns: Mapping[str, ColumnPlan]) -> None:
    """Characters beyond ASCII in constants are not printed faithfully by any server."""
    for name in columns:
        text = text.replace("`" + name.replace("`", "``") + "`", "")
    if not text.isascii() or "?" in text:
        raise Untranslatable("it holds characters that the catalogue does not print faithfully")
    if "||" in text or "\0" in text:
        raise Untranslatable("its meaning depends on the server's sql_mode")


def _said(node: exp.Expression) -> list[str]:
    """The names of the node's arguments that are there."""
    return [name for name, value in node.args.items() if value not in (None, False, [])]


def _only(node: exp.Expression, *known: str) -> None:
    """Refuses a node that says more than is understood."""
    unknown = set(_said(node)) - {*known, "this", "_type"}
    if unknown:
        raise Untranslatable(f"{node.key.upper()} with {', '.join(sorted(unknown))}")


def _check_precedence(text: str) -> None:
    """Refuses comparisons of comparisons without parentheses.

    MySQL takes them from left to right, whichever they are (manual, "Operator Precedence"), the
    parser does not; and MariaDB prints them without parentheses.
    """
    comparisons, between = [0], [False]
    for token in sqlglot.tokenize(text, read="mysql"):
        word = "" if token.token_type in _QUOTED else token.text.upper()
        if word == "(":
            comparisons.append(0)
            between.append(False)
        elif word == ")":
            comparisons.pop()
            between.pop()
        elif word in _COMPARING:
            comparisons[-1] += 1
            between[-1] = between[-1] or word == "BETWEEN"
        elif word == "AND" and between[-1]:
            between[-1] = False
        elif word in _SEPARATING:
            comparisons[-1], between[-1] = 0, False
        if not comparisons or comparisons[-1] > 1:
            raise Untranslatable("a comparison inside of another without parentheses")


class _Walk:
    """One translation."""

    def __init__(self, columns: Mapping[str, ColumnPlan]) -> None:
        self.columns = columns

    def value(self, node: exp.Expression) -> Value:
        """The value of a node."""
        kind = type(node)
        if kind in _ARITHMETIC:
            _only(node, "expression")
            return _ARITHMETIC[kind](self.value(node.this), self.value(node.expression))
        if kind in _COMPARISONS:
            _only(node, "expression")
            return self.compare(_COMPARISONS[kind], node.this, node.expression)
        if kind in _TEXT_FUNCTIONS:
            _only(node)
            return _TEXT_FUNCTIONS[kind](self.value(node.this))
        if kind in _DATE_PARTS:
            return self.date_part(node)
        handler = getattr(self, f"on_{node.key}", None)
        if handler is None:
            raise Untranslatable(f"{node.key.upper()} is not on the list of what is translated")
        result: Value = handler(node)
        return result

    def on_paren(self, node: exp.Paren) -> Value:
        """Parentheses."""
        _only(node)
        return self.value(node.this)

    def on_column(self, node: exp.Column) -> Value:
        """A column of the same table."""
        _only(node)
        plan = self.columns.get(node.name)
        if plan is None:
            raise Untranslatable(f"column {node.name} is not carried as a plain column")
        return documents.of_column(plan) if plan.source.data_type == "json" else of_column(plan)

    def on_literal(self, node: exp.Literal) -> Value:
        """A constant."""
        return of_text(node.name) if node.is_string else of_number(node.name)

    def on_introducer(self, node: exp.Introducer) -> Value:
        """``_utf8mb4'…'``; the text is ASCII."""
        _only(node, "expression")
        inner = node.expression
        if not isinstance(inner, exp.Literal) or not inner.is_string:
            raise Untranslatable("a constant in bytes")
        if node.name.lower().lstrip("_") in ("binary", "ucs2", "utf16", "utf16le", "utf32"):
            raise Untranslatable("a constant in bytes")
        return self.on_literal(inner)

    def on_null(self, node: exp.Null) -> Value:
        """The constant NULL."""
        _only(node)
        return Value("NULL", "null")

    def on_boolean(self, node: exp.Boolean) -> Value:
        """TRUE and FALSE, which are 1 and 0."""
        return of_number("1" if node.this else "0")

    def on_neg(self, node: exp.Neg) -> Value:
        """A minus sign."""
        _only(node)
        return numbers.negate(self.value(node.this))

    def on_and(self, node: exp.And) -> Value:
        """Both conditions."""
        return self.connected("AND", node)

    def on_or(self, node: exp.Or) -> Value:
        """One condition or the other."""
        return self.connected("OR", node)

    def connected(self, word: str, node: exp.And | exp.Or) -> Value:
        """Two conditions."""
        _only(node, "expression")
        a, b = truth(self.value(node.this)), truth(self.value(node.expression))
        return Value(f"({a.sql} {word} {b.sql})", "bool", exact=a.exact and b.exact)

    def on_not(self, node: exp.Not) -> Value:
        """A denied condition."""
        _only(node)
        a = truth(self.value(node.this))
        return Value(f"(NOT {a.sql})", "bool", exact=a.exact)

    def on_is(self, node: exp.Is) -> Value:
        """IS NULL."""
        _only(node, "expression")
        if not isinstance(node.expression, exp.Null):
            raise Untranslatable("IS with something else than NULL")
        a = self.value(node.this)
        return Value(f"({a.sql} IS NULL)", "bool", exact=a.exact)

    def on_between(self, node: exp.Between) -> Value:
        """BETWEEN low AND high."""
        _only(node, "low", "high")
        low = self.compare(">=", node.this, node.args["low"])
        high = self.compare("<=", node.this, node.args["high"])
        return Value(f"({low.sql} AND {high.sql})", "bool", exact=low.exact and high.exact)

    def on_in(self, node: exp.In) -> Value:
        """IN with a list."""
        _only(node, "expressions")
        tests = [self.compare("=", node.this, each) for each in node.expressions]
        if not tests:
            raise Untranslatable("IN with something else than a list")
        sql = " OR ".join(test.sql for test in tests)
        return Value(f"({sql})", "bool", exact=all(test.exact for test in tests))

    def on_coalesce(self, node: exp.Coalesce) -> Value:
        """COALESCE and IFNULL."""
        _only(node, "expressions")
        values = [self.plain(each) for each in (node.this, *node.expressions)]
        return union(values, f"COALESCE({', '.join(value.sql for value in values)})")

    def on_if(self, node: exp.If) -> Value:
        """IF with three arguments."""
        _only(node, "true", "false")
        return self.cases(
            [(truth(self.value(node.this)), node.args["true"])], node.args.get("false")
        )

    def on_case(self, node: exp.Case) -> Value:
        """CASE, of either form."""
        _only(node, "ifs", "default")
        branches = []
        for each in node.args["ifs"]:
            _only(each, "true")
            if node.this is None:
                condition = truth(self.value(each.this))
            else:
                condition = self.compare("=", node.this, each.this)
            branches.append((condition, each.args["true"]))
        return self.cases(branches, node.args.get("default"))

    def cases(
        self, branches: list[tuple[Value, exp.Expression]], default: exp.Expression | None
    ) -> Value:
        """One of several values, by conditions."""
        results = [self.plain(result) for _, result in branches]
        other = Value("NULL", "null") if default is None else self.plain(default)
        words = " ".join(
            f"WHEN {condition.sql} THEN {result.sql}"
            for (condition, _), result in zip(branches, results, strict=True)
        )
        value = union([*results, other], f"CASE {words} ELSE {other.sql} END")
        if not all(condition.exact for condition, _ in branches):
            raise Untranslatable("a condition that differs between the databases")
        return value

    def plain(self, node: exp.Expression) -> Value:
        """The value; a condition as a number, since it may stand beside numbers."""
        value = self.value(node)
        return as_integer(value) if value.kind == "bool" else value

    def on_concat(self, node: exp.Concat) -> Value:
        """CONCAT."""
        _only(node, "expressions", "safe")
        return texts.concatenate([self.value(each) for each in node.expressions])

    def on_length(self, node: exp.Length) -> Value:
        """LENGTH in bytes, CHAR_LENGTH in characters."""
        _only(node, "binary")
        value = self.value(node.this)
        return texts.octets(value) if node.args.get("binary") else texts.characters(value)

    def on_anonymous(self, node: exp.Anonymous) -> Value:
        """Functions that the parser does not know by name."""
        name = node.name.lower()
        function = {"octet_length": texts.octets, "json_unquote": documents.unquote}.get(name)
        if function is None or len(node.expressions) != 1:
            raise Untranslatable(f"{name.upper()} is not on the list of what is translated")
        return function(self.value(node.expressions[0]))

    def on_jsonextract(self, node: exp.JSONExtract) -> Value:
        """JSON_EXTRACT, also written as an arrow."""
        _only(node, "expression", "only_json_types")
        return documents.extract(self.value(node.this), node.expression)

    def on_jsonextractscalar(self, node: exp.JSONExtractScalar) -> Value:
        """The long arrow, which takes the quotes away."""
        _only(node, "expression", "only_json_types", "scalar_only")
        return documents.unquote(documents.extract(self.value(node.this), node.expression))

    def on_collate(self, node: exp.Collate) -> Value:
        """COLLATE: the target sorts otherwise."""
        _only(node, "expression")
        return replace(self.value(node.this), exact=False, source=None)

    def on_left(self, node: exp.Left) -> Value:
        """LEFT."""
        _only(node, "expression")
        return texts.beginning(self.value(node.this), self.value(node.expression))

    def on_substring(self, node: exp.Substring) -> Value:
        """SUBSTRING with start and length."""
        _only(node, "start", "length")
        start, length = node.args.get("start"), node.args.get("length")
        if start is None or length is None:
            raise Untranslatable("SUBSTRING without a length")
        return texts.substring(self.value(node.this), self.value(start), self.value(length))

    def on_tsordstodate(self, node: exp.TsOrDsToDate) -> Value:
        """DATE."""
        _only(node)
        return self.date(self.value(node.this))

    def on_cast(self, node: exp.Cast) -> Value:
        """CAST to DATE, which is how MySQL prints DATE, to CHAR(n), and CONVERT to utf8mb4."""
        _only(node, "to")
        to = node.to
        _only(to, "kind", "expressions")
        if to.expressions and to.this in _CHARS:
            return texts.cut(self.value(node.this), of_number(to.expressions[0].name))
        _only(to, "kind")
        if to.this == exp.DataType.Type.CHARACTER_SET and str(to.args["kind"]).lower() == "utf8mb4":
            return texts.as_utf8mb4(self.value(node.this))
        if to.this != exp.DataType.Type.DATE:
            raise Untranslatable("CAST to another type")
        return self.date(self.value(node.this))

    def date(self, value: Value) -> Value:
        """The day of a date or datetime."""
        if value.kind == "date":
            return value
        if value.kind != "datetime":
            raise Untranslatable("DATE of something that is no time")
        return Value(f"{value.sql}::date", "date", exact=value.exact)

    def date_part(self, node: exp.Expression) -> Value:
        """YEAR, MONTH, DAY."""
        _only(node)
        inner = node.this
        value = self.value(inner.this if isinstance(inner, exp.TsOrDsToDate) else inner)
        if value.kind not in ("date", "datetime"):
            raise Untranslatable(f"{node.key.upper()} of something that is no date")
        part, high = _DATE_PARTS[type(node)]
        sql = f"EXTRACT({part} FROM {value.sql})::integer"
        low, most = Fraction(1), Fraction(high)
        return Value(sql, "int", low, most, unsigned=True, exact=value.exact, printed=True)

    def compare(self, operator: str, left: exp.Expression, right: exp.Expression) -> Value:
        """A comparison of two values of one kind."""
        a, b = self.value(left), self.value(right)
        if a.is_number and b.is_number:
            return numbers.compare(operator, a, b)
        if a.kind == b.kind == "text":
            return texts.compare(operator, a, b)
        if a.kind in ("date", "datetime") and b.kind == "text":
            b = texts.moment(b, a.kind)
        if a.kind == b.kind and a.kind in ("date", "datetime"):
            return Value(f"({a.sql} {operator} {b.sql})", "bool", exact=a.exact and b.exact)
        raise Untranslatable(f"a comparison of {a.kind} with {b.kind}")
