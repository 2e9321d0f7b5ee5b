"""A verification for other programs and for pages: JUnit, Markdown, HTML."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping
from xml.sax.saxutils import escape, quoteattr

from bridge.report.verification import Difference, TableVerdict, Verification

SHOWN = 100
"""Differences of one table that a page shows."""


def junit(result: Verification) -> str:
    """One test case a table: a mismatch is a failure, an inconclusive table an error."""
    counts = [table.verdict for table in result.tables]
    seconds = sum(table.seconds for table in result.tables)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<testsuites name="dbbridge verify">',
        (
            f'<testsuite name={quoteattr(result.pipeline)} tests="{len(counts)}"'
            f' failures="{counts.count("mismatch")}" errors="{counts.count("inconclusive")}"'
            f' time="{seconds:.3f}">'
        ),
    ]
    for table in result.tables:
        schema, name = quoteattr(table.table.schema), quoteattr(table.table.table)
        case = f'<testcase classname={schema} name={name} time="{table.seconds:.3f}">'
        lines.append(f"{case}{_outcome(table)}</testcase>")
    return "\n".join([*lines, "</testsuite></testsuites>", ""])


def _outcome(table: TableVerdict) -> str:
    if table.verdict == "match":
        return ""
    word = "failure" if table.verdict == "mismatch" else "error"
    body = escape("\n".join(_plain(difference) for difference in table.differences[:SHOWN]))
    return f"<{word} message={quoteattr(_summary(table))}>{_printable(body)}</{word}>"


def markdown(result: Verification) -> str:
    """A table of tables, then the differences of each."""
    lines = [
        f"## {result.verdict}: {result.pipeline}",
        "",
        "| table | verdict | rows | in target | differing | digest |",
        "|---|---|---:|---:|---:|---|",
    ]
    for t in result.tables:
        cells = (t.table, t.verdict, t.source_rows, t.target_rows, t.differing, f"`{t.digest}`")
        lines.append("| " + " | ".join(_cell(str(cell)) for cell in cells) + " |")
    for table in result.tables:
        if table.verdict != "match":
            lines += ["", f"### {_cell(str(table.table))}", "", _cell(_summary(table)), ""]
            lines += [f"- {_cell(_plain(each))}" for each in table.differences[:SHOWN]]
    position = f"`{result.position}`" if result.position else "unknown"
    return "\n".join([*lines, "", f"Position: {position}", ""])


def page(result: Verification) -> str:
    """The same as one HTML page without scripts."""
    rows = "\n".join(
        f'<tr class="{t.verdict}"><td>{html.escape(str(t.table))}</td><td>{t.verdict}</td>'
        f"<td>{t.source_rows:,}</td><td>{t.target_rows:,}</td><td>{t.differing:,}</td>"
        f"<td><code>{t.digest}</code></td></tr>"
        for t in result.tables
    )
    return _PAGE.format(
        title=html.escape(f"{result.pipeline}: {result.verdict}"),
        rows=rows,
        details="\n".join(_section(table) for table in result.tables if table.verdict != "match"),
        position=html.escape(result.position or "unknown"),
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 2em; }}
td, th {{ padding: .2em .8em; text-align: left; }}
.mismatch {{ background: #fdd; }} .inconclusive {{ background: #ffd; }} .match {{ background:
#dfd; }} </style></head><body> <h1>{title}</h1>
<table><tr><th>table</th><th>verdict</th><th>rows</th><th>in target</th><th>differing</th>
<th>digest</th></tr> {rows} </table> {details} <p>Position: <code>{position}</code></p>
</body></html>
"""


def _section(table: TableVerdict) -> str:
    items = "".join(f"<li>{html.escape(_plain(d))}</li>" for d in table.differences[:SHOWN])
    title, summary = html.escape(str(table.table)), html.escape(_summary(table))
    return f"<h2>{title}</h2><p>{summary}</p><ul>{items}</ul>"


FORMATS: Mapping[str, Callable[[Verification], str]] = {
    "junit": junit,
    "markdown": markdown,
    "html": page,
}


def _summary(table: TableVerdict) -> str:
    return "; ".join(_facts(table))


def _facts(table: TableVerdict) -> Iterator[str]:
    if table.differing:
        yield f"{table.differing:,} rows differ"
    for column in table.columns:
        if column.whole:
            yield f"column {column.name} differs in every row that was compared"
    if table.reason:
        yield table.reason
    if table.in_flight:
        yield f"{table.in_flight:,} rows in flight"


def _plain(difference: Difference) -> str:
    key = ", ".join(f"{name}={value}" for name, value in difference.key.items())
    columns = "; ".join(f"{c.name}: {c.source!r} → {c.target!r}" for c in difference.columns)
    return f"{difference.kind} {key or f'{difference.rows} rows'}{': ' if columns else ''}{columns}"


def _cell(text: str) -> str:
    """Text that Markdown shows as it is."""
    marked = "".join(f"\\{c}" if c in "\\|*_<>[]#" else c for c in text)
    return marked.replace("\n", " ")


def _printable(text: str) -> str:
    """XML allows no control characters."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
