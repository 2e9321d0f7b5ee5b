"""`dbbridge verify`: source and target compared while the application writes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from bridge.cli.context import Context, of
from bridge.cli.output import Advance, number
from bridge.errors import ConfigError
from bridge.report.files import listing, writable, write
from bridge.report.words import left_out, line_of, visible

if TYPE_CHECKING:
    import psycopg

    from bridge.names import TableName
    from bridge.report.verification import Difference, TableVerdict, Verification
    from bridge.verify.ledger import Ledger
    from bridge.verify.pipeline import Endpoints
    from bridge.verify.records import Run
    from bridge.verify.run import Verifier
    from bridge.verify.subject import Level
    from bridge.verify.tables import Followed, Unfit
    from workers.send import Sender

Shape = Literal["text", "json", "junit", "markdown", "html"]
VIAS = ("local", "celery")
LEVELS = ("counts", "checksums", "values")
SHAPES = ("text", "json", "junit", "markdown", "html")
SHOWN_DIFFERENCES = 10


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command(
        epilog="Example: dbbridge verify orders --output differences.ndjson",
        help="Compare source and target row by row; name every key and column that differs."
        " Exits 0 on a match, 1 on a mismatch, 3 if neither can be said.",
    )
    def verify(
        ctx: typer.Context,
        tables: Annotated[
            list[str] | None,
            typer.Argument(metavar="[TABLE]…", help="orders or shop.orders. [default: all]"),
        ] = None,
        level: Annotated[
            str,
            typer.Option(
                metavar="|".join(LEVELS),
                help="Which rows there are; also whether they are equal; also what they hold.",
            ),
        ] = "values",
        certify: Annotated[
            bool,
            typer.Option(
                "--certify",
                help="Take a second digest and issue the certificates that a cutover asks for.",
            ),
        ] = False,
        via: Annotated[
            str,
            typer.Option(
                metavar="|".join(VIAS), help="In this process, or by `dbbridge worker` anywhere."
            ),
        ] = "local",
        resume: Annotated[
            bool,
            typer.Option("--resume", help="Go on with the verification that was interrupted."),
        ] = False,
        output: Annotated[
            list[Path] | None,
            typer.Option(
                metavar="FILE",
                help="Every difference, one JSON object a line; or by its ending .xml (JUnit), .md,"
                " .html the report. May be given more than once.",
            ),
        ] = None,
        format: Annotated[
            str | None, typer.Option("--format", metavar="|".join(SHAPES), help="What is printed.")
        ] = None,
    ) -> None:
        context = of(ctx)
        if level not in LEVELS:
            raise ConfigError(f"“{level}” is not a level", f"it is one of {', '.join(LEVELS)}")
        if via not in VIAS:
            raise ConfigError(f"“{via}” is no way to verify", f"it is one of {', '.join(VIAS)}")
        shape = _shape(context, format)
        spread = via == "celery"
        wish = Wish(cast("Level", level), certify, resume, writable(output or ()), spread)
        result = run(context, tables or [], wish)
        _print(context, shape, result)
        raise typer.Exit(result.exit_code)


def _shape(context: Context, given: str | None) -> Shape:
    if given is None:
        return context.format
    if given not in SHAPES:
        raise ConfigError(f"“{given}” is not a format", f"it is one of {', '.join(SHAPES)}")
    context.format = "text" if given == "text" else "json"
    return cast("Shape", given)


@dataclass(frozen=True)
class Wish:
    """What is asked for."""

    level: Level
    certify: bool = False
    resume: bool = False
    outputs: tuple[Path, ...] = ()
    spread: bool = False


def run(context: Context, names: list[str], wish: Wish) -> Verification:
    """The comparison; raises ConfigError for a table that nobody knows."""
    from bridge.cli.spread import sender

    to = sender(context) if wish.spread else None
    opening = context.target_ahead(autocommit=True)
    from bridge.store.migrate import migrate
    from bridge.verify.pipeline import open_verifier, tables_of
    from bridge.verify.tables import Followed

    mappings, source = context.mappings(), context.source()
    control = opening.session
    carried = tables_of(context.pipeline, source, control, mappings)
    chosen = [] if wish.resume else _chosen(carried, names)
    migrate(control)
    verifier = open_verifier(context.pipeline, endpoints(context), source)
    source.close()
    ledger = verifier.ledger(control)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # before there is a run to resume
    if wish.resume:
        run = _resumed(ledger)
        chosen = _begun(ledger, run, names)
    else:
        rows = context.settings.celery.part_rows if to else None
        tables = [carried[name] for name in chosen]
        run = verifier.begin(ledger, tables, wish.level, certify=wish.certify, part_rows=rows)
    fit = {name: t for name in chosen if isinstance(t := carried.get(name), Followed)}
    try:
        _sweep(context, verifier, ledger, run, fit, to)
    except (KeyboardInterrupt, Exception):
        context.out.next("dbbridge verify --resume" + (" --via celery" if to else ""))
        raise

    def again() -> dict[TableName, Followed | Unfit]:
        with closing(context.source()) as source:
            return tables_of(context.pipeline, source, control, mappings)

    result = verifier.finish(ledger, run, again, chosen)
    result = replace(
        result,
        output=listing(wish.outputs),
        finished_at=time.time(),
        lag_seconds=_lag(context, control),
    )
    write(result, wish.outputs, _all_differences(ledger, chosen))
    return result


def _sweep(
    context: Context,
    verifier: Verifier,
    ledger: Ledger,
    run: Run,
    tables: Mapping[TableName, Followed],
    to: Sender | None,
) -> None:
    """Until all parts are done, here or by workers; the proofs are kept up beside it."""
    from bridge.cli import spread
    from bridge.verify.run import Beside

    if to is not None:
        with Beside(verifier, list(tables.values())):
            spread.sweep(context, ledger, run, tables, to)
        return
    rows = float(sum(table.rows for table in tables.values())) or None
    with context.out.progress("comparing", rows) as advance:
        progress = _Progress(advance)
        verifier.sweep(ledger, run, tables, lambda: True, progress, progress.waits)


def endpoints(context: Context) -> Endpoints:
    """Opens sessions for verifications."""
    from bridge.verify.pipeline import Endpoints, reads

    source, target = context.source_endpoint, context.target_endpoint
    return Endpoints(source, target, reads(context.settings))


def make_verifier(context: Context) -> Verifier:
    """What a verification of this pipeline works with."""
    from bridge.verify.pipeline import open_verifier

    return open_verifier(context.pipeline, endpoints(context))


def _resumed(ledger: Ledger) -> Run:
    run = ledger.interrupted()
    if run is None:
        raise ConfigError("no verification was interrupted", "dbbridge verify")
    return run


def _all_differences(
    ledger: Ledger, names: Iterable[TableName]
) -> Iterator[tuple[TableName, Difference]]:
    """Every difference that is known now."""
    for name in names:
        for _, difference in ledger.all_differences(name):
            yield name, difference


def _lag(context: Context, control: psycopg.Connection[Any]) -> float | None:
    from bridge.store.state import read_daemon

    daemon = read_daemon(control, context.pipeline)
    return daemon.lag_seconds if daemon else None


def _begun(ledger: Ledger, run: Run, names: list[str]) -> list[TableName]:
    """The tables that the run is about, or those of them that are named."""
    from bridge.cli.tables import find

    begun = list(dict.fromkeys(part.table for part in ledger.standing(run)))
    try:
        return [find(name, begun) for name in names] or begun
    except ConfigError as error:
        reason = f"{error.message} of the verification that was interrupted"
        raise ConfigError(reason, f"it is about {', '.join(map(str, begun))}") from error


def _chosen(carried: Mapping[TableName, Followed | Unfit], names: list[str]) -> list[TableName]:
    """The tables that are to be verified, of all that are carried."""
    from bridge.cli.tables import find

    if not carried:
        raise ConfigError(
            "the mapping carries no table, so there is nothing to compare", "dbbridge init"
        )
    return [find(name, list(carried)) for name in names] or list(carried)


class _Progress:
    """Tells the display how many rows were read, and of which table."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def __call__(self, table: TableName, rows: int) -> None:
        self._advance(rows, f"comparing {table}")

    def waits(self, reason: str) -> None:
        """The reason why nothing is read ('': it goes on)."""
        self._advance(0, f"waiting: {reason}" if reason else "comparing")


