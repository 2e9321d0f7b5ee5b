"""Mapping files on disk: ``mappings/<database>/<table>.yaml`` beside ``_defaults.yaml``.

The only module of this room that touches files. What a file is about is said inside it; its name is
for people.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from bridge import yamlfile
from bridge.errors import ConfigError, MappingError
from bridge.mapping.compile import check_together
from bridge.mapping.model import Defaults, TableMapping
from bridge.mapping.read import did_you_mean, listed, read_defaults, read_mapping
from bridge.names import TableName

DEFAULTS_FILE = "_defaults.yaml"
_UNSAFE = re.compile(r'[%/\\:*?"<>|\x00-\x1f\x7f]|^[._]|[. ]$')
"""What some file system does not take, and what would hide a file or meet _defaults.yaml."""


def read_all(directory: Path) -> dict[TableName, TableMapping]:
    """Every mapping below `directory`, in the order of table names.

    Raises MappingError for a wrong file, for two files about one table, and for two tables with one
    target; ConfigError if there are no files at all.
    """
    found: dict[TableName, TableMapping] = {}
    for path, defaults in _files(directory):
        mapping = read_file(path, defaults)
        other = found.get(mapping.source)
        if other is not None:
            raise mapping.error(
                ("table",), f"{mapping.source} is mapped in {other.file} too", "remove one of them"
            )
        found[mapping.source] = mapping
    if not found:
        raise ConfigError(
            f"there are no mapping files in {directory}",
            "run `dbbridge init --source URL --target URL`",
        )
    check_together(found.values())
    return {name: found[name] for name in sorted(found)}


def read_file(path: Path, defaults: Defaults) -> TableMapping:
    """One mapping file. Raises MappingError."""
    try:
        document = yamlfile.read(path, texts_only=True)
    except ConfigError as error:
        raise MappingError(error.message, error.hint) from error
    return read_mapping(document, defaults)


def choose(
    mappings: dict[TableName, TableMapping], words: Collection[str]
) -> dict[TableName, TableMapping]:
    """The mappings that `words` name (``orders`` or ``shop.orders``); all if there are no words.

    Raises ConfigError for a word that names no mapped table, or more than one.
    """
    if not words:
        return mappings
    chosen = {}
    for word in words:
        names = [name for name in mappings if word in (str(name), name.table)]
        if len(names) != 1:
            known = list(map(str, names or mappings))
            close = did_you_mean(word, [*known, *(name.table for name in mappings)])
            what = "names several tables" if names else "is no mapped table"
            raise ConfigError(
                f"“{word}” {what}",
                f"{close}mapped are {listed(known)}",
            )
        chosen[names[0]] = mappings[names[0]]
    return chosen


def defaults_of(directory: Path) -> Defaults:
    """What a directory's _defaults.yaml says. Raises MappingError."""
    path = directory / DEFAULTS_FILE
    if not path.is_file():
        return Defaults()
    try:
        document = yamlfile.read(path, texts_only=True)
    except ConfigError as error:
        raise MappingError(error.message, error.hint) from error
    return read_defaults(document)


def path_for(directory: Path, table: TableName, taken: Collection[Path] = ()) -> Path:
    """Where a new table's file goes, beside the files in `taken`.

    Characters that a file system may refuse are percent-encoded; where two names differ only by
    case, the later one gets a hash, since some file systems see no difference.
    """
    folder = directory / file_name(table.schema)
    path = folder / f"{file_name(table.table)}.yaml"
    if str(path).casefold() in {str(other).casefold() for other in taken}:
        mark = hashlib.sha256(table.table.encode()).hexdigest()[:8]
        path = folder / f"{file_name(table.table)}~{mark}.yaml"
    return path


def file_name(name: str) -> str:
    """A table's or database's name as the name of a file."""
    return _UNSAFE.sub(lambda match: "".join(f"%{b:02X}" for b in match[0].encode()), name)


def write_file(path: Path, text: str) -> None:
    """Writes a file whole or not at all. Raises ConfigError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", newline="\n", dir=path.parent, suffix=".tmp", delete=False
        ) as file:
            file.write(text)
        new = Path(file.name)
        new.chmod(0o644)
        new.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "check the path and its rights") from error


def _files(directory: Path) -> Iterator[tuple[Path, Defaults]]:
    folders = sorted({path.parent for path in directory.glob("**/*.yaml")})
    for folder in folders:
        defaults = defaults_of(folder)
        for path in sorted(folder.glob("*.yaml")):
            if path.name != DEFAULTS_FILE:
                yield path, defaults
