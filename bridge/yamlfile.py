"""YAML read with the line of every value, so that an error can name file and line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from bridge.errors import ConfigError

Place = tuple[str | int, ...]
"""The keys that lead to a value: ('databases', 'legacy', 'url')."""

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file: plain values, the line (from 1) of each, and the comments behind them."""

    path: Path
    data: Any
    lines: Mapping[Place, int] = field(default_factory=dict)
    comments: Mapping[Place, str] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """The line of a value, or of the nearest value around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def at(self, place: Place) -> str:
        """``file:line``, for messages."""
        return f"{self.path}:{self.line(place)}"


def read(path: Path, *, texts_only: bool = False) -> Document:
    """Reads a YAML file; raises ConfigError with file and line (see `parse`)."""
    return parse(read_text(path), path, texts_only=texts_only)


def read_text(path: Path) -> str:
    """The text of a file; raises ConfigError."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}", "save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "check the path and its rights") from error


def parse(text: str, path: Path, *, texts_only: bool = False) -> Document:
    """The same for a text; `path` is for messages.

    `texts_only` refuses words that YAML takes for something else (null, true, 12) unless they are
    quoted. Raises ConfigError.
    """
    root = compose(text, path)
    reader = _Reader(text, path, texts_only)
    data = None if root is None else reader.plain(root, ())
    return Document(path, data, reader.lines, reader.comments)


def compose(text: str, path: Path) -> Node | None:
    """The tree of YAML nodes, which know where in the text they stand. Raises ConfigError."""
    yaml = YAML(typ="safe", pure=True)
    try:
        root: Node | None = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path}:{line}: {error.problem or error}", "correct the YAML") from error
    except YAMLError as error:
        raise ConfigError(f"{path}: {str(error).splitlines()[0]}", "correct the YAML") from error
    return root


class _Reader:
    """Turns nodes into plain values and notes where they stood."""

    def __init__(self, text: str, path: Path, texts_only: bool) -> None:
        self.text = text
        self.path = path
        self.texts_only = texts_only
        self.lines: dict[Place, int] = {(): 1}
        self.comments: dict[Place, str] = {}

    def plain(self, node: Node, place: Place) -> Any:
        if isinstance(node, MappingNode):
            value: Any = self._mapping(node, place)
        elif isinstance(node, SequenceNode):
            value = []
            for index, item in enumerate(node.value):
                self.lines[(*place, index)] = item.start_mark.line + 1
                value.append(self.plain(item, (*place, index)))
        else:
            return self._scalar(node, place)
        if node.flow_style:
            self._note_comment(node, place)
        return value

    def _mapping(self, node: MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                raise ConfigError(f"{self.path}:{line}: a key must be one word", "quote it")
            if self.texts_only:
                self._refuse(key_node)
            key = str(key_node.value)
            if key in found:
                raise ConfigError(
                    f"{self.path}:{line}: “{key}” stands here twice", "remove one of them"
                )
            self.lines[(*place, key)] = line
            found[key] = self.plain(value_node, (*place, key))
        return found

    def _scalar(self, node: Node, place: Place) -> object:
        """YAML 1.2's core schema: null, true, false and numbers; everything else is a text."""
        if not isinstance(node, ScalarNode):
            line = node.start_mark.line + 1
            raise ConfigError(f"{self.path}:{line}: this cannot be read here", "write it as a text")
        self._note_comment(node, place)
        text = str(node.value)
        kind = _kind(node)
        if kind == "bool":
            return text.lower() == "true"
        if self.texts_only:
            self._refuse(node)
        if kind == "null":
            return None
        try:
            if kind == "int":
                return int(text.replace("_", ""), 0)
            if kind == "float":
                return float(text.replace("_", ""))
        except ValueError:
            return text
        return text

    def _refuse(self, node: ScalarNode) -> None:
        kind = {"null": "nothing", "int": "a number", "float": "a number", "bool": "true or false"}
        if _kind(node) in kind:
            raise ConfigError(
                f"{self.path}:{node.start_mark.line + 1}: YAML reads “{node.value}” as "
                f"{kind[_kind(node)]}, and a text is needed here",
                f'quote it: "{node.value}"',
            )

    def _note_comment(self, node: ScalarNode | CollectionNode, place: Place) -> None:
        start = node.end_mark.index
        end = self.text.find("\n", start)
        rest = self.text[start : end if end >= 0 else None].strip()
        if rest.startswith("#"):
            self.comments[place] = rest.lstrip("#").strip()


def _kind(node: ScalarNode) -> str:
    return str(node.tag).removeprefix(_TAG)