def _print(context: Context, shape: Shape, result: Verification) -> None:
    if shape in ("text", "json"):
        context.out.json(result.document())
        _print_text(context, result)
        return
    from bridge.report.formats import FORMATS

    context.out.stdout.write(FORMATS[shape](result))


def _print_text(context: Context, result: Verification) -> None:
    out = context.out
    out.table(
        ("table", "verdict", "rows", "in target", "differing", "digest", "seconds"),
        [
            (
                str(t.table),
                t.verdict,
                number(t.source_rows),
                number(t.target_rows),
                number(t.differing),
                t.digest,
                f"{t.seconds:.1f}",
            )
            for t in result.tables
        ],
        right=("rows", "in target", "differing", "seconds"),
    )
    for table in result.tables:
        for line in _details(table):
            out.line(visible(line))
    for one in result.certificates:
        out.line(f"certificate {one['id']}: {one['group']} is equal at {one['position']}")
    for refusal in result.refusals:
        out.line(f"no certificate: {refusal['table']}: {refusal['reason']} → {refusal['hint']}")
    if result.output:
        out.line(f"every difference: {result.output}")
    position = f" up to {result.position}" if result.position and result.verdict == "match" else ""
    out.line(f"{result.verdict}{position}")
    out.next(result.next)


def _details(table: TableVerdict) -> Iterator[str]:
    if table.reason:
        count = f" ({number(table.in_flight)} rows in flight)" if table.in_flight else ""
        yield f"{table.table}: {table.reason}{count}"
    for column in table.columns:
        every = "in every row that was compared" if column.whole else "rows"
        yield f"{table.table}: column {column.name} differs in {number(column.rows)} {every}"
    for difference in table.differences[:SHOWN_DIFFERENCES]:
        yield f"  {line_of(difference)}"
    if more := left_out(table, SHOWN_DIFFERENCES):
        yield f"  … and {number(more)} more (--output FILE has all)"
