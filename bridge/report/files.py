"""Files that a verification writes: reports, and every difference however many there are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from bridge.errors import ConfigError
from bridge.names import TableName
from bridge.report.formats import SUFFIXES
from bridge.report.verification import Difference, Verification


def writable(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The paths, looked at before hours of work; raises ConfigError."""
    found = tuple(paths)
    for path in found:
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise ConfigError(
                f"{path} cannot be written", f"is there a folder {path.parent}, and is it yours?"
            )
    if sum(not _reports(path) for path in found) > 1:
        raise ConfigError(
            "every difference goes into one file", f"reports end in {', '.join(SUFFIXES)}"
        )
    return found


def listing(paths: Iterable[Path]) -> str:
    """The file among them that gets every difference; '' if there is none."""
    return next((str(path) for path in paths if not _reports(path)), "")


def write(
    result: Verification,
    paths: Sequence[Path],
    differences: Iterable[tuple[TableName, Difference]],
) -> None:
    """Writes them all; raises ConfigError for one that cannot be written now."""
    for path in paths:
        try:
            with path.open("w", encoding="utf-8") as file:
                if _reports(path):
                    file.write(SUFFIXES[path.suffix](result))
                    continue
                for table, difference in differences:
                    document = {"table": str(table), **difference.document()}
                    file.write(json.dumps(document, ensure_ascii=False) + "\n")
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def _reports(path: Path) -> bool:
    return path.suffix in SUFFIXES
