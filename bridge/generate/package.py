"""The files of both packages, and the marks by which they are known again.

The first line says who wrote the file; the second holds the mapping's fingerprint and the one of
the text below, so that `stale` can tell without any database whether it would be written anew.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from bridge.generate.layout import docstring, imports, literal
from bridge.generate.model import SCHEMA, Models
from bridge.generate.schemas import schemas
from bridge.generate.shape import Side
from bridge.generate.tables import tables
from bridge.mapping.model import TableMapping

FORMAT = 1
"""Part of the mapping's fingerprint: grows when the same mapping gives other files than before."""
MARKER = "# Written by dbbridge generate, which overwrites it; do not edit."
MODULES = ("tables.py", "schemas.py", "__init__.py")
"""The files of a package, in the order in which they are written."""
PARENT = "__init__.py"
"""What makes one package of both; the user's own is as good."""
FILES = (*(f"{side.value}/{module}" for side in Side for module in MODULES), PARENT)
_SECOND = re.compile(r"# mapping ([0-9a-f]{16}), text ([0-9a-f]{16})")


def write(models: Models, mark: str) -> dict[str, str]:
    """The text of each file of `FILES`; `mark` is the mapping's fingerprint."""
    found = {}
    for side in Side:
        lines = {
            "tables.py": tables(models, side),
            "schemas.py": schemas(models, side),
            "__init__.py": _init(models, side),
        }
        for module in MODULES:
            found[f"{side.value}/{module}"] = _file(lines[module], mark)
    title = "Typed models of both databases: `legacy` is the source, `target` the target."
    return found | {PARENT: _file([docstring(title)], mark)}


def fingerprint(mappings: Iterable[TableMapping], database: str) -> str:
    """Sixteen hex digits over what the mapping says that the models depend on."""
    said = [
        (
            str(mapping.source),
            str(mapping.target),
            mapping.fingerprint,
            mapping.key,
            sorted(mapping.indexes),
            sorted(mapping.defaults.policies.items()),
            [
                (
                    column.source,
                    column.source_type,
                    column.target_type,
                    column.target_nullable,
                    column.name,
                    sorted(column.policies.items()),
                    column.computed,
                    column.dropped,
                )
                for column in sorted(mapping.columns, key=lambda column: column.source)
            ],
        )
        for mapping in sorted(mappings, key=lambda mapping: mapping.source)
        if mapping.target is not None
    ]
    return _hash(repr((FORMAT, database, said)))


def _file(lines: list[str], mark: str) -> str:
    text = "\n".join(["", *lines, ""])
    return f"{MARKER}\n# mapping {mark}, text {_hash(text)}\n{text}"


def written_here(text: str) -> bool:
    """Whether the file is one of ours."""
    return text.partition("\n")[0] == MARKER


def stale(text: str, mark: str) -> str:
    """Why the file is not what `write` would give for this mapping; '' if it is."""
    if not written_here(text):
        return "was not written by dbbridge generate"
    second, _, body = text.partition("\n")[2].partition("\n")
    match = _SECOND.fullmatch(second)
    if match is None or _hash(body) != match[2]:
        return "was edited"
    return "" if match[1] == mark else "was written for another mapping"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _init(models: Models, side: Side) -> list[str]:
    title = "source" if side is Side.legacy else "target"
    rows = [f"Base{SCHEMA}", *(f"{entity.name}{SCHEMA}" for entity in models.entities)]
    classes = [
        "Base",
        *(entity.name for entity in models.entities),
        *(labels.name for labels in models.labels),
    ]
    exported = sorted({*rows, *classes})
    return [
        docstring(f"Typed models of the {title} database."),
        "",
        *imports(".schemas", rows),
        *imports(".tables", classes),
        "",
        "__all__ = [",
        *(f"    {literal(name)}," for name in exported),
        "]",
    ]
