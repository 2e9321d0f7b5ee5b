"""Parts of the HTML page: differences, certificates, what counts as equal."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from bridge.report.verification import Difference, TableVerdict, Verdict, Verification
from bridge.report.words import (
    counted,
    exact,
    left_out,
    more,
    sorted_tables,
    summary,
    visible,
)

SHOWN = 100
"""Differences of one table."""
_DRAWN: dict[Verdict, str] = {
    "match": '<circle cx="12" cy="12" r="10"/><path d="m7.5 12.5 3 3 6-7"/>',
    "mismatch": '<path d="M8 2h8l6 6v8l-6 6H8l-6-6V8z"/><path d="m8.8 8.8 6.4 6.4m0-6.4-6.4 6.4"/>',
    "inconclusive": '<path d="M12 2.8 22.4 21H1.6z"/><path d="M12 9.8v4.6M12 17.6v.1"/>',
}


def mark(verdict: Verdict) -> str:
    """A sign of its own shape for each verdict."""
    return f'<svg class="mark" viewBox="0 0 24 24" aria-hidden="true">{_DRAWN[verdict]}</svg>'


def word(verdict: Verdict, text: str = "") -> str:
    """The verdict, or another text in its colour, with its sign."""
    return f'<span class="word {verdict}">{mark(verdict)} {text or verdict}</span>'


def code(text: str) -> str:
    """A name, a position or a command."""
    return f"<code><bdi>{escape(visible(text))}</bdi></code>"


def differences(result: Verification, table: TableVerdict, room: int) -> tuple[str, int]:
    """One table's section with at most `room` differences, and how many it shows."""
    shown = table.differences[: min(SHOWN, room)]
    hint = f" Next: {code(table.hint)}" if table.hint else ""
    parts = [
        f"<header><h3><bdi>{escape(visible(str(table.table)))}</bdi></h3>",
        f'{word(table.verdict)}</header><p class="why">{escape(summary(table))}.{hint}</p>',
    ]
    if shown:
        parts.append(_listing(shown))
    if rest := left_out(table, len(shown)):
        parts.append(f'<p class="more">{escape(more(result, rest))}</p>')
    return f'<section class="table">{"".join(parts)}</section>', len(shown)


def _listing(shown: tuple[Difference, ...]) -> str:
    heads = "".join(
        f'<th scope="col">{head}</th>' for head in ("Row", "What", "Column", "Source", "Target")
    )
    rows = "\n".join(row for difference in shown for row in _rows(difference))
    return (
        f'<div class="scroll"><table class="listing"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _rows(difference: Difference) -> Iterator[str]:
    """A line a column; row and kind span them."""
    span = f' rowspan="{len(difference.columns)}"' if len(difference.columns) > 1 else ""
    first = f'<td class="key mono"{span}>{_key(difference)}</td><td{span}>{difference.kind}</td>'
    if not difference.columns:
        sides = _SIDES.get(difference.kind, ("", ""))
        cells = "".join(f'<td class="null">{side}</td>' for side in ("", *sides))
        yield f"<tr>{first}{cells}</tr>"
    for column in difference.columns:
        name = f"<td>{code(column.name)}</td>"
        source, target = column.source, column.target
        yield f"<tr>{first}{name}{_value(source, target)}{_value(target, source)}</tr>"
        first = ""


def _key(difference: Difference) -> str:
    """The key, each part kept from turning the others round."""
    parts = difference.key.items()
    named = (f"{_part(visible(name))}={_part(exact(text))}" for name, text in parts)
    return ", ".join(named) or _part(counted(difference.rows, "equal row"))


def _part(text: str) -> str:
    return f"<bdi>{escape(text)}</bdi>"


_SIDES = {
    "missing": ("has the row", "no such row"),
    "extra": ("no such row", "has the row"),
    "quarantined": ("has the row", "set aside"),
    "in-flight": ("still changing", "still changing"),
}


def _value(text: str | None, other: str | None) -> str:
    """A value, with what the other side has not marked: a space at its end is seen as well."""
    if text is None:
        return '<td class="value mono null">NULL</td>'
    if not text:
        return '<td class="value mono null">empty</td>'
    shown, opposite = exact(text), exact(other or "")
    start = _alike(shown, opposite)
    end = _alike(shown[start:][::-1], opposite[start:][::-1])
    before, after = shown[:start], shown[len(shown) - end :]
    changed = shown[start : len(shown) - end]
    if changed and opposite:
        inside = f"{escape(before)}<mark>{escape(changed)}</mark>{escape(after)}"
    else:
        inside = escape(shown)
    return f'<td class="value mono"><bdi>{inside}</bdi></td>'


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def certificates(result: Verification) -> str:
    """What was issued, and what was refused and why."""
    cards = [
        f'<div class="card">{word("match", "Issued")} Certificate {code(str(one["id"]))} for group'
        f" {code(str(one['group']))}<p>Both sides are equal at {code(str(one['position']))},"
        f" {counted(len(one['tables']), 'table')}.</p></div>"
        for one in result.certificates
    ]
    cards += [
        f'<div class="card">{word("inconclusive", "Refused")} {code(refusal["table"])}'
        f"<p>{escape(visible(refusal['reason']))}. Next: {code(refusal['hint'])}</p></div>"
        for refusal in result.refusals
    ]
    return f"<h2>Certificates</h2>{''.join(cards)}" if cards else ""


def equivalences(result: Verification) -> str:
    """What the mapping declares to be equal though it is not written the same."""
    rows = []
    for table in sorted_tables(result):
        for each in table.equivalences:
            column = code(each.column) if each.column else "whole rows"
            number = "" if each.rows is None else f"{each.rows:,}"
            rows.append(
                f"<tr><td>{code(str(table.table))}</td><td>{column}</td>"
                f'<td>{escape(visible(each.reason))}</td><td class="number">{number}</td></tr>'
            )
    if not rows:
        return ""
    return (
        '<h2>What counts as equal</h2><div class="scroll"><table><thead><tr>'
        '<th scope="col">Table</th><th scope="col">Column</th><th scope="col">Why</th>'
        '<th scope="col" class="number">Rows</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
