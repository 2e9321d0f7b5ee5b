"""`verify --via celery`: sends the parts, shows who has them, and sends again what was lost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bridge.cli.output import PLAIN_PROGRESS_SECONDS, number
from bridge.errors import BridgeError, Inconclusive, ServerUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.cli.context import Context
    from bridge.names import TableName
    from bridge.verify.ledger import Ledger
    from bridge.verify.records import PartState, Run
    from bridge.verify.tables import Followed
    from workers.send import Sender

POLL_SECONDS = 0.5
IDLE_SECONDS = 10.0
"""When nobody has taken anything for so long, it is said how to start somebody who does."""
SHOWN_WORKERS = 4


def sender(context: Context) -> Sender:
    """For the pipeline's broker. Raises ConfigError, ServerUnreachable, ServerRefused."""
    from workers.app import make_app
    from workers.send import Sender

    settings = context.settings
    found = Sender(make_app(settings), context.pipeline, settings.broker())
    found.check()
    return found


def sweep(
    context: Context, ledger: Ledger, run: Run, tables: Mapping[TableName, Followed], to: Sender
) -> None:
    """Waits until workers have swept all parts. Raises Inconclusive where they cannot."""
    watch = _Watch(context)
    ledger.forgive(run)
    with _display(context) as show:
        while True:
            parts = [part for part in ledger.standing(run) if part.table in tables]
            left = [part for part in parts if not part.done]
            show(parts)
            if not left:
                return
            _check(left)
            try:
                to.send(run, left, tables)
                watch.broker(None)
            except ServerUnreachable as error:
                watch.broker(error)
            watch.look(parts)
            time.sleep(POLL_SECONDS)


def _check(left: Sequence[PartState]) -> None:
    from workers.send import hopeless

    if all(map(hopeless, left)):
        part = left[0]
        raise Inconclusive(
            f"part {part.number} of {part.table} came to nothing {part.tries} times:"
            f" {part.error or 'its worker died'}",
            "mend that, then: dbbridge verify --resume; what is done is kept",
        )


class _Watch:
    """Says on stderr, once each, what keeps the run from going on."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._moved = time.monotonic()
        self._before: tuple[int, int] = (0, 0)
        self._idle = False
        self._broker = False
        self._errors: set[str] = set()

    def broker(self, error: BridgeError | None) -> None:
        """That it is away, or here again."""
        if error is not None and not self._broker:
            self._say(f"waiting: {error.message}; parts that workers have go on")
        self._broker = error is not None

    def look(self, parts: Sequence[PartState]) -> None:
        """That nobody works, and what fails."""
        now = time.monotonic()
        done = (sum(part.done for part in parts), sum(part.rows for part in parts))
        if done != self._before or any(part.holder for part in parts):
            self._before, self._moved, self._idle = done, now, False
        elif now - self._moved >= IDLE_SECONDS and not self._idle:
            self._idle = True
            command = self._context.command("worker")
            self._say(f"waiting: no worker takes anything; one is started by: {command}")
        for part in parts:
            if part.error and part.error not in self._errors:
                self._errors.add(part.error)
                self._say(f"part {part.number} of {part.table} failed: {part.error}")

    def _say(self, text: str) -> None:
        print(f"verify: {text}", file=self._context.out.stderr, flush=True)


@contextmanager
def _display(context: Context) -> Iterator[Callable[[Sequence[PartState]], None]]:
    """Shows parts: a live line on a terminal, a line every few seconds elsewhere."""
    out = context.out
    if out.format == "json":
        yield lambda _: None
        return
    if not out.stderr.isatty():
        last = time.monotonic()

        def show(parts: Sequence[PartState]) -> None:
            nonlocal last
            if time.monotonic() - last >= PLAIN_PROGRESS_SECONDS:
                last = time.monotonic()
                print(f"verify: {describe(parts)}", file=out.stderr, flush=True)

        yield show
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(file=out.stderr), transient=True, refresh_per_second=4) as live:
        yield lambda parts: live.update(Text(describe(parts)))


def describe(parts: Sequence[PartState]) -> str:
    """One line: how much is done, and which worker has what."""
    done = sum(part.done for part in parts)
    rows = sum(part.rows for part in parts)
    held = [f"{part.holder} has {part.table}, part {part.number}" for part in parts if part.holder]
    more = [f"{len(held) - SHOWN_WORKERS} more"] if len(held) > SHOWN_WORKERS else []
    words = [f"{done} of {len(parts)} parts, {number(rows)} rows", *held[:SHOWN_WORKERS], *more]
    return " · ".join(words)
