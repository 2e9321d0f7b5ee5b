"""Parts of JSON documents: the same path finds them; numbers and null are printed differently."""

from __future__ import annotations

import re

from sqlglot import exp

from bridge.mapping.expressions.values import Untranslatable, Value
from bridge.names import literal_postgres, quote_postgres
from bridge.types.base import ColumnPlan
from bridge.types.target import target_of

_STEP = re.compile(r'\.([A-Za-z_]\w*)|\."([^"\\]+)"|\[(\d+)\]')
LONGEST = 2**30
"""More characters than a document has."""


def of_column(plan: ColumnPlan) -> Value:
    """A JSON column."""
    if target_of(plan).base not in ("json", "jsonb"):
        raise Untranslatable(f"column {plan.source.name} is no JSON in the target")
    return Value(quote_postgres(plan.target_name), "json", exact=False)


def extract(document: Value, path: exp.Expression) -> Value:
    """JSON_EXTRACT with one path of keys and positions."""
    if document.kind != "json":
        raise Untranslatable("JSON_EXTRACT from something that is no JSON column")
    steps = ",".join(f'"{step}"' for step in _steps(path))
    keys = literal_postgres("{" + steps + "}")
    return Value(f"({document.sql} #> {keys})", "json", exact=False)


def unquote(document: Value) -> Value:
    """JSON_UNQUOTE of a part of a document: its text."""
    if document.kind != "json" or " #> " not in document.sql:
        raise Untranslatable("JSON_UNQUOTE of something that is no part of a document")
    return Value(document.sql.replace(" #> ", " #>> ", 1), "text", chars=LONGEST, exact=False)


def _steps(path: exp.Expression) -> list[str]:
    if isinstance(path, exp.JSONPath):
        return [_step(part) for part in path.expressions if not isinstance(part, exp.JSONPathRoot)]
    text = path.expression.name if isinstance(path, exp.Introducer) else path.name
    if not text.startswith("$"):
        raise Untranslatable("a JSON path that is not understood")
    steps, end = [], 1
    while end < len(text):
        match = _STEP.match(text, end)
        if match is None:
            raise Untranslatable("a JSON path that is not understood")
        steps.append(next(group for group in match.groups() if group is not None))
        end = match.end()
    return steps


def _step(part: exp.Expression) -> str:
    step = str(part.this)
    known = isinstance(part, exp.JSONPathKey | exp.JSONPathSubscript)
    if not known or '"' in step or "\\" in step or (step and not step.isascii()):
        raise Untranslatable("a JSON path that is not understood")
    return step
