"""``dbbridge check``: what would go wrong, before anything starts."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.context import Context, of

if TYPE_CHECKING:
    from bridge.findings import Finding


class Purpose(StrEnum):
    """What the check is for; the stream needs all that the copy needs."""

    copy = "copy"
    stream = "stream"
    cutover = "cutover"


_ONLY_STREAM = frozenset(
    {"S003", "S004", "S005", "S006", "S007", "S008", "S010", "S013", "S015", "S016", "G002"}
    | {"G004", "T009", "T010"}
)
"""Findings that concern reading changes, not rows."""


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("check", epilog="Example: dbbridge check --for copy --format json")(check)


def check(
    ctx: typer.Context,
    purpose: Annotated[Purpose, typer.Option("--for", help="What is to be done.")] = Purpose.stream,
    every: Annotated[
        bool, typer.Option("--all", help="Show notes as well, not only what needs a decision.")
    ] = False,
) -> None:
    """Look at server settings, grants, definitions and rows for what would go wrong.

    Exits with 1 if there are errors. The exact GRANT lines for missing rights are printed.
    """
    from bridge.cli.check_cutover import check_cutover
    from bridge.cli.survey import survey

    context = of(ctx)
    if purpose is Purpose.cutover:
        check_cutover(context)
        return
    found = survey(context).sorted()
    if purpose is Purpose.copy:
        # A copy that the bridge makes by itself does not pass through Kafka.
        letters = "K" if context.settings.pipeline.capture.snapshot == "bridge" else ""
        found = [one for one in found if not _only_stream(one, letters)]
    errors = sum(one.severity == "error" for one in found)
    _print(context, found, every=every)
    if errors:
        context.out.next(context.command("check"))
        raise typer.Exit(1)
    context.out.next(context.command("schema plan"))


def _only_stream(one: Finding, letters: str) -> bool:
    return one.code in _ONLY_STREAM or one.code[0] in letters


def _print(context: Context, found: list[Finding], *, every: bool) -> None:
    from bridge.cli.survey import rights

    out = context.out
    lines = rights(found)
    out.json({"ok": not any(f.severity == "error" for f in found), "findings": found, **lines})
    shown = [one for one in found if every or one.severity != "info"]
    if shown:
        out.table(
            ("severity", "code", "table", "column", "finding"),
            [(f.severity, f.code, f.table, f.column, f.message) for f in shown],
        )
        out.line()
    for one in _first_of_each(shown):
        if (
            one.severity != "info"
            and one.hint
            and one.hint not in [*lines["source"], *lines["target"]]
        ):
            out.line(f"{one.code} {one.slug}: {one.hint}")
    for side, grants in lines.items():
        if grants:
            out.line(f"run on the {side}, as an administrator:")
            for line in grants:
                out.line(f"  {line}")
    words = {"error": "error", "warning": "warning", "info": "note"}
    counts = [
        _counted(sum(one.severity == severity for one in found), word)
        for severity, word in words.items()
    ]
    hidden = " (--all shows them)" if len(shown) < len(found) else ""
    out.line(f"{', '.join(counts)}{hidden}; `dbbridge explain CODE` tells more")


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _first_of_each(found: list[Finding]) -> list[Finding]:
    """One finding of each kind (and of each hint), to say once what to do."""
    return list({(one.code, one.hint): one for one in found}.values())
