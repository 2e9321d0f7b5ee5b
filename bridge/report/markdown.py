"""A verification as Markdown that fits the comment on a pull request.

Values stand in fenced blocks and names between `<code>` tags, with every character but letters and
digits as an entity: nothing that a database holds is taken for markup, a link or a mention.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from bridge.report.verification import Difference, TableVerdict, Verification
from bridge.report.words import (
    counted,
    headline,
    key,
    lag,
    left_out,
    more,
    seconds,
    sorted_tables,
    summary,
    value,
    visible,
)

MOST_BYTES = 65_536
"""GitHub takes comments of so many characters; there are never more of them than bytes."""
RESERVED = 2_000
"""Bytes kept for what is said at the end, and for what closes a block."""
TABLES_SHARE = 0.5
"""The table of tables leaves room for differences."""
SHOWN = 50
"""Differences of one table that are shown."""
MARKS = {"match": "✅", "mismatch": "❌", "inconclusive": "⚠️"}


@dataclass
class _Comment:
    """Lines, as long as there is room; not a value."""

    room: int
    lines: list[str] = field(default_factory=list)

    def add(self, *lines: str) -> bool:
        """All of the lines, or none of them."""
        size = sum(len(line.encode("utf-8", "replace")) + 1 for line in lines)
        if size > self.room:
            return False
        self.lines += lines
        self.room -= size
        return True


def markdown(result: Verification) -> str:
    """The verdict, a table of tables, then the differences of each as far as there is room."""
    comment = _Comment(int((MOST_BYTES - RESERVED) * TABLES_SHARE))
    comment.add(f"## {MARKS[result.verdict]} {result.verdict}: {_code(result.pipeline)}", "")
    comment.add(f"{_text(headline(result))}.", "", *_about(result), "")
    _tables(comment, result)
    comment.room += int((MOST_BYTES - RESERVED) * (1 - TABLES_SHARE))
    _certificates(comment, result)
    unshown = 0
    for table in sorted_tables(result):
        if table.verdict != "match" and not _section(comment, result, table):
            unshown += 1
    if unshown:
        comment.lines += ["", f"… and what {counted(unshown, 'further table')} hold: no room here."]
    comment.lines += ["", f"Next: {_code(result.next[:200])}", ""]
    return "\n".join(comment.lines)


def _about(result: Verification) -> Iterator[str]:
    position = _code(result.position[:1000]) if result.position else "unknown"
    yield f"Level {_text(result.level)}, position {position}, lag {_text(lag(result))}."


def _tables(comment: _Comment, result: Verification) -> None:
    comment.add(
        "| | table | rows | in target | differing | time | digest |",
        "|---|---|---:|---:|---:|---:|---|",
    )
    tables = sorted_tables(result)
    for place, table in enumerate(tables):
        if not comment.add(_row(table)):
            rest = tables[place:]
            bad = sum(each.verdict != "match" for each in rest)
            comment.lines += ["", f"… and {counted(len(rest), 'more table')}, {bad:,} no match."]
            return


def _row(table: TableVerdict) -> str:
    numbers = (table.source_rows, table.target_rows, table.differing)
    cells = [
        f"{MARKS[table.verdict]} {table.verdict}",
        _code(str(table.table)),
        *(f"{number:,}" for number in numbers),
        seconds(table.seconds),
        _code(table.digest) if table.digest else "",
    ]
    return f"| {' | '.join(cells)} |"


def _certificates(comment: _Comment, result: Verification) -> None:
    lines = [
        f"- Certificate {_text(str(one['id']))}: {_code(str(one['group']))} is equal at"
        f" {_code(str(one['position']))}"
        for one in result.certificates
    ]
    lines += [
        f"- No certificate: {_code(refusal['table'])}: {_text(refusal['reason'])},"
        f" next {_code(refusal['hint'])}"
        for refusal in result.refusals
    ]
    if not lines or not comment.add("", "### Certificates", ""):
        return
    for place, line in enumerate(lines):
        if not comment.add(line):
            comment.lines.append(f"- … and {len(lines) - place:,} more")
            return


def _section(comment: _Comment, result: Verification, table: TableVerdict) -> bool:
    """False if there was no room for anything."""
    head = [f"### {_code(str(table.table))}", "", f"{_text(summary(table))}."]
    if table.hint:
        head.append(f"Next: {_code(table.hint)}")
    if not comment.add("", *head, ""):
        return False
    blocks = [_lines(difference) for difference in table.differences[:SHOWN]]
    fence = _fence(line for block in blocks for line in block)
    shown = 0
    if blocks and comment.add(f"{fence}diff", fence):
        closing = comment.lines.pop()
        for block in blocks:
            if not comment.add(*block):
                break
            shown += 1
        comment.lines.append(closing)
    if rest := left_out(table, shown):
        comment.add("", _text(more(result, rest)))
    return True


def _lines(difference: Difference) -> list[str]:
    """Red is what the source has, green what the target has, where colours are shown."""
    lines = [f"! {difference.kind} {key(difference)}"]
    for column in difference.columns:
        lines += [f"- {visible(column.name)}: {value(column.source)}"]
        lines += [f"+ {visible(column.name)}: {value(column.target)}"]
    return lines


def _fence(lines: Iterable[str]) -> str:
    """More backticks than stand together in any line."""
    runs = [len(run) for line in lines for run in re.findall("`+", line)]
    return "`" * max(3, 1 + max(runs, default=0))


def _text(text: str) -> str:
    """Text that Markdown shows as it is, wherever it stands, and that mentions nobody."""
    marked = _entities(text)
    for sign in ("&#64;", "&#35;"):  # @name and #number are looked for in what was rendered
        marked = marked.replace(sign, f"<code>{sign}</code>")
    return marked


def _code(text: str) -> str:
    return f"<code>{_entities(text)}</code>"


def _entities(text: str) -> str:
    return "".join(c if c.isalnum() or c in " ,;…" else f"&#{ord(c)};" for c in visible(text))
