"""A verification as one HTML page: no script, nothing from the net, all content escaped.

A content security policy in the page says the same to the browser.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files

from bridge.report.charts import Bar, bars
from bridge.report.sections import certificates, code, differences, equivalences, mark, word
from bridge.report.verification import TableVerdict, Verdict, Verification
from bridge.report.words import (
    WORST_FIRST,
    counted,
    facts,
    headline,
    lag,
    seconds,
    sorted_tables,
    visible,
)

CHARTED = 15
"""Tables that a chart shows."""
MOST_DIFFERENCES = 2_000
"""Differences on the whole page, so that a browser opens it; 100 of one table (sections)."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(result: Verification) -> str:
    """The page, complete."""
    title = visible(f"{result.verdict}: {result.pipeline}")
    body = "\n".join([
        _head(result), _tiles(result), _charts(result), _tables(result), certificates(result),
        _differences(result), equivalences(result),
    ])  # fmt: skip
    style = (files("bridge.report") / "page.css").read_text("utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body><main>
{body}
</main></body>
</html>
"""


def _head(result: Verification) -> str:
    finished = f"{result.finished:%Y-%m-%d %H:%M:%S} UTC"
    position = code(result.position) if result.position else "unknown"
    return (
        f'<div class="verdict {result.verdict}">{mark(result.verdict)}<div>'
        f"<h1>{result.verdict.capitalize()}: <bdi>{escape(visible(result.pipeline))}</bdi></h1>"
        f"<p>{escape(headline(result))}.</p>"
        f"<p>Next: {code(result.next)}</p></div></div>"
        f'<p class="facts">Finished {finished} · level {escape(visible(result.level))} · covers'
        f" every change up to position {position}</p>"
    )


def _tiles(result: Verification) -> str:
    tables = result.tables
    numbers = [
        ("Rows in the source", f"{sum(t.source_rows for t in tables):,}"),
        ("Rows in the target", f"{sum(t.target_rows for t in tables):,}"),
        ("Differing rows", f"{sum(t.differing for t in tables):,}"),
        ("In quarantine", f"{sum(t.quarantined for t in tables):,}"),
        ("Discarded", f"{sum(t.discarded for t in tables):,}"),
        ("In flight", f"{sum(t.in_flight for t in tables):,}"),
        ("Lag of the stream", lag(result)),
        ("Time taken", seconds(result.seconds)),
    ]
    tiles = "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in numbers)
    return f'<dl class="tiles">{tiles}</dl>'


def _charts(result: Verification) -> str:
    rows = _by_verdict(result.tables)
    if any(table.differing for table in result.tables):
        rows += _by_differing(result.tables)
    return f'<div class="charts"><div class="stack">{rows}</div>{_by_time(result.tables)}</div>'


def _by_verdict(tables: Sequence[TableVerdict]) -> str:
    def bar(verdict: Verdict) -> Bar:
        mine = [table for table in tables if table.verdict == verdict]
        rows = sum(table.source_rows for table in mine)
        text = f"{rows:,} in {counted(len(mine), 'table')}"
        return Bar(verdict, rows, text, verdict)

    note = "Rows in the source, by the verdict on their table"
    return bars("Rows by verdict", note, [bar(verdict) for verdict in WORST_FIRST])


def _by_differing(tables: Sequence[TableVerdict]) -> str:
    most = sorted((t for t in tables if t.differing), key=lambda t: -t.differing)
    rows = [Bar(_name(t), t.differing, f"{t.differing:,}", t.verdict) for t in most[:CHARTED]]
    return bars("Differing rows by table", _note("Rows that differ for sure", most), rows)


def _by_time(tables: Sequence[TableVerdict]) -> str:
    most = sorted(tables, key=lambda table: -table.seconds)
    rows = [Bar(_name(t), t.seconds, seconds(t.seconds)) for t in most[:CHARTED]]
    return bars("Time by table", _note("Time that the comparison took", most), rows)


def _note(text: str, tables: Sequence[TableVerdict]) -> str:
    rest = len(tables) - CHARTED
    return f"{text}; {counted(rest, 'further table')} not shown" if rest > 0 else text


def _tables(result: Verification) -> str:
    heads = ("Table", "Verdict", "Rows", "In target", "Differing", "Rechecked", "Time", "Digest")
    cells = "".join(
        f'<th scope="col"{_numeric(2 <= place <= 6)}>{head}</th>'
        for place, head in enumerate(heads)
    )
    rows = "\n".join(_rows(sorted_tables(result)))
    return (
        f'<h2>Tables</h2><div class="scroll"><table><thead><tr>{cells}</tr></thead>'
        f"{rows}</table></div>"
    )


def _rows(tables: Iterable[TableVerdict]) -> Iterator[str]:
    for t in tables:
        numbers = [f"{n:,}" for n in (t.source_rows, t.target_rows, t.differing, t.rechecked)]
        cells = "".join(
            f'<td class="number">{text}</td>' for text in [*numbers, seconds(t.seconds)]
        )
        why = "; ".join(facts(t)) if t.verdict != "match" else ""
        reason = (
            f'<tr><td class="reason" colspan="8"><div>{escape(why)}</div></td></tr>' if why else ""
        )
        yield (
            f'<tbody class="row"><tr><td class="name"><bdi>{escape(_name(t))}</bdi></td>'
            f"<td>{word(t.verdict)}</td>{cells}<td>{code(t.digest)}</td></tr>{reason}</tbody>"
        )


def _differences(result: Verification) -> str:
    room = MOST_DIFFERENCES
    found = []
    for table in sorted_tables(result):
        if table.verdict != "match":
            text, shown = differences(result, table, room)
            room -= shown
            found.append(text)
    return f"<h2>Differences</h2>{''.join(found)}" if found else ""


def _numeric(yes: bool) -> str:
    return ' class="number"' if yes else ""


def _name(table: TableVerdict) -> str:
    return visible(str(table.table))
