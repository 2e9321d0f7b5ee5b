"""The command ``dbbridge``: finds the verb, runs it, and turns every error into two lines.

Each verb is a module with ``register(app: typer.Typer) -> None``; it is imported when it is called,
so that ``dbbridge --help`` needs no driver. ``-c``, ``--format`` and ``--debug`` are understood
before and after the verb.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bridge.cli import values
from bridge.cli.context import Context, of
from bridge.cli.output import Format
from bridge.cli.start import INTERRUPTED
from bridge.errors import BridgeError, ConfigError, ServerRefused

USAGE = 2
NO_VERDICT = 3
GARBAGE_OBJECTS = 200_000
"""New objects between two looks for garbage in cycles. Python's 700 cost a tenth of a verb's start,
which makes up to 100,000, and the daemon makes no cycles."""

VERBS: dict[str, tuple[str, str]] = {
    "init": ("bridge.cli.init", "Write bridge.yaml and mappings/ from the live source; merges."),
    "check": ("bridge.cli.check", "Look for what would go wrong: settings, grants, schema, data."),
    "explain": ("bridge.cli.explain", "Tell the whole story of one table, or of one finding."),
    "schema": ("bridge.cli.schema", "Plan or apply the target's tables, indexes and constraints."),
    "sync": ("bridge.cli.sync", "Copy and stream until told otherwise (the daemon)."),
    "status": ("bridge.cli.status", "Show where the daemon is, table by table."),
    "events": ("bridge.cli.events", "Show what happened: stops, DDL, operators, cutovers."),
    "tables": ("bridge.cli.tables", "Pause, resume or copy tables again."),
    "quarantine": ("bridge.cli.quarantine", "List, show, retry or discard bad rows."),
    "set": ("bridge.cli.set", "Change a limit while things run, or pause verification."),
    "verify": ("bridge.cli.verify", "Compare source and target; every differing key."),
    "repair": ("bridge.cli.repair", "Mend what verify found: take those rows from the source."),
    "cutover": ("bridge.cli.cutover", "See and change who has authority over groups of tables."),
    "generate": ("bridge.cli.generate", "Write typed models of both databases from the mapping."),
    "proxy": ("bridge.cli.proxy", "Take writes and reads over HTTP, for any language."),
    "worker": ("bridge.cli.worker", "Do what verify --via celery asks for (Celery)."),
    "config": ("bridge.cli.config", "Show the resolved settings, secrets masked."),
}
"""The verbs in the order of a migration: module, and the line in ``--help``."""


class Verbs(TyperGroup):
    """The root command; its verbs are imported when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs, in the order of `VERBS`."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The verb, imported now; None if there is none of that name."""
        if cmd_name not in VERBS:
            return None
        if cmd_name not in self.commands:
            self.commands[cmd_name] = _load(cmd_name)
        return self.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list in ``--help``, without importing any verb."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


app = typer.Typer(
    name="dbbridge",
    cls=Verbs,
    help="Moves a live MySQL or MariaDB database to PostgreSQL while the application runs on.",
    epilog="Example: dbbridge init --source mysql://me:env:PW@db1/shop"
    " --target postgresql://me:env:PW@db2/shop",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
)


def _set_config(ctx: typer.Context, value: str | None) -> str | None:
    if value is not None:
        of(ctx).config = Path(value)
    return value


def _set_format(ctx: typer.Context, value: str | None) -> str | None:
    if value is not None:
        formats: dict[str, Format] = {"text": "text", "json": "json"}
        if value not in formats:
            raise typer.BadParameter("it is text or json")
        of(ctx).format = formats[value]
    return value


def _set_debug(ctx: typer.Context, value: bool) -> bool:
    if value:
        of(ctx).debug = True
    return value


_Config = Annotated[
    str | None,
    typer.Option(
        "-c",
        "--config",
        callback=_set_config,
        metavar="FILE",
        help="Settings. [default: bridge.yaml]",
    ),
]
_Format = Annotated[
    str | None,
    typer.Option("--format", callback=_set_format, metavar="text|json", help="What is printed."),
]
_Debug = Annotated[
    bool, typer.Option("--debug", callback=_set_debug, help="Show the traceback of an error.")
]


