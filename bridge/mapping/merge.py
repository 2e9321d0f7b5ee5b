"""`init` run again: what is new in the source is added to a file, what a person wrote is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bridge.errors import MappingError
from bridge.mapping import keys, write, yamltext
from bridge.mapping.edit import Editor
from bridge.mapping.model import ColumnMapping, TableMapping
from bridge.mapping.notation import normal_source, source_type
from bridge.mapping.read import read_mapping
from bridge.types.table import SourceTable
from bridge.yamlfile import parse


@dataclass(frozen=True, slots=True)
class Merged:
    """The file's new text, what was added, and what a person has to decide."""

    text: str
    added: tuple[str, ...] = ()
    open: tuple[str, ...] = ()


def merge(text: str, mapping: TableMapping, proposal: TableMapping, table: SourceTable) -> Merged:
    """Adds new columns and indexes of `proposal` to a file that was read as `mapping`.

    The fingerprint is brought up to date only if nothing is left to decide. Raises MappingError
    where the file is written in a way that cannot be added to.
    """
    if mapping.target is None:
        return Merged(text)
    path = Path(mapping.file)
    new = [column for column in proposal.columns if mapping.column(column.source) is None]
    indexes = [n for n in proposal.indexes if not _mentioned(mapping, n)]
    left = {n: why for n, why in proposal.not_carried.items() if not _mentioned(mapping, n)}
    undecided = _undecided(mapping, table)
    editor = Editor(text, path)
    if new:
        _add_columns(editor, new)
    if indexes:
        editor.add_texts("indexes", indexes)
    if left:
        items = {name: yamltext.scalar(why, flow=True) for name, why in left.items()}
        lines = [f"  {yamltext.scalar(name)}: {why}" for name, why in items.items()]
        editor.add_items("not_carried", items, lines)
    added = [f"column {column.source}" for column in new]
    added += [f"index {name}" for name in (*indexes, *left)]
    if mapping.fingerprint != table.fingerprint and not undecided:
        editor.set_text("fingerprint", table.fingerprint)
        added = added or ["the definition's fingerprint"]
    if editor.text != text:
        _prove(editor, mapping, new, (*indexes, *left))
    return Merged(editor.text, tuple(added), tuple(undecided))


def _mentioned(mapping: TableMapping, index: str) -> bool:
    return index in mapping.indexes or index in mapping.not_carried


def _add_columns(editor: Editor, new: list[ColumnMapping]) -> None:
    width = max(len(yamltext.scalar(column.source)) for column in new)
    items = {c.source: yamltext.mapping(write.column_items(c)) for c in new}
    editor.add_items("columns", items, [write.column_line(column, width) for column in new])


def _undecided(mapping: TableMapping, table: SourceTable) -> list[str]:
    """Differences between file and source that a person has to settle."""
    found = []
    sources = {column.name: column for column in table.columns}
    for column in mapping.columns:
        source = sources.get(column.source)
        if source is None:
            found.append(f"column {column.source} is gone from the source: remove its line")
        elif not column.dropped and normal_source(column.source_type) != source_type(source):
            found.append(
                f"column {column.source} was {column.source_type}, now it is {source_type(source)}:"
                " change its line"
            )
        elif column.source_nullable not in (None, source.nullable):
            word = "null" if source.nullable else "not null"
            found.append(f"column {column.source} is now {word}: change its line")
    possible = keys.possible_keys(table)
    if mapping.key not in possible and (mapping.key or table.primary_key):
        shown = f"[{', '.join(possible[0])}]" if possible else "[]"
        found.append(f"the key [{', '.join(mapping.key)}] is no key any more: write key: {shown}")
    known = {index.name for index in table.indexes}
    gone = [name for name in (*mapping.indexes, *mapping.not_carried) if name not in known]
    return found + [f"index {name} is gone from the source: remove its name" for name in gone]


def _prove(
    editor: Editor, mapping: TableMapping, new: list[ColumnMapping], indexes: tuple[str, ...]
) -> None:
    """The new text says what the old one said and what was added, nothing else."""
    now = read_mapping(parse(editor.text, editor.path, texts_only=True), mapping.defaults)
    columns = [column.source for column in (*mapping.columns, *new)]
    same = (
        now.columns[: len(mapping.columns)] == mapping.columns
        and [column.source for column in now.columns] == columns
        and (now.source, now.target, now.key, now.where, now.group, now.on_ddl, now.lock)
        == (
            mapping.source, mapping.target, mapping.key, mapping.where, mapping.group,
            mapping.on_ddl, mapping.lock,
        )
        and all(_mentioned(now, name) for name in (*mapping.indexes, *indexes))
    )  # fmt: skip
    if not same:
        raise MappingError(
            f"{editor.path}: new columns cannot be added to a file that is written like this",
            f"write by hand: {', '.join([column.source for column in new] + list(indexes))}",
        )
