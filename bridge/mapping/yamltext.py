"""Texts written as YAML so that every reader, of YAML 1.1 or 1.2, gets the same texts back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_SAFE = re.compile(r"[^\W\d][\w ().,'/+*<>=%$-]*(?<! )")
"""What needs no quotes in a block: begins with a letter, and holds nothing that YAML looks for."""
_SAFE_IN_FLOW = re.compile(r"[^\W\d][\w ()./+*<>=%$-]*(?<! )")
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"})
"""Words that YAML 1.1 or 1.2 takes for something else than texts."""


def scalar(text: str, *, flow: bool = False) -> str:
    """One text, with as few quotes as are safe; `flow`: inside [] or {}."""
    safe = _SAFE_IN_FLOW if flow else _SAFE
    if safe.fullmatch(text) and text.lower() not in _WORDS and text.isprintable():
        return text
    if text.isprintable() and "\\" in text and "'" not in text:
        return f"'{text}'"
    return '"' + "".join(map(_escaped, text)) + '"'


def sequence(texts: Iterable[str]) -> str:
    """``[a, b]``."""
    return "[" + ", ".join(scalar(text, flow=True) for text in texts) + "]"


def mapping(items: Mapping[str, str]) -> str:
    """``{a: b, c: d}``."""
    return "{" + ", ".join(f"{scalar(k, flow=True)}: {v}" for k, v in items.items()) + "}"


def comment(text: str) -> str:
    """A text that can stand behind ``#``: one line, printable."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def by_number(character: str) -> str:
    """The character if it is printable, else its number, as YAML and Python both write it."""
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escaped(character: str) -> str:
    return "\\" + character if character in '"\\' else by_number(character)
