"""A verification as JUnit XML, as CI servers read it.

Valid against both schemas that are in use: Ant's (which wants all attributes and the elements in
this order) and Jenkins' junit-10.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from bridge.report.verification import TableVerdict, Verification
from bridge.report.words import left_out, line_of, more, summary, visible

SHOWN = 100
"""Differences of one table that a case lists."""


def junit(result: Verification) -> str:
    """One case a table: a mismatch is a failure, an inconclusive table an error.

    A certificate that was refused is a failure of its own.
    """
    verdicts = [table.verdict for table in result.tables]
    refused = len(result.refusals)
    counts = {
        "tests": len(verdicts) + refused,
        "failures": verdicts.count("mismatch") + refused,
        "errors": verdicts.count("inconclusive"),
    }
    numbers = "".join(f' {name}="{number}"' for name, number in counts.items())
    suite = (
        f'<testsuite id="0" name={_attribute(f"dbbridge verify {result.pipeline}")}'
        f' package="dbbridge" hostname="localhost"'
        f' timestamp="{result.finished:%Y-%m-%dT%H:%M:%S}"{numbers} time="{result.seconds:.3f}">'
    )
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<testsuites>",
        suite,
        f"<properties>{''.join(_properties(result))}</properties>",
        *(_case(result, table) for table in result.tables),
        *_refusals(result),
        "<system-out></system-out>",
        "<system-err></system-err>",
        "</testsuite>",
        "</testsuites>",
    ]
    return "\n".join([*lines, ""])


def _properties(result: Verification) -> Iterator[str]:
    facts = {"verdict": result.verdict, "level": result.level, "position": result.position}
    for name, text in facts.items():
        yield f'<property name="{name}" value={_attribute(text)}/>'


def _case(result: Verification, table: TableVerdict) -> str:
    names = f"classname={_attribute(table.table.schema)} name={_attribute(table.table.table)}"
    outcome = "" if table.verdict == "match" else _outcome(result, table)
    return f'<testcase {names} time="{table.seconds:.3f}">{outcome}</testcase>'


def _outcome(result: Verification, table: TableVerdict) -> str:
    word = "failure" if table.verdict == "mismatch" else "error"
    lines = [line_of(difference) for difference in table.differences[:SHOWN]]
    if rest := left_out(table, SHOWN):
        lines.append(more(result, rest))
    if table.hint:
        lines.append(f"next: {visible(table.hint)}")
    message = _attribute(summary(table))
    body = escape("\n".join(lines))
    return f'<{word} type="{table.verdict}" message={message}>{body}</{word}>'


def _refusals(result: Verification) -> Iterator[str]:
    for refusal in result.refusals:
        name, message = _attribute(refusal["table"]), _attribute(refusal["reason"])
        hint = escape(f"next: {visible(refusal['hint'])}")
        failure = f'<failure type="refused" message={message}>{hint}</failure>'
        yield f'<testcase classname="certificate" name={name} time="0.000">{failure}</testcase>'


def _attribute(text: str) -> str:
    return quoteattr(visible(text))
