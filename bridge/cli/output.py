"""What the command line prints: tables and progress for people, JSON for programs.

Text goes to stdout as tables (rich on a terminal, aligned plain text elsewhere). JSON goes to
stdout alone. Progress and logs go to stderr.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import json
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

Format = Literal["text", "json"]
Row = Sequence[object]

PLAIN_PROGRESS_SECONDS = 5.0
"""Seconds between two progress lines where there is no terminal."""

_COLOURS = {
    "error": "red",
    "mismatch": "red",
    "stopped": "red",
    "warning": "yellow",
    "paused": "yellow",
    "inconclusive": "yellow",
    "ok": "green",
    "match": "green",
}


class Advance(Protocol):
    """Tells a progress display what was done."""

    def __call__(self, amount: float = 1, text: str = "") -> None:
        """`amount` more units are done; `text` replaces the description."""


class Output:
    """Where a verb prints to. One per run."""

    def __init__(
        self,
        format: Format = "text",
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.format: Format = format
        self._stdout = stdout
        self._stderr = stderr

    @property
    def stdout(self) -> TextIO:
        """Text and JSON go here."""
        return self._stdout or sys.stdout

    @property
    def stderr(self) -> TextIO:
        """Progress and errors go here."""
        return self._stderr or sys.stderr

    @property
    def terminal(self) -> bool:
        """Whether a person looks at stdout as text."""
        return self.format == "text" and self.stdout.isatty()

    def line(self, text: str = "") -> None:
        """One line of text; nothing in JSON."""
        if self.format == "text":
            print(text, file=self.stdout)

    def next(self, command: str) -> None:
        """The last line, ``next: …``, with the command that comes next."""
        self.line(f"next: {command}")

    def json(self, value: object) -> None:
        """The one JSON document of this run; nothing in text."""
        if self.format == "json":
            text = json.dumps(value, default=plain, ensure_ascii=False, indent=2)
            print(text, file=self.stdout)

    def table(
        self,
        headers: Sequence[str],
        rows: Sequence[Row],
        *,
        right: Sequence[str] = (),
        title: str = "",
    ) -> None:
        """A table of text; columns named in `right` are aligned to the right. Nothing in JSON."""
        if self.format == "json":
            return
        texts = [[_cell(value) for value in row] for row in rows]
        if self.terminal:
            self._rich_table(headers, texts, right, title)
            return
        if title:
            print(title, file=self.stdout)
        for line in aligned(headers, texts, right):
            print(line, file=self.stdout)

    @contextlib.contextmanager
    def progress(self, text: str, total: float | None = None) -> Iterator[Advance]:
        """A progress bar on a terminal; elsewhere a line every few seconds. Always on stderr."""
        if self.format == "text" and self.stderr.isatty():
            with _rich_progress(self.stderr, text, total) as advance:
                yield advance
        else:
            yield _PlainProgress(self.stderr if self.format == "text" else None, text, total)

    def _rich_table(
        self, headers: Sequence[str], rows: list[list[str]], right: Sequence[str], title: str
    ) -> None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title or None, title_justify="left")
        for header in headers:
            justify: Literal["right", "left"] = "right" if header in right else "left"
            table.add_column(header, justify=justify, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
        Console(file=self.stdout).print(table)


def aligned(headers: Sequence[str], rows: Sequence[Row], right: Sequence[str] = ()) -> list[str]:
    """Lines of a plain table, columns two spaces apart."""
    texts = [list(headers), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*texts, strict=True)]
    lines = []
    for row in texts:
        cells = []
        for header, cell, width in zip(headers, row, widths, strict=True):
            space = " " * (width - _width(cell))
            cells.append(space + cell if header in right else cell + space)
        lines.append("  ".join(cells).rstrip())
    return lines


def plain(value: object) -> object:
    """What json cannot write by itself: data classes, enumerations, sets, paths, bytes as hex."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Path):
        return str(value)
    return str(value)


def number(value: float | None) -> str:
    """``412,300,118``; '' for None."""
    return "" if value is None else f"{value:,.0f}"


def size(count: float | None) -> str:
    """Bytes as a person reads them: ``318 GB`` (powers of 1000); '' for None."""
    if count is None:
        return ""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


class _PlainProgress:
    def __init__(self, stream: TextIO | None, text: str, total: float | None) -> None:
        self._stream = stream
        self._text = text
        self._total = total
        self._done = 0.0
        self._clock: Callable[[], float] = time.monotonic
        self._last = self._clock()

    def __call__(self, amount: float = 1, text: str = "") -> None:
        self._done += amount
        self._text = text or self._text
        now = self._clock()
        if self._stream is not None and now - self._last >= PLAIN_PROGRESS_SECONDS:
            self._last = now
            of = f" of {self._total:,.0f}" if self._total else ""
            print(f"{self._text}: {self._done:,.0f}{of}", file=self._stream, flush=True)


@contextlib.contextmanager
def _rich_progress(stream: TextIO, text: str, total: float | None) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns: tuple[Any, ...] = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,.0f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=stream), transient=True) as progress:
        task = progress.add_task(text, total=total)

        def advance(amount: float = 1, text: str = "") -> None:
            progress.update(task, advance=amount, description=text or None)

        yield advance


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    # Control characters in a name must not move the cursor or break the table.
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
