"""``dbbridge config show``: the resolved settings, where each comes from, secrets masked."""

from __future__ import annotations

import typer

from bridge.cli.context import of


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    group = typer.Typer(help="The resolved settings.", no_args_is_help=True)
    group.command("show", epilog="Example: dbbridge config show --format json")(show)
    app.add_typer(group, name="config")


def show(ctx: typer.Context) -> None:
    """Print every setting with its value and its origin: file and line, overlay, or default."""
    context = of(ctx)
    settings = list(context.settings.listed())
    context.out.table(
        ("setting", "value", "from"), [(each.name, each.value, each.origin) for each in settings]
    )
    context.out.json({each.name: {"value": each.value, "from": each.origin} for each in settings})
    context.out.next("dbbridge check")
