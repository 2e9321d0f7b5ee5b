"""Small changes to a YAML text that leave every other byte as it is: comments, order, quotes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from bridge.mapping import yamltext
from bridge.yamlfile import compose


class Editor:
    """A text that is changed step by step; each step reads it anew."""

    def __init__(self, text: str, path: Path) -> None:
        self.text = text
        self.path = path
        self.newline = "\r\n" if "\r\n" in text else "\n"

    def set_text(self, key: str, value: str) -> None:
        """Replaces a text at the top level, in double quotes; adds it if it is missing."""
        node = self._find(key)
        if isinstance(node, ScalarNode):
            start, end = node.start_mark.index, node.end_mark.index
            self.text = f'{self.text[:start]}"{value}"{self.text[end:]}'
        else:
            self._append([f'{key}: "{value}"'])

    def add_items(self, key: str, items: Mapping[str, str], lines: Sequence[str]) -> None:
        """Adds to the mapping `key`: `lines` (indented by two) in a block, `items` in braces."""
        node = self._find(key)
        if isinstance(node, MappingNode) and node.flow_style:
            self._extend_flow(node, yamltext.mapping(items)[1:-1])
        elif isinstance(node, MappingNode):
            indent = node.value[0][0].start_mark.column
            self._insert(
                node, [" " * indent + line[2:] for each in lines for line in each.split("\n")]
            )
        else:
            self._append([f"{key}:", *lines])

    def add_texts(self, key: str, texts: Sequence[str]) -> None:
        """Adds to the list `key`."""
        node = self._find(key)
        if isinstance(node, SequenceNode) and node.flow_style:
            self._extend_flow(node, yamltext.sequence(texts)[1:-1])
        elif isinstance(node, SequenceNode):
            indent = " " * node.start_mark.column
            self._insert(node, [f"{indent}- {yamltext.scalar(text)}" for text in texts])
        else:
            self._append([f"{key}: {yamltext.sequence(texts)}"])

    def _find(self, key: str) -> Node | None:
        root = compose(self.text, self.path)
        if isinstance(root, MappingNode):
            for name, value in root.value:
                if name.value == key:
                    return value if isinstance(value, Node) else None
        return None

    def _extend_flow(self, node: CollectionNode, text: str) -> None:
        end = node.end_mark.index - 1
        before = self.text[:end].rstrip()
        glue = ", " if node.value and not before.endswith(",") else " " * before.endswith(",")
        self.text = before + glue + text + self.text[end:]

    def _insert(self, node: CollectionNode, lines: Sequence[str]) -> None:
        rows = self.text.split(self.newline)
        at = _last_line(node) + 1
        self.text = self.newline.join([*rows[:at], *lines, *rows[at:]])

    def _append(self, lines: Sequence[str]) -> None:
        body = self.text if self.text.endswith("\n") else self.text + self.newline
        self.text = body + self.newline.join(lines) + self.newline


def _last_line(node: Node) -> int:
    """The line (from 0) on which the last value of a node ends, without what follows it."""
    if isinstance(node, CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(node, MappingNode) else last)
    block = isinstance(node, ScalarNode) and node.style in ("|", ">")
    return int(node.end_mark.line) - (1 if block else 0)
