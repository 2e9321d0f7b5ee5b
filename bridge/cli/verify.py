"""`dbbridge verify`: source and target compared while the application writes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from bridge.cli.context import Context, of
from bridge.cli.output import Advance, number
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from bridge.names import TableName
    from bridge.report.verification import Difference, TableVerdict, Verification
    from bridge.verify.found import Sink
    from bridge.verify.run import Followed, Unfit
    from bridge.verify.subject import Level

Shape = Literal["text", "json", "junit", "markdown", "html"]
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
        output: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="Every difference, one JSON object a line."),
        ] = None,
        format: Annotated[
            str | None, typer.Option("--format", metavar="|".join(SHAPES), help="What is printed.")
        ] = None,
    ) -> None:
        context = of(ctx)
        if level not in LEVELS:
            raise ConfigError(f"“{level}” is not a level", f"it is one of {', '.join(LEVELS)}")
        shape = _shape(context, format)
        result = run(context, tables or [], cast("Level", level), output)
        _print(context, shape, result)
        from bridge.report.verification import EXIT_CODES

        raise typer.Exit(EXIT_CODES[result.verdict])


def _shape(context: Context, given: str | None) -> Shape:
    if given is None:
        return context.format
    if given not in SHAPES:
        raise ConfigError(f"“{given}” is not a format", f"it is one of {', '.join(SHAPES)}")
    context.format = "text" if given == "text" else "json"
    return cast("Shape", given)


def run(context: Context, names: list[str], level: Level, output: Path | None) -> Verification:
    """The comparison; raises ConfigError for a table that nobody knows."""
    from dataclasses import replace

    from bridge.verify import run as verifying

    chosen = _chosen(context, names)
    rows = sum(table.rows for table in chosen if isinstance(table, verifying.Followed))
    with (
        _writer(output) as sink,
        context.out.progress("comparing", float(rows) or None) as advance,
    ):
        result = verifying.verify(
            context.pipeline,
            chosen,
            level,
            _Sessions(context),
            sink=sink,
            progress=_Progress(advance),
        )
    return replace(result, output=str(output or ""))


def _chosen(context: Context, names: list[str]) -> list[Followed | Unfit]:
    from bridge.cli.tables import find
    from bridge.mapping.files import read_all
    from bridge.verify.run import followed, prepare

    states = followed(context.target(autocommit=True), context.pipeline)
    mapped = read_all(context.settings.mappings)
    carried = {name for name, mapping in mapped.items() if mapping.target is not None}
    known = sorted(carried | states.keys())
    if not known:
        raise ConfigError(
            "the mapping carries no table, so there is nothing to compare", "dbbridge init"
        )
    wanted = [find(name, known) for name in names] or known
    return prepare(context.source(), states, wanted)


class _Sessions:
    """Opens sessions for the run; whoever opens them closes them."""

    def __init__(self, context: Context) -> None:
        self._source = context.source_endpoint
        self._target = context.target_endpoint

    def source(self) -> Any:
        """See Sessions."""
        from bridge.databases import mysql

        return mysql.connect(self._source)

    def target(self) -> Any:
        """See Sessions."""
        from bridge.databases import postgres

        return postgres.connect(self._target, autocommit=True, application_name="dbbridge verify")


class _Progress:
    """Tells the display how many rows were read, and of which table."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def __call__(self, table: TableName, rows: int) -> None:
        self._advance(rows, f"comparing {table}")


@contextlib.contextmanager
def _writer(path: Path | None) -> Iterator[Sink]:
    """Writes differences as they are confirmed, a line each."""
    if path is None:
        yield lambda _, __: None
        return
    with path.open("w", encoding="utf-8") as file:

        def write(table: TableName, difference: Difference) -> None:
            document = {"table": str(table), **difference.document()}
            file.write(json.dumps(document, ensure_ascii=False) + "\n")

        yield write


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
            out.line(line)
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
        yield f"  {_shown(difference)}"
    more = len(table.differences) - SHOWN_DIFFERENCES
    if more > 0:
        yield f"  … and {number(table.differing - SHOWN_DIFFERENCES)} more (--output FILE has all)"


def _shown(difference: Difference) -> str:
    key = ", ".join(f"{name}={value}" for name, value in difference.key.items())
    rows = "" if difference.key else f"{difference.rows} rows "
    columns = "; ".join(
        f"{c.name}: {_value(c.source)} → {_value(c.target)}" for c in difference.columns
    )
    return f"{difference.kind} {rows}{key}{': ' if columns else ''}{columns}"


def _value(text: str | None) -> str:
    return "NULL" if text is None else repr(text)