@app.callback()
def root(
    ctx: typer.Context,
    config: _Config = None,  # noqa: ARG001 (its callback keeps it)
    format: _Format = None,  # noqa: ARG001 (its callback keeps it)
    debug: _Debug = False,  # noqa: ARG001 (its callback keeps it)
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """What stands before the verb."""
    if version:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            typer.echo(f"dbbridge {installed('dbbridge')}")
        except PackageNotFoundError:
            typer.echo("dbbridge, not installed: run from its source")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code of the contract.

    Without `arguments`, those of the process, which ends with it.
    """
    gc.set_threshold(GARBAGE_OBJECTS)
    if arguments is None:
        # At its end Python looks at every object for garbage, which takes a tenth of a short verb.
        atexit.register(gc.freeze)
    context = Context()
    try:
        with context.closing:
            result = _command().main(
                args=list(sys.argv[1:] if arguments is None else arguments),
                prog_name="dbbridge",
                standalone_mode=False,
                obj=context,
            )
            sys.stdout.flush()
    except BrokenPipeError:
        return _unread()
    except SystemExit:
        # Typer's answer to a broken pipe; verbs raise typer.Exit.
        return _unread()
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("interrupted", err=True)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 (whatever it is, the user gets two lines)
        return _failed(error, context.debug)
    return result if isinstance(result, int) else 0


def _unread() -> int:
    """The reader of our output went away (``| head``): no verdict, and nobody to tell."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return INTERRUPTED


def _command() -> Any:
    """The root command."""
    command = typer.main.get_command(app)
    values.spare(command)
    return command


def _load(verb: str) -> Any:
    """The click command of a verb, with the common options on each of its leaves."""
    verbs = typer.Typer(rich_markup_mode=None)
    importlib.import_module(VERBS[verb][0]).register(verbs)
    command = typer.main.get_group(verbs).commands[verb]
    _add_common(command)
    return command


def _add_common(command: Any) -> None:
    inner = getattr(command, "commands", None)
    for child in (inner or {}).values():
        _add_common(child)
    if inner is None:
        taken = {option for parameter in command.params for option in parameter.opts}
        for parameter in _common():
            if taken.isdisjoint(parameter.opts):
                parameter.expose_value = False
                command.params.append(parameter)
    values.spare(command)


def _common() -> list[Any]:
    """Fresh parameters for -c, --format and --debug."""
    template = typer.Typer(add_completion=False)

    @template.command()
    def options(config: _Config = None, format: _Format = None, debug: _Debug = False) -> None: ...

    return list(typer.main.get_command(template).params)


def _failed(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    known = _known(error)
    if isinstance(error, typer.TyperException) and known.message.startswith("Usage:"):
        typer.echo(known.message, err=True)
        return USAGE
    typer.echo(f"error: {_one_line(known.message)}", err=True)
    typer.echo(f"hint: {_one_line(known.hint) or 'run it again with --debug'}", err=True)
    return known.exit_code if known is error or known.exit_code != 1 else NO_VERDICT


def _known(error: Exception) -> BridgeError:
    """The error as one of ours."""
    if isinstance(error, BridgeError):
        return error
    if isinstance(error, typer.TyperException):
        message = error.message if getattr(error, "option_name", "") else error.format_message()
        return ConfigError(message, _usage_hint(error))
    module = type(error).__module__.partition(".")[0]
    if module == "psycopg":
        from bridge.databases.postgres import target_error

        return target_error(error)
    if module == "pymysql":
        from bridge.databases.mysql import source_error

        return source_error(error)
    if isinstance(error, OSError) and error.filename:
        return ServerRefused(f"{error.filename}: {error.strerror}", "check the path and its rights")
    return BridgeError(
        f"internal error: {type(error).__name__}: {error}",
        "run it again with --debug and report what it prints; nothing that was half done is kept",
    )


def _usage_hint(error: typer.TyperException) -> str:
    """The nearest known word, or where the help is."""
    ctx = getattr(error, "ctx", None)
    if ctx is None:
        return "dbbridge --help"
    help_line = f"`{ctx.command_path} --help` shows what is possible"
    wrong, known = getattr(error, "option_name", ""), []
    if wrong:
        known = [option for parameter in ctx.command.params for option in parameter.opts]
    elif hasattr(ctx.command, "list_commands") and "'" in error.message:
        wrong, known = error.message.split("'")[1], ctx.command.list_commands(ctx)
    import difflib

    close = difflib.get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}? {help_line}" if close else help_line


def _one_line(text: str) -> str:
    return " ".join(text.split())
