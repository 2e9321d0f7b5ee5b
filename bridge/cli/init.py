"""``dbbridge init``: bridge.yaml and mappings/ from the live source; run again, it merges."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.context import Context, of
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from bridge.cli.init_tables import Outcome
    from bridge.cli.login import Login
    from bridge.databases.endpoint import Endpoint, Kind

SOURCE, TARGET = "legacy", "main"
"""What the databases are called in a new bridge.yaml."""


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command(
        "init",
        epilog="Example: dbbridge init --source mysql://bridge:env:LEGACY_PASSWORD@db1/shop"
        " --target postgresql://bridge:file:/run/secrets/main@db2/shop",
    )(init)


def init(
    ctx: typer.Context,
    source: Annotated[
        str | None, typer.Option(help="URL of the MySQL or MariaDB database.", metavar="URL")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="URL of the PostgreSQL database.", metavar="URL")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where the files go. [default: .]")
    ] = None,
) -> None:
    """Write bridge.yaml and one mapping file a table from the live source.

    A URL's password may be env:NAME or file:PATH, or is asked for; its value is never written. Run
    again: new tables and columns are added, and nothing that you wrote is changed.
    """
    from bridge.cli.init_tables import bring_up, look

    context = of(ctx)
    if directory is not None:
        context.config = directory / "bridge.yaml"
    there = context.config_path.is_file()
    logins = _logins(context, source, target, there=there)
    # Both servers have answered before anything is written.
    context.target()
    catalog = look(context)
    if not there:
        _write_settings(context.config_path, *logins)
    exports = [] if there else [login.to_export for login in logins if login.to_export]
    _print(context, bring_up(context, catalog), exports)


def _logins(
    context: Context, source: str | None, target: str | None, *, there: bool
) -> list[Login]:
    """Reads the URLs; held against bridge.yaml if it is `there`, and needed if it is not."""
    from bridge.cli.login import ask_on_terminal, read_login

    path = context.config_path
    logins: list[Login] = []
    roles: tuple[tuple[str | None, Kind, str], ...] = (
        (source, "mysql", SOURCE),
        (target, "postgresql", TARGET),
    )
    for url, kind, name in roles:
        option = "--source" if kind == "mysql" else "--target"
        if url is not None:
            login = read_login(url, kind, name, context.environ, path.parent, ask_on_terminal)
            if there:
                _same_place(context, option, login.endpoint)
            context.use(login.endpoint)
            logins.append(login)
        elif not there:
            raise ConfigError(
                f"{option} is missing, and there is no {path}",
                f"{option} {kind}://user:env:PASSWORD@host/database",
            )
    return logins


def _same_place(context: Context, option: str, given: Endpoint) -> None:
    """Refuses a URL that is not the database of the bridge.yaml there is."""
    role = option.removeprefix("--")
    name = getattr(context.settings.pipeline, role)
    known = context.settings.endpoint(name, secrets=False)
    if known.place != given.place:
        raise ConfigError(
            f"{context.config_path} has another {role}: {known.place}, not {given.place}",
            f"edit {context.config_path}, or begin anew elsewhere with --dir",
        )


def _write_settings(path: Path, source: Login, target: Login) -> None:
    from bridge.mapping import files, yamltext

    files.write_file(
        path,
        "databases:\n"
        f"  {SOURCE}:\n    url: {yamltext.scalar(source.url)}\n"
        f"  {TARGET}:\n    url: {yamltext.scalar(target.url)}\n"
        "pipeline:\n"
        f"  source: {SOURCE}\n  target: {TARGET}\n  mappings: mappings/\n"
        "  capture: {kind: binlog}\n",
    )


def _print(context: Context, outcomes: list[Outcome], exports: list[str]) -> None:
    out = context.out
    out.table(
        ("table", "target", "columns", "file", "outcome"),
        [(each.table, each.target, each.columns, each.file, each.outcome) for each in outcomes],
        right=("columns",),
    )
    for each in outcomes:
        if each.outcome == "updated":
            out.line(f"{each.table}: added {', '.join(each.added)}")
        for question in each.open:
            out.line(f"{each.table}: {question} ({each.file})")
    out.json({"config": str(context.config_path), "export": exports, "tables": outcomes})
    for variable in exports:
        out.line(f"export {variable}=… first: bridge.yaml holds its name, not the password")
    out.next(context.command("check"))
