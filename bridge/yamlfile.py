"""YAML read with the line of every value, so that an error can name file and line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from bridge.errors import ConfigError

Place = tuple[str | int, ...]
"""The keys that lead to a value: ('databases', 'legacy', 'url')."""

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file: plain values, and the line (from 1) of each of them."""

    path: Path
    data: Any
    lines: Mapping[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """The line of a value, or of the nearest value around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def at(self, place: Place) -> str:
        """``file:line``, for messages."""
        return f"{self.path}:{self.line(place)}"


def read(path: Path) -> Document:
    """Reads a YAML file; raises ConfigError with file and line."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}", "save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "check the path and its rights") from error
    return parse(text, path)


def parse(text: str, path: Path) -> Document:
    """The same for a text; `path` is for messages. Raises ConfigError."""
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path}:{line}: {error.problem or error}", "correct the YAML") from error
    lines: dict[Place, int] = {(): 1}
    data = None if root is None else _plain(root, (), lines, path)
    return Document(path, data, lines)


def _plain(node: Node, place: Place, lines: dict[Place, int], path: Path) -> Any:
    if isinstance(node, MappingNode):
        return _mapping(node, place, lines, path)
    if isinstance(node, SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            lines[(*place, index)] = item.start_mark.line + 1
            items.append(_plain(item, (*place, index), lines, path))
        return items
    assert isinstance(node, ScalarNode)
    return _scalar(node)


def _mapping(
    node: MappingNode, place: Place, lines: dict[Place, int], path: Path
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, ScalarNode):
            raise ConfigError(f"{path}:{line}: a key must be one word", "quote it")
        key = str(key_node.value)
        if key in found:
            raise ConfigError(f"{path}:{line}: “{key}” stands here twice", "remove one of them")
        lines[(*place, key)] = line
        found[key] = _plain(value_node, (*place, key), lines, path)
    return found


def _scalar(node: ScalarNode) -> object:
    """YAML 1.2's core schema: null, true, false and numbers; everything else is a string."""
    text = str(node.value)
    kind = str(node.tag).removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    try:
        if kind == "int":
            return int(text.replace("_", ""), 0)
        if kind == "float":
            return float(text.replace("_", ""))
    except ValueError:
        return text
    return text
