"""Horizontal bars for an HTML page: inline SVG between HTML texts, so that they wrap and scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

LEAST_PERCENT = 0.6
"""Whatever is not zero is seen."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what it stands for, how long it is, what is written at its end, and its colour.

    `colour` is a class of the page's style sheet: match, mismatch, inconclusive or plain.
    """

    label: str
    amount: float
    text: str
    colour: str = "plain"


def bars(title: str, note: str, rows: Sequence[Bar]) -> str:
    """A figure; the longest bar has the whole width."""
    most = max((bar.amount for bar in rows), default=0)
    lines = "".join(_bar(bar, most) for bar in rows)
    caption = f"<figcaption>{escape(title)}<small>{escape(note)}</small></figcaption>"
    return f'<figure class="chart">{caption}<div class="bars">{lines}</div></figure>'


def _bar(bar: Bar, most: float) -> str:
    share = 100 * bar.amount / most if most else 0
    width = max(share, LEAST_PERCENT) if bar.amount else 0
    said = escape(f"{bar.label}: {bar.text}")
    return (
        f'<div class="label" title="{escape(bar.label)}"><bdi>{escape(bar.label)}</bdi></div>'
        f'<svg class="bar" role="img" aria-label="{said}" viewBox="0 0 100 10"'
        f' preserveAspectRatio="none"><rect class="track" width="100" height="10"/>'
        f'<rect class="fill {bar.colour}" width="{width:.2f}" height="10"/></svg>'
        f'<div class="amount">{escape(bar.text)}</div>'
    )
