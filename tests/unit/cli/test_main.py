"""The command line's frame: two-line errors, exit codes, options before and after the verb."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import psycopg
import pymysql
import pytest
import typer

from bridge.cli import main as cli
from bridge.cli.context import of
from bridge.errors import (
    BridgeError,
    ConfigError,
    Inconclusive,
    MappingError,
    ServerRefused,
    ServerUnreachable,
)

SETTINGS = """\
databases: {a: {url: "mysql://u:secret@h/shop"}, b: {url: "postgresql://u@h/shop"}}
pipeline: {source: a, target: b}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRIDGE_CONFIG", raising=False)
    (tmp_path / "bridge.yaml").write_text(SETTINGS)
    return tmp_path


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Makes `config` a verb that fails."""

    def register(app: typer.Typer) -> None:
        @app.command("config")
        def fail(ctx: typer.Context) -> None:
            raise error

    module = type(sys)("failing_verb")
    module.register = register  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "failing_verb", module)
    monkeypatch.setitem(cli.VERBS, "config", ("failing_verb", ""))
    monkeypatch.setattr(cli.app, "registered_commands", cli.app.registered_commands)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BridgeError("m", "h"), 1),
        (ConfigError("m", "h"), 2),
        (MappingError("m", "h"), 2),
        (Inconclusive("m", "h"), 3),
        (ServerUnreachable("m", "h"), 4),
        (ServerRefused("m", "h"), 4),
    ],
)
def test_errors_are_two_lines_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BridgeError,
    code: int,
) -> None:
    raising(monkeypatch, error)
    assert cli.main(["config"]) == code
    assert lines(capsys) == ["error: m", "hint: h"]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (pymysql.err.OperationalError(2013, "Lost connection"), 4, "cannot be reached"),
        (pymysql.err.OperationalError(1142, "SELECT command denied"), 4, "SELECT command denied"),
        (psycopg.OperationalError("server closed the connection"), 4, "cannot be reached"),
        (psycopg.DatabaseError("server closed the connection"), 4, "cannot be reached"),
        (psycopg.errors.InsufficientPrivilege("permission denied"), 4, "permission denied"),
        (FileNotFoundError(2, "No such file or directory", "x"), 4, "x: No such file"),
        (ZeroDivisionError("oops"), 3, "internal error: ZeroDivisionError: oops"),
    ],
)
def test_errors_of_others(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    said: str,
) -> None:
    raising(monkeypatch, error)
    assert cli.main(["config"]) == code
    error_line, hint = lines(capsys)
    assert said in error_line
    assert hint.startswith("hint: ")


def test_an_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    raising(monkeypatch, KeyboardInterrupt())
    assert cli.main(["config"]) == 130


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, ConfigError("m", "h"))
    assert cli.main(["config", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (["confg"], "'confg'", "did you mean config?"),
        (["config", "shw"], "'shw'", "did you mean show?"),
        (["config", "show", "--formt", "json"], "--formt", "did you mean --format?"),
        (["config", "show", "--format", "jsn"], "text or json", "dbbridge config show --help"),
        (["config", "show", "more"], "more", "dbbridge config show --help"),
        (["init", "--source"], "--source", "--help"),
        (["--nothing"], "--nothing", "dbbridge --help"),
    ],
)
def test_usage_errors(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str, hint: str
) -> None:
    assert cli.main(arguments) == 2
    error_line, hint_line = lines(capsys)
    assert error_line.startswith("error: ")
    assert said in error_line
    assert hint in hint_line


def test_without_a_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "Verbs:" in capsys.readouterr().err


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_every_verb_shows_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        assert cli.main([verb, "--help"]) == 0
    except ModuleNotFoundError:
        pytest.fail(f"{verb} has no module")
    assert f"dbbridge {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--format", "json", "-c", "bridge.yaml", "config", "show"],
        ["config", "show", "--format", "json", "--config", "bridge.yaml"],
        ["config", "show", "--format=json"],
    ],
)
def test_options_before_and_after_the_verb(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert cli.main(arguments) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["pipeline.name"] == {"value": "shop", "from": "default: the source database"}
    assert "secret" not in str(shown)


def test_the_settings_may_be_named_by_a_variable(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "bridge.yaml").rename(here / "other.yaml")
    assert cli.main(["config", "show"]) == 2
    monkeypatch.setenv("BRIDGE_CONFIG", "other.yaml")
    assert cli.main(["config", "show"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "next: dbbridge check"


def test_a_verb_reaches_the_context(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    def register(app: typer.Typer) -> None:
        group = typer.Typer()

        @group.command("deep")
        def deep(ctx: typer.Context) -> None:
            context = of(ctx)
            context.out.line(f"{context.pipeline} {context.format} {context.command('status')}")

        app.add_typer(group, name="config")

    module = type(sys)("deep_verb")
    module.register = register  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "deep_verb", module)
    monkeypatch.setitem(cli.VERBS, "config", ("deep_verb", ""))
    (here / "my file.yaml").write_text(SETTINGS)
    assert cli.main(["config", "deep", "-c", "my file.yaml"]) == 0
    assert capsys.readouterr().out == "shop text dbbridge status -c 'my file.yaml'\n"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["config", "show", "-c", "bridge.yaml", "--format", "json"]]
)
def test_what_needs_no_driver_imports_nothing_that_is_slow(
    here: Path, arguments: list[str]
) -> None:
    code = (
        f"import sys; from bridge.cli.main import main; assert main({arguments}) == 0;"
        "print([m for m in ('pymysql', 'psycopg', 'pydantic', 'sqlglot') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.splitlines()[-1] == "[]"


def environment() -> dict[str, str]:
    """A process elsewhere finds the checkout."""
    return {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["a"], ("a", None, 3, [], False, None)),
        (["a", "--name", "", "--yes"], ("a", "", 3, [], True, None)),
        (
            ["7", "--count", "5", "--number", "1", "--number", "2"],
            ("7", None, 5, [1, 2], False, None),
        ),
        (
            ["a", "--path", "b/c", "--path", "d"],
            ("a", None, 3, [], False, [Path("b/c"), Path("d")]),
        ),
    ],
)
def test_values_are_of_the_types_that_a_verb_names(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], given: object
) -> None:
    found: list[object] = []

    def register(app: typer.Typer) -> None:
        @app.command("config")
        def typed(
            word: str,
            name: Annotated[str | None, typer.Option()] = None,
            count: Annotated[int, typer.Option(min=1, max=9)] = 3,
            number: Annotated[list[int], typer.Option()] = [],  # noqa: B006 (Typer reads it)
            yes: Annotated[bool, typer.Option("--yes")] = False,
            path: Annotated[list[Path] | None, typer.Option()] = None,
        ) -> None:
            found.append((word, name, count, number, yes, path))

    module = type(sys)("typed_verb")
    module.register = register  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "typed_verb", module)
    monkeypatch.setitem(cli.VERBS, "config", ("typed_verb", ""))
    assert cli.main(["config", *arguments]) == 0
    assert found == [given]
    assert cli.main(["config", "a", "--count", "10"]) == 2
    assert cli.main(["config", "a", "--number", "x"]) == 2
    assert cli.main(["config"]) == 2


def test_a_reader_that_goes_away_is_an_interrupt() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "bridge.cli.start", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (130, b"")
