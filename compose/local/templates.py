"""Data directories initialised once for each build of a server, and copied afterwards."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from compose.local import places
from compose.local.processes import run
from compose.local.programs import Program
from compose.local.recipes import RECIPES

LAYOUT = 1  # to be raised when what `initialise` makes changes


@dataclass(frozen=True)
class Template:
    """An initialised data directory and the password of its administrator."""

    data: Path
    password: str

    def copy(self, data: Path) -> None:
        """Copy the data, with owners; shares the blocks where the file system can."""
        run(["cp", "-a", "--reflink=auto", self.data, data])


def ready(program: Program) -> Template:
    """The template of this build, made if need be."""
    name = f"{program.identity}-{LAYOUT}"
    folder = places.folder("templates") / name
    if not folder.exists():
        with places.locked(f"template-{name}"):
            if not folder.exists():
                _make(program, folder)
    return Template(folder / "data", (folder / "password").read_text())


def _make(program: Program, folder: Path) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    partial.chmod(0o755)
    password = secrets.token_hex(12)
    RECIPES[program.kind].initialise(program, partial / "data", password)
    (partial / "password").touch(mode=0o600)
    (partial / "password").write_text(password)
    partial.rename(folder)
