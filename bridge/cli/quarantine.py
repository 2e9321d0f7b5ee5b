"""`dbbridge quarantine list|show|retry|discard`: rows that the target cannot hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from bridge.cli.context import Context, of
from bridge.errors import BridgeError, ConfigError
from bridge.names import TableName

_Ids = Annotated[list[int], typer.Argument(metavar="ID…", help="as `quarantine list` shows them")]


@dataclass(frozen=True)
class Entry:
    """One row in quarantine; `key` is COPY text, `raw` hex, `since` seconds since 1970."""

    id: int
    table: str
    key: str
    code: str
    column: str
    value: str
    at: str
    since: float
    raw: str


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    verbs = typer.Typer(help="Rows that the target cannot hold.", no_args_is_help=True)
    app.add_typer(verbs, name="quarantine")

    @verbs.command(
        "list", epilog="Example: dbbridge quarantine list", help="All rows in quarantine."
    )
    def list_(ctx: typer.Context) -> None:
        context = of(ctx)
        entries = _entries(context, None)
        context.out.json({"entries": [asdict(entry) for entry in entries]})
        headers = ("id", "table", "key", "code", "column", "value", "met at")
        rows = [(e.id, e.table, e.key, e.code, e.column, e.value[:60], e.at) for e in entries]
        context.out.table(headers, rows, right=("id",))
        context.out.next("dbbridge quarantine show ID" if entries else "dbbridge verify")

    @verbs.command(epilog="Example: dbbridge quarantine show 7", help="One row with its raw image.")
    def show(ctx: typer.Context, number: Annotated[int, typer.Argument(metavar="ID")]) -> None:
        context = of(ctx)
        entry = _entry(context, number)
        context.out.json(asdict(entry))
        for name, value in asdict(entry).items():
            context.out.line(f"{name:<8}{value}")
        context.out.next(f"dbbridge quarantine retry {number}")

    @verbs.command(
        epilog="Example: dbbridge quarantine retry 7",
        help="Read the row in the source again and apply it.",
    )
    def retry(ctx: typer.Context, numbers: _Ids) -> None:
        context = of(ctx)
        results = [_retry(context, number) for number in numbers]
        context.out.json({"results": results})
        for result in results:
            context.out.line(result)
        context.out.next("dbbridge quarantine list")
        if any(" stays: " in result or result.startswith("refused") for result in results):
            raise typer.Exit(1)

    @verbs.command(
        epilog="Example: dbbridge quarantine discard 7 --reason 'test order, see ticket 481'",
        help="Give rows up; every later certificate names them.",
    )
    def discard(
        ctx: typer.Context,
        numbers: _Ids,
        reason: Annotated[str, typer.Option(help="Why the target may lack these rows.")],
    ) -> None:
        context = of(ctx)
        for number in numbers:
            _discard(context, number, reason)
        context.out.json({"discarded": numbers})
        context.out.line(f"discarded: {', '.join(map(str, numbers))}")
        context.out.next("dbbridge quarantine list")


def _entries(context: Context, number: int | None) -> list[Entry]:
    from bridge.store.state import Q

    conn = context.target(autocommit=True)
    rows: list[Any] = conn.execute(
        Q["quarantine_list"], {"pipeline": context.pipeline, "id": number}
    ).fetchall()
    return [
        Entry(
            id=row[0],
            table=f"{row[1]}.{row[2]}",
            key=bytes(row[3]).decode(errors="replace"),
            code=row[4],
            column=row[5],
            value=row[6],
            raw=bytes(row[7]).hex(),
            at=row[8],
            since=row[9],
        )
        for row in rows
    ]


def _entry(context: Context, number: int) -> Entry:
    found = _entries(context, number)
    if not found:
        raise ConfigError(f"there is no entry {number} in quarantine", "dbbridge quarantine list")
    return found[0]


def _retry(context: Context, number: int) -> str:
    from bridge.replicate.requests import ask
    from bridge.store.state import read_daemon

    conn = context.target(autocommit=True)
    if read_daemon(conn, context.pipeline) is None:
        raise BridgeError(
            "no daemon runs this pipeline, so nobody can carry this out", "start it: dbbridge sync"
        )
    schema, _, table = _entry(context, number).table.partition(".")
    return ask(conn, context.pipeline, "retry", TableName(schema, table), str(number))


def _discard(context: Context, number: int, reason: str) -> None:
    from bridge.store.state import Q

    if not reason.strip():
        raise ConfigError("a discarded row needs a reason", "--reason 'why it may be missing'")
    _entry(context, number)
    conn = context.target(autocommit=True)
    names = {"pipeline": context.pipeline, "id": number, "reason": reason}
    conn.execute(Q["quarantine_discard"], names)
