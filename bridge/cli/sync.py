"""`dbbridge sync`: the daemon."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.context import Context, of
from bridge.cli.output import number, size
from bridge.cli.signals import at_once, obeyed
from bridge.cli.start import INTERRUPTED
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from bridge.replicate.board import Board
    from bridge.replicate.daemon import Daemon
    from bridge.replicate.errands import Caller
    from bridge.replicate.plans import Planner
    from bridge.replicate.servers import Servers
    from bridge.replicate.until import Until

LINE_SECONDS = 5.0
"""How often a plain log gets a line of progress."""


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command(
        epilog="Example: dbbridge sync --until caught-up",
        help="Copy what is not copied, then stream the source's changes until told to stop.",
    )
    def sync(
        ctx: typer.Context,
        until: Annotated[
            str | None,
            typer.Option(metavar="copied|caught-up|POSITION", help="End there. [default: never]"),
        ] = None,
        readers: Annotated[
            int,
            typer.Option(
                min=1, max=32, help="Connections that copy at the same time, without workers."
            ),
        ] = 2,
    ) -> None:
        with at_once():
            run(of(ctx), until, readers)


def run(context: Context, until: str | None, readers: int) -> None:
    """Runs the daemon until its end; exits 130 after an interrupt."""
    from bridge.observe.logs import set_up
    from bridge.replicate.until import Until

    goal = Until.parse(until)
    set_up(debug=context.debug)
    daemon = _daemon(context, goal, readers)
    with obeyed(daemon, context.out.stderr) as caught, _progress(context, daemon.board):
        daemon.run()
    context.out.json({"state": "ended", "phase": daemon.board.phase})
    if signal.SIGINT in caught:
        raise typer.Exit(INTERRUPTED)
    if caught:
        return
    context.out.next("dbbridge verify" if goal.kind == "caught-up" else "dbbridge status")


def _daemon(context: Context, goal: Until, readers: int) -> Daemon:
    from bridge.cutover.keeper import Attended, Keeper
    from bridge.cutover.settling import Settler
    from bridge.cutover.upkeep import Upkeep
    from bridge.databases import mysql, postgres
    from bridge.mapping.files import read_all
    from bridge.replicate.board import Board
    from bridge.replicate.daemon import Daemon
    from bridge.replicate.engine import Engine
    from bridge.replicate.plans import Planner
    from bridge.replicate.servers import Servers
    from bridge.store.lease import Lease, application_name

    source, copy_source = context.source_endpoint, context.copy_endpoint
    target = context.target_endpoint
    servers = Servers(
        source=lambda: mysql.connect(source),
        copy_source=lambda: mysql.connect(copy_source),
        target=lambda: postgres.connect(
            target, autocommit=True, application_name=application_name(context.pipeline)
        ),
        pipeline=context.pipeline,
        replica=copy_source != source,
        heartbeat=context.heartbeat(),
    )
    mappings, caller, board = context.settings.mappings, _caller(context), Board()

    def planner() -> Planner:
        return Planner(servers.source, lambda: read_all(mappings))

    if context.settings.pipeline.capture.kind == "kafka":
        return _kafka_daemon(context, goal, readers, servers, board, planner, caller)
    plans = planner()

    def engine(lease: Lease, stopping: threading.Event) -> Attended:
        keeper = Keeper(
            context.pipeline, source, target, servers.target, lambda: read_all(mappings)
        )
        work = Engine(
            servers, lease, plans, board, stopping, readers=readers, until=goal, caller=caller
        )
        upkeep = Upkeep(context.settings, servers.target)
        settler = Settler(context.settings, servers.target, board)
        return Attended(work, (keeper, settler, upkeep))

    return Daemon(servers, board, engine)


def _kafka_daemon(
    context: Context,
    goal: Until,
    readers: int,
    servers: Servers,
    board: Board,
    planner: Callable[[], Planner],
    caller: Caller | None,
) -> Daemon:
    from bridge.databases import postgres
    from bridge.databases.connect import ConnectClient
    from bridge.replicate.kafka.process import Capture, KafkaDaemon
    from bridge.store.lease import consumer_name

    settings, target = context.settings, context.target_endpoint
    capture, connect = settings.pipeline.capture, settings.connect()
    if connect is None or not capture.connector:
        raise ConfigError(
            "nobody tells how far Debezium's connector is",
            "name Kafka Connect's REST interface and the connector under pipeline.capture:"
            " connect: http://host:8083, connector: NAME",
        )
    return KafkaDaemon(
        servers,
        board,
        planner,
        Capture(
            settings.kafka(),
            capture.topics,
            settings.group,
            ConnectClient(connect),
            capture.connector,
            dict(capture.connector_config),
            capture.snapshot,
        ),
        lambda: postgres.connect(
            target, autocommit=True, application_name=consumer_name(context.pipeline)
        ),
        readers=readers,
        until=goal,
        caller=caller,
    )


def _caller(context: Context) -> Caller | None:
    """Who calls for workers, where they shall copy. Raises ConfigError."""
    settings = context.settings
    if settings.pipeline.copy_via == "local":
        return None
    from workers.app import make_app
    from workers.send import Calls

    command = context.command("worker")
    return Calls(make_app(settings), context.pipeline, settings.broker(), command)


@contextmanager
def _progress(context: Context, board: Board) -> Iterator[None]:
    """A display on a terminal, plain lines elsewhere; both on stderr."""
    if context.format == "json":
        yield
        return
    done = threading.Event()
    target = _bars if context.out.stderr.isatty() else _lines
    thread = threading.Thread(target=target, args=(context, board, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def describe(board: Board) -> str:
    """One line: phase, what is copied, rate, lag."""
    parts = [board.phase]
    copying = list(board.copying.values())
    if board.phase == "copying" and copying:
        rows, estimated = sum(c.rows for c in copying), sum(c.estimated for c in copying)
        percent = min(99.9, 100 * rows / estimated) if estimated else 0.0
        parts.append(f"{number(rows)} rows, {size(sum(c.bytes for c in copying))}, {percent:.0f} %")
    if board.rows_per_second:
        parts.append(f"{number(board.rows_per_second)} rows/s")
    if board.phase == "streaming" and board.lag_seconds is not None:
        parts.append(f"lag {board.lag_seconds:.1f} s")
    if board.message and board.phase in ("waiting", "copying"):
        parts.append(board.message)
    return " · ".join(parts)


def _lines(context: Context, board: Board, done: threading.Event) -> None:
    last, said = "", 0.0
    while not done.wait(0.2):
        now = time.monotonic()
        if board.phase != last or now - said >= LINE_SECONDS:
            last, said = board.phase, now
            print(f"sync: {describe(board)}", file=context.out.stderr, flush=True)


def _bars(context: Context, board: Board, done: threading.Event) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    def view() -> Table:
        grid = Table.grid(padding=(0, 2))
        for name, entry in list(board.copying.items()):
            if board.phase == "copying":
                total = max(entry.estimated, entry.rows, 1)
                bar = ProgressBar(total=total, completed=entry.rows, width=30)
                grid.add_row(str(name), bar, f"{number(entry.rows)} rows", size(entry.bytes))
        grid.add_row(describe(board))
        return grid

    with Live(console=Console(file=context.out.stderr), refresh_per_second=4) as live:
        while not done.wait(0.25):
            live.update(view())
