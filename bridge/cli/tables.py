"""`dbbridge tables pause|resume|resync`: tables stand still, go on, or are copied again."""

from __future__ import annotations

from typing import Annotated

import typer

from bridge.cli.context import Context, of
from bridge.errors import ConfigError
from bridge.names import TableName

_Names = Annotated[list[str], typer.Argument(metavar="NAME…", help="orders or shop.orders")]


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    tables = typer.Typer(help="Pause, resume or copy tables again.", no_args_is_help=True)
    app.add_typer(tables, name="tables")

    @tables.command(
        epilog="Example: dbbridge tables pause orders",
        help="Let tables stand still at their frontier; the others go on.",
    )
    def pause(ctx: typer.Context, names: _Names) -> None:
        _ask(of(ctx), "pause", names)

    @tables.command(
        epilog="Example: dbbridge tables resume orders",
        help="Let paused or stopped tables go on from their frontier.",
    )
    def resume(ctx: typer.Context, names: _Names) -> None:
        _ask(of(ctx), "resume", names)

    @tables.command(
        epilog="Example: dbbridge tables resync orders",
        help="Copy tables again, beside the stream, and swap; the old ones serve until then.",
    )
    def resync(ctx: typer.Context, names: _Names) -> None:
        _ask(of(ctx), "resync", names)


def _ask(context: Context, verb: str, names: list[str]) -> None:
    from bridge.replicate.requests import ask, leave
    from bridge.store.state import read_daemon, read_tables

    conn = context.target(autocommit=True)
    followed = [table.source for table in read_tables(conn, context.pipeline)]
    chosen = [find(name, followed) for name in names]
    running = read_daemon(conn, context.pipeline) is not None
    results = []
    for name in chosen:
        if running:
            results.append(ask(conn, context.pipeline, verb, name))
        else:
            leave(conn, context.pipeline, verb, name)
            results.append(f"{verb}: {name} is noted, and dbbridge sync carries it out")
    context.out.json({"results": results})
    for result in results:
        context.out.line(result)
    context.out.next("dbbridge status" if running else "dbbridge sync")
    if any(result.startswith("refused") for result in results):
        raise typer.Exit(1)


def find(text: str, followed: list[TableName]) -> TableName:
    """The followed table of that name; raises ConfigError naming the nearest."""
    import difflib

    hits = sorted({name for name in followed if text in (name.table, str(name))})
    if len(hits) == 1:
        return hits[0]
    near = difflib.get_close_matches(
        text, [str(n) for n in followed] + [n.table for n in followed], 1
    )
    raise ConfigError(
        f"“{text}” is not a followed table"
        if not hits
        else f"“{text}” is the name of several tables",
        f"did you mean {near[0]}?" if near and not hits else "dbbridge status lists them",
    )
