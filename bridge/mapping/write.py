"""A TableMapping as the YAML that people review: the same mapping gives the same bytes."""

from __future__ import annotations

from bridge.mapping import yamltext
from bridge.mapping.model import ColumnMapping, Defaults, TableMapping
from bridge.mapping.notation import write_tables
from bridge.mapping.yamltext import comment, scalar, sequence

WIDTH = 100
"""Longer lines of lists and short mappings are written as blocks."""
_KEY_COLUMN = 24
_COMMENT_COLUMN = 48

DEFAULTS_HEAD = """\
# What holds for every table of this directory unless its own file says otherwise.
# A row that its target cannot hold goes to quarantine: nothing is changed or lost silently.
"""


def write_mapping(mapping: TableMapping, note: str = "") -> str:
    """The whole file; `note` is the comment behind the table's name."""
    lines = [_with_comment(f"table: {scalar(write_tables(mapping.source, mapping.target))}", note)]
    if mapping.target is None:
        if mapping.reason:
            lines.append(f"reason: {scalar(mapping.reason)}")
        return "\n".join(lines) + "\n"
    mark = f'fingerprint: "{mapping.fingerprint}"'
    lines.append(_with_comment(mark, "of the source's definition"))
    lines.append(f"schema: {mapping.schema}")
    if mapping.group:
        lines.append(f"group: {scalar(mapping.group)}")
    lines += _list("key", mapping.key)
    if mapping.where:
        lines.append(f"where: {scalar(mapping.where)}")
    lines.append(f"on_ddl: {mapping.on_ddl}")
    if mapping.lock:
        lines.append(f"copy: {{lock: {mapping.lock}}}")
    lines.append("columns:")
    width = min(_KEY_COLUMN, max((len(scalar(c.source)) for c in mapping.columns), default=0))
    lines += [column_line(column, width) for column in mapping.columns]
    lines += _list("indexes", mapping.indexes) if mapping.indexes else []
    lines += not_carried_lines(mapping)
    return "\n".join(lines) + "\n"


def column_line(column: ColumnMapping, width: int = 0, indent: str = "  ") -> str:
    """The line (or lines) of one column, its reason as trailing comment."""
    key = indent + f"{scalar(column.source)}:".ljust(width + 1)
    items = column_items(column)
    if list(items) == ["type"]:
        return _with_comment(f"{key} {scalar(column_type(column))}", column.reason)
    short = f"{key} {yamltext.mapping(items)}"
    reason = "" if column.dropped else column.reason
    if len(short) <= WIDTH:
        return _with_comment(short, reason)
    block = [f"{indent}{scalar(column.source)}:"]
    block += [f"{indent}  {name}: {value}" for name, value in items.items()]
    block[1] = _with_comment(block[1], reason)
    return "\n".join(block)


def column_items(column: ColumnMapping) -> dict[str, str]:
    """The long form of a column: key → value as YAML."""
    items = {"type": scalar(column_type(column), flow=True)}
    if column.dropped:
        return items | ({"reason": scalar(column.reason, flow=True)} if column.reason else {})
    texts = {
        "name": column.name,
        **column.policies,
        "zone": column.zone,
        "computed": column.computed,
    }
    items |= {name: scalar(value, flow=True) for name, value in texts.items() if value}
    if column.mask:
        items["mask"] = "true"
    return items


def column_type(column: ColumnMapping) -> str:
    """``datetime not null -> timestamp null``, or ``dropped``."""
    if column.dropped:
        return "dropped"
    words = {None: "", True: " null", False: " not null"}
    here, there = words[column.source_nullable], words[column.target_nullable]
    return f"{column.source_type}{here} -> {column.target_type}{there}"


def write_defaults(defaults: Defaults) -> str:
    """``_defaults.yaml``."""
    lines = [f"on_ddl: {defaults.on_ddl}"]
    lines += [f"{name}: {scalar(value)}" for name, value in defaults.policies.items()]
    return DEFAULTS_HEAD + "\n".join(lines) + "\n"


def not_carried_lines(mapping: TableMapping) -> list[str]:
    """``not_carried:`` with the reason of each; [] if there is none."""
    if not mapping.not_carried:
        return []
    items = {name: scalar(reason, flow=True) for name, reason in mapping.not_carried.items()}
    short = f"not_carried: {yamltext.mapping(items)}"
    if len(short) <= WIDTH:
        return [short]
    block = [f"  {scalar(name)}: {scalar(reason)}" for name, reason in mapping.not_carried.items()]
    return ["not_carried:", *block]


def _list(name: str, texts: tuple[str, ...]) -> list[str]:
    short = f"{name}: {sequence(texts)}"
    if len(short) <= WIDTH:
        return [short]
    return [f"{name}:", *(f"  - {scalar(text)}" for text in texts)]


def _with_comment(line: str, text: str) -> str:
    text = comment(text)
    return f"{line.ljust(_COMMENT_COLUMN)}  # {text}" if text else line
