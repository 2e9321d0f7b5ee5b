"""Python source as `ruff format` leaves it at 100 characters a line.

A bracket is written on one line where it fits, and else with one item a line and a comma after
each, which the formatter keeps. Where not even the beginning fits, the formatter is told to leave
the line alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bridge.mapping.yamltext import by_number

WIDTH = 100
_INDENT = "    "
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


@dataclass(frozen=True, slots=True)
class Group:
    """``head(item, item)``; `label` stands before it, as in ``key=head(…)``."""

    head: str
    items: tuple[Node, ...]
    tail: str = ")"
    label: str = ""

    def labelled(self, label: str) -> Group:
        """The same behind another label."""
        return Group(self.head, self.items, self.tail, label)


Node = str | Group


def call(name: str, *items: Node | None) -> Group:
    """``name(item, …)``; items that are None are left out."""
    return Group(f"{name}(", tuple(item for item in items if item is not None))


def listed(items: Iterable[Node]) -> Group:
    """``[item, …]``."""
    return Group("[", tuple(items), "]")


def keyword(name: str, value: Node) -> Node:
    """``name=value``."""
    return value.labelled(f"{name}=") if isinstance(value, Group) else f"{name}={value}"


def entry(key: str, value: Node) -> Node:
    """``"key": value`` of a dictionary."""
    label = f"{literal(key)}: "
    return value.labelled(label) if isinstance(value, Group) else f"{label}{value}"


def flat(node: Node) -> str:
    """The node on one line."""
    if isinstance(node, str):
        return node
    # A tuple of one item needs its comma.
    comma = "," if node.head == "(" and len(node.items) == 1 else ""
    return f"{node.label}{node.head}{', '.join(map(flat, node.items))}{comma}{node.tail}"


def statement(prefix: str, node: Node, depth: int = 0) -> list[str]:
    """The lines of ``prefix node``, indented `depth` times."""
    indent = _INDENT * depth
    line = f"{indent}{prefix}{flat(node)}"
    if len(line) <= WIDTH:
        return [line]
    if isinstance(node, str) or len(f"{indent}{prefix}{node.label}{node.head}") > WIDTH:
        return [f"{line}  # fmt: skip"]
    return _exploded(prefix, node, depth, "")


def heading(name: str, base: str) -> list[str]:
    """``class name(base):``."""
    return statement(f"class {name}({base}):", "")


def _exploded(prefix: str, node: Group, depth: int, end: str) -> list[str]:
    indent = _INDENT * depth
    lines = [f"{indent}{prefix}{node.label}{node.head}"]
    for item in node.items:
        line = f"{indent}{_INDENT}{flat(item)},"
        if len(line) <= WIDTH or isinstance(item, str) or not item.items:
            lines.append(line)
        else:
            lines += _exploded("", item, depth + 1, ",")
    return [*lines, f"{indent}{node.tail}{end}"]


def literal(text: str) -> str:
    """A string constant: in double quotes, unless single ones need fewer escapes."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    inner = "".join(_escaped(character, quote) for character in text)
    return f"{quote}{inner}{quote}"


def strings(texts: Iterable[str]) -> Group:
    """A list of string constants."""
    return listed(map(literal, texts))


def docstring(text: str, depth: int = 0) -> str:
    """A docstring of one line, of a text that `fits_docstring`."""
    return f'{_INDENT * depth}"""{text}"""'


def fits_docstring(text: str, depth: int = 1) -> bool:
    """Whether a text is one short line that needs no escapes."""
    short = len(text) + len(_INDENT) * depth + 6 <= WIDTH
    plain = text.isprintable() and "\\" not in text and '"' not in text
    return bool(text) and text == text.strip() and short and plain


def imports(module: str, names: Sequence[str]) -> list[str]:
    """``from module import names``, sorted as import sorters do; [] without names."""
    if not names:
        return []
    ordered = sorted(set(names), key=_import_order)
    line = f"from {module} import {', '.join(ordered)}"
    if len(line) <= WIDTH:
        return [line]
    return [f"from {module} import (", *(f"{_INDENT}{name}," for name in ordered), ")"]


def _import_order(name: str) -> tuple[int, str, str]:
    """Constants, classes, the rest; each without regard to case."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name.lower(), name


def _escaped(character: str, quote: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character == quote:
        return f"\\{quote}"
    return by_number(character)
