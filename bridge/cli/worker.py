"""`dbbridge worker`: takes from Celery's queues, and sweeps parts or copies chunks."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from bridge.cli.context import Context, of
from bridge.cli.signals import at_once


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command(
        epilog="Example: dbbridge worker --concurrency 4 --beat",
        help="Do what `verify --via celery`, and `sync` with `copy_via: celery`, ask for, until"
        " told to stop. Start as many as you like, on any machine that reaches both databases and"
        " the broker.",
    )
    def worker(
        ctx: typer.Context,
        concurrency: Annotated[
            int, typer.Option(min=1, max=64, help="Parts or chunks that are read at the same time.")
        ] = os.cpu_count() or 1,
        beat: Annotated[
            bool,
            typer.Option(
                "--beat",
                help="Also start what celery.schedule says. One worker of a pipeline needs it;"
                " more do no harm.",
            ),
        ] = False,
    ) -> None:
        with at_once():
            code = run(of(ctx), concurrency, beat=beat)
        if code:
            raise typer.Exit(code)


def run(context: Context, concurrency: int, *, beat: bool) -> int:
    """Works until its end; raises where the broker or the target is not to be had now."""
    from bridge.observe.logs import set_up
    from bridge.store.migrate import migrate
    from workers import process
    from workers.app import make_app
    from workers.send import Sender

    settings = context.settings
    app = make_app(settings)
    context.source_endpoint  # noqa: B018 (a wrong one is told at once, and not by each task)
    Sender(app, context.pipeline, settings.broker()).check()
    conn = context.target(autocommit=True)
    migrate(conn)
    conn.close()
    set_up(debug=context.debug)
    return process.run(app, settings, concurrency, beat=beat)
