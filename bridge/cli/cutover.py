"""`dbbridge cutover status|mode|reads`: who has authority over a group, and how it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli import cutover_status, cutover_verbs
from bridge.cli.context import Context, of
from bridge.errors import ConfigError

if TYPE_CHECKING:
    import pymysql

    from bridge.dualwrite.authority import Authority, Mode

_Group = Annotated[
    str | None,
    typer.Option("--group", metavar="NAME", help="A group of the mapping files. [default: all]"),
]


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    cutover = typer.Typer(
        help="See and change who has authority over groups of tables.", no_args_is_help=True
    )
    app.add_typer(cutover, name="cutover")

    @cutover.command(
        epilog="Example: dbbridge cutover status",
        help="Show how the switch of each group stands, who is at it, and what comes next.",
    )
    def status(
        ctx: typer.Context,
        group: _Group = None,
        history: Annotated[
            bool, typer.Option("--history", help="Also all that happened to it.")
        ] = False,
    ) -> None:
        context = of(ctx)
        cutover_status.show(context, groups_of(context, group), history=history)

    @cutover.command(
        epilog="Example: dbbridge cutover mode provisional --group orders",
        help="Set how the application's writes reach the target: by the stream alone (cdc), tried"
        " there and rolled back (shadow), or at once, with the stream behind (provisional).",
    )
    def mode(
        ctx: typer.Context,
        mode: Annotated[str, typer.Argument(metavar="cdc|shadow|provisional")],
        group: _Group = None,
    ) -> None:
        context = of(ctx)
        _change(context, group, mode=_mode(context, mode))

    @cutover.command(
        epilog="Example: dbbridge cutover reads 10 --group orders",
        help="Set how many per cent of an application's reads may go to the target.",
    )
    def reads(
        ctx: typer.Context,
        percent: Annotated[int, typer.Argument(min=0, max=100)],
        group: _Group = None,
    ) -> None:
        _change(of(ctx), group, reads_percent=percent)

    cutover_verbs.register(cutover)


def _mode(context: Context, text: str) -> Mode:
    from bridge.databases.endpoint import nearest
    from bridge.dualwrite.authority import MODES

    for known in MODES:
        if text == known:
            break
    else:
        raise ConfigError(
            f"“{text}” is no mode", f"known: {', '.join(MODES)}{nearest(text, MODES)}"
        )
    if known != "cdc" and context.settings.pipeline.capture.kind == "kafka":
        raise ConfigError(
            f"{known} needs the source's log in its order, which Kafka's partitions do not keep",
            "write by the stream alone (cdc), or capture by the log: capture: {kind: binlog}",
        )
    return known


def groups_of(context: Context, chosen: str | None) -> list[str]:
    """The named group, or all of the mapping files; raises ConfigError."""
    from bridge.databases.endpoint import nearest
    from bridge.dualwrite.groups import group_of

    mappings = context.mappings().values()
    known = sorted({group_of(m.source, m.group) for m in mappings if m.target is not None})
    if chosen is None:
        return known
    if chosen not in known:
        raise ConfigError(
            f"no mapping file names the group “{chosen}”",
            f"known: {', '.join(known)}{nearest(chosen, tuple(known))}",
        )
    return [chosen]


def _change(
    context: Context,
    group: str | None,
    *,
    mode: Mode | None = None,
    reads_percent: int | None = None,
) -> None:
    import psycopg
    import pymysql

    from bridge.dualwrite import authority
    from bridge.dualwrite.opening import database_of
    from bridge.replicate.servers import meaning
    from bridge.store.migrate import migrate

    database, groups = database_of(context.source_endpoint), groups_of(context, group)
    source, target = context.source(), context.target(autocommit=True)
    try:
        _check_source(source, mode)
        migrate(target)
        authority.make_tables(source, database)
        changed = [
            authority.change(
                source,
                target,
                context.pipeline,
                database,
                name,
                mode=mode,
                reads_percent=reads_percent,
            )
            for name in groups
        ]
    except (psycopg.Error, pymysql.Error) as error:
        raise meaning(error) from error
    context.out.json({"groups": [one.document() for one in changed]})
    for one in changed:
        context.out.line(_said(one))
    context.out.next("dbbridge cutover status")


def _check_source(source: pymysql.Connection[Any], mode: Mode | None) -> None:
    """Raises SourceError or ConfigError where the log could not undo what was written early."""
    from bridge.replicate.origin import check_settings

    if mode != "provisional":
        return
    check_settings(source)  # full images: they bring back a row that was evicted
    with source.cursor() as cursor:
        cursor.execute("SHOW GLOBAL VARIABLES LIKE 'binlog_order_commits'")  # MySQL's alone
        order = cursor.fetchone()
    if order is not None and str(order[1]).upper() != "ON":
        raise ConfigError(
            "commits become visible in another order than they are logged in",
            "SET GLOBAL binlog_order_commits = ON",
        )


def _said(one: Authority) -> str:
    return (
        f"{one.group}: authority {one.side}, mode {one.mode}, reads {one.reads_percent} %,"
        f" epoch {one.epoch}"
    )
