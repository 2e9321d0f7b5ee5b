"""Runs verbs in this process, in a folder of their own, between two fresh databases."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bridge.cli import main as cli
from tests.fix_servers import SourceDatabase, TargetDatabase


@dataclass(frozen=True)
class Result:
    """What a verb gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> tuple[str, str]:
        """The two lines of an error, without their first words."""
        assert self.out == ""
        first, second = self.err.splitlines()
        assert first.startswith("error: ")
        assert second.startswith("hint: ")
        return first.removeprefix("error: "), second.removeprefix("hint: ")


@dataclass(frozen=True)
class Folder:
    """A working directory, its two databases, and the verbs."""

    path: Path
    source: SourceDatabase
    target: TargetDatabase
    run: Callable[..., Result]

    @property
    def source_url(self) -> str:
        """As `init` takes it, the password by a variable."""
        return self.source.url.replace(f":{self.source.server.password}@", ":env:SOURCE_PW@")

    @property
    def target_url(self) -> str:
        return self.target.url.replace(f":{self.target.server.password}@", ":env:TARGET_PW@")

    @property
    def urls(self) -> list[str]:
        return ["--source", self.source_url, "--target", self.target_url]

    def init(self, tables: str = "") -> None:
        """Makes tables in the source and the files for them."""
        if tables:
            self.execute(tables)
        assert self.run("init", *self.urls).code == 0

    def execute(self, text: str) -> None:
        """Statements in the source."""
        with closing(self.source.connect(init_command="SET sql_mode=''")) as conn:
            for statement in text.split(";"):
                conn.cursor().execute(statement)

    def file(self, table: str) -> Path:
        return Path("mappings") / self.source.name / f"{table}.yaml"

    def edit(self, table: str, old: str, new: str) -> None:
        path = self.file(table)
        text = path.read_text()
        assert old in text, text
        path.write_text(text.replace(old, new))


@pytest.fixture
def folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source_db: SourceDatabase,
    target_db: TargetDatabase,
) -> Folder:
    """A folder without files, and passwords in variables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRIDGE_CONFIG", raising=False)
    monkeypatch.delenv("BRIDGE_ENVIRONMENT", raising=False)
    monkeypatch.setenv("SOURCE_PW", source_db.server.password)
    monkeypatch.setenv("TARGET_PW", target_db.server.password)

    def run(*words: str) -> Result:
        capsys.readouterr()
        code = cli.main(words)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return Folder(tmp_path, source_db, target_db, run)
