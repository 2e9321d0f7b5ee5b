"""`dbbridge set`: limits that are changed while things run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.context import Context, of
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from bridge.store.state import Connection

DEFAULT = "default"


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command(
        "set",
        epilog="Example: dbbridge set verify.paused=true --for 2h",
        help="Change a limit while things run, for a time or until it is set to “default”."
        " Without arguments: which ones are set.",
    )
    def set_(
        ctx: typer.Context,
        assignments: Annotated[
            list[str] | None, typer.Argument(metavar="[NAME=VALUE]…", help="verify.paused=true")
        ] = None,
        duration: Annotated[
            str | None, typer.Option("--for", metavar="DURATION", help="30s, 10m, 2h, 1d.")
        ] = None,
    ) -> None:
        context = of(ctx)
        parsed = [_parse(text) for text in assignments or []]
        seconds = _seconds(duration) if duration else None
        conn = _control(context)
        for name, value in parsed:
            _assign(context, conn, name, value, seconds)
        _show(context, conn)


def _parse(text: str) -> tuple[str, str]:
    from bridge.databases.endpoint import nearest
    from bridge.store.overrides import NAMES

    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"“{text}” sets nothing", "write it like verify.paused=true")
    if name not in NAMES:
        known = tuple(NAMES)
        raise ConfigError(
            f"“{name}” cannot be set while things run",
            f"known: {', '.join(known)}{nearest(name, known)}",
        )
    if value != DEFAULT:
        try:
            NAMES[name](value)
        except ValueError as error:
            raise ConfigError(f"{name} cannot be “{value}”", f"it is {error}") from error
    return name, value


def _seconds(text: str) -> float:
    from bridge.config.durations import duration_seconds

    seconds = duration_seconds(text)
    if seconds is None:
        raise ConfigError(f"“{text}” is no duration", "write it like 30s, 10m, 2h or 1d")
    return seconds


def _control(context: Context) -> Connection:
    from bridge.store.migrate import migrate

    conn = context.target(autocommit=True)
    migrate(conn)
    return conn


def _assign(
    context: Context, conn: Connection, name: str, value: str, seconds: float | None
) -> None:
    from bridge.store.overrides import set_override, unset_override
    from bridge.store.state import add_event

    if value == DEFAULT:
        if not unset_override(conn, context.pipeline, name):
            return
        said = "as bridge.yaml says again"
    else:
        set_override(conn, context.pipeline, name, value, seconds)
        said = value + (f" for {seconds:.0f} s" if seconds else "")
    add_event(conn, context.pipeline, "set", name, said)


def _show(context: Context, conn: Connection) -> None:
    from bridge.store.overrides import read_overrides

    found = list(read_overrides(conn, context.pipeline).values())
    context.out.json(
        {each.name: {"value": each.value, "until": each.until} for each in found},
    )
    if found:
        rows = [(each.name, each.text, _until(each.until)) for each in found]
        context.out.table(("setting", "value", "until"), rows)
    else:
        context.out.line("nothing is set: bridge.yaml holds")
    context.out.next("dbbridge status")


def _until(seconds: float | None) -> str:
    if seconds is None:
        return "it is set to default"
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
