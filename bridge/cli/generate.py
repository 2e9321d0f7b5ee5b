"""``dbbridge generate``: typed models of both databases, as two Python packages."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.context import Context, of
from bridge.errors import ConfigError

_FOLDER = "models"


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("generate", epilog="Example: dbbridge generate --dir app/models")(generate)


def generate(
    ctx: typer.Context,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="Where legacy/ and target/ go. [default: models]"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; 1 if files are not up to date.")
    ] = False,
) -> None:
    """Write SQLAlchemy classes and pydantic models of both databases from the mapping.

    Reads the source's catalogue. With --check it reads mapping files and models only, and needs no
    database.
    """
    context = of(ctx)
    folder = directory or context.config_path.parent / _FOLDER
    given = "" if directory is None else f" --dir {shlex.quote(str(directory))}"
    again = context.command(f"generate{given}")
    if check:
        found = _check(folder, _mark(context))
        _print(context, found, [], again if _differing(found) else context.command("status"))
        if _differing(found):
            raise typer.Exit(1)
    else:
        found, notes = _write(context, folder)
        _print(context, found, notes, f"{again} --check")


@dataclass(frozen=True, slots=True)
class _File:
    """One file: written, unchanged, current, or differs (`why`)."""

    file: str
    outcome: str
    why: str = ""


def _database(context: Context) -> str:
    """The source's own database; no secret is needed to know it."""
    settings = context.settings
    return settings.endpoint(settings.pipeline.source, secrets=False).database


def _mark(context: Context) -> str:
    from bridge.generate.package import fingerprint

    return fingerprint(context.mappings().values(), _database(context))


def _check(folder: Path, mark: str) -> list[_File]:
    from bridge.generate.package import FILES, PARENT, stale, written_here

    found = []
    for name in FILES:
        text = _read(folder / name)
        if name == PARENT and text is not None and not written_here(text):
            continue
        why = "is missing" if text is None else stale(text, mark)
        found.append(_File(str(folder / name), "differs" if why else "current", why))
    return found


def _write(context: Context, folder: Path) -> tuple[list[_File], list[str]]:
    from bridge.generate.model import build
    from bridge.generate.package import FILES, PARENT, write, written_here
    from bridge.mapping.files import write_file

    there = {name: _read(folder / name) for name in FILES}
    foreign = {name for name, text in there.items() if text is not None and not written_here(text)}
    for name in FILES:
        if name in foreign - {PARENT}:
            raise ConfigError(
                f"{folder / name} was not written by dbbridge generate, and is left as it is",
                "move it away, or choose another folder with --dir",
            )
    mark = _mark(context)
    models = build(context.plans().values(), _database(context))
    found = []
    for name, text in write(models, mark).items():
        if name in foreign:
            continue
        outcome = "unchanged" if there[name] == text else "written"
        if outcome == "written":
            write_file(folder / name, text)
        found.append(_File(str(folder / name), outcome))
    return found, list(models.notes)


def _read(path: Path) -> str | None:
    """The file's text, whatever ends its lines; None if there is none. Raises ConfigError."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "check the path and its rights") from error


def _differing(found: list[_File]) -> bool:
    return any(each.outcome == "differs" for each in found)


def _print(context: Context, found: list[_File], notes: list[str], following: str) -> None:
    out = context.out
    out.table(
        ("file", "outcome"),
        [
            (each.file, f"{each.outcome}: {each.why}" if each.why else each.outcome)
            for each in found
        ],
    )
    for note in notes:
        out.line(f"note: {note}")
    out.json({"files": found, "notes": notes})
    out.next(following)
