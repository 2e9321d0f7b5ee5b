"""`dbbridge events`: what happened."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.context import Context, of
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from bridge.report.events import Happening

FOLLOW_SECONDS = 0.5
OVERLAP = timedelta(seconds=60)
"""How late a transaction may commit what it wrote down, and still be seen by who follows."""


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command(epilog="Example: dbbridge events --since 2h --follow")
    def events(
        ctx: typer.Context,
        since: Annotated[
            str, typer.Option(metavar="TIME", help="30m, 2h, 7d ago, or 2026-05-04T22:30.")
        ] = "1d",
        follow: Annotated[bool, typer.Option("--follow", help="And what happens next.")] = False,
    ) -> None:
        """Show what happened: stops, DDL, operators' acts, steps of cutovers, violations.

        With --follow and --format json each event is a line of its own.
        """
        _events(of(ctx), _moment(since), follow=follow)


def _moment(text: str) -> datetime:
    from bridge.config.durations import duration_seconds

    seconds = duration_seconds(text)
    if seconds is not None:
        return datetime.now(UTC) - timedelta(seconds=seconds)
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as error:
        raise ConfigError(
            f"“{text}” is no time", "write 30m, 2h or 7d, or 2026-05-04T22:30"
        ) from error


def _events(context: Context, since: datetime, *, follow: bool) -> None:
    from bridge.report.events import read_events
    from bridge.store.migrate import migrate

    conn = context.target(autocommit=True)
    migrate(conn)
    found = read_events(conn, context.pipeline, since)
    if not follow:
        context.out.json({"events": [each.document() for each in found]})
    _show(context, found, lines=follow)
    seen = {each.id for each in found}
    while follow:
        time.sleep(FOLLOW_SECONDS)
        since = max(since, datetime.now(UTC) - OVERLAP)
        found = [e for e in read_events(conn, context.pipeline, since) if e.id not in seen]
        seen |= {each.id for each in found}
        _show(context, found, lines=True)
    if not found:
        context.out.line("nothing happened")
    context.out.next("dbbridge status")


def _show(context: Context, found: list[Happening], *, lines: bool) -> None:
    out = context.out
    for each in found:
        if lines and out.format == "json":
            print(json.dumps(each.document(), ensure_ascii=False), file=out.stdout)
        subject = f" {each.subject}:" if each.subject else ""
        out.line(f"{each.at.astimezone():%Y-%m-%d %H:%M:%S} {each.kind}{subject} {each.message}")
    out.stdout.flush()
